"""wine-sklearn: any command trains, and what it left is gated, released and served like every other model."""

from __future__ import annotations

import csv

from tests.e2e_local.conftest import Line, post


def rows(line: Line) -> tuple[list[dict[str, float]], list[int]]:
    with (line.project.root / "wine-sklearn/data/wine.csv").open(newline="") as file:
        found = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return found, [int(row.pop("cultivar")) for row in found]


def test_it_passes_its_gates(wine: Line) -> None:
    assert wine.ran.json["state"] == "done"
    assert wine.ran.outputs("evaluate")["metrics"]["accuracy"] >= 0.9
    assert wine.ran.outputs("verify-sklearn")["metrics"] == wine.ran.outputs("evaluate")["metrics"]


def test_what_the_command_reported_is_its_metrics(wine: Line) -> None:
    assert set(wine.ran.outputs("train")["metrics"]) == {"val_loss", "val_accuracy"}


def test_it_answers_with_the_names_of_the_labels(wine: Line) -> None:
    asked, truth = rows(wine)
    names = ("barolo", "grignolino", "barbera")
    right = 0
    with wine.project.serving("wine") as url:
        for start in range(0, len(asked), 30):
            status, answer = post(f"{url}/batch_predict", asked[start : start + 30])
            assert status == 200
            labels = [each["label"] for each in (answer["predictions"] if isinstance(answer, dict) else answer)]
            right += sum(label == names[code] for label, code in zip(labels, truth[start:], strict=False))
        status, refused = post(f"{url}/predict", {**asked[0], "alcohol": "strong"})
    assert right / len(asked) > 0.95
    assert 400 <= status < 500
    assert "alcohol" in refused["error"]


def test_a_second_run_runs_nothing(wine: Line) -> None:
    assert set(wine.project.well("run", "wine", "-o", "json").steps.values()) == {"cached"}
