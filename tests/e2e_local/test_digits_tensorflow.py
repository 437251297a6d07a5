"""digits-tensorflow from its spec to predictions over HTTP, by both of its exports."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import yaml

from tests.e2e_local.conftest import Line, Project, post

pytestmark = pytest.mark.tensorflow


def rows(line: Line, count: int = 32) -> tuple[list[dict[str, float]], list[str]]:
    with (line.project.root / "digits-tensorflow/data/digits.csv").open(newline="") as file:
        found = [
            {k: float(v) for k, v in row.items()} for _, row in zip(range(count), csv.DictReader(file), strict=False)
        ]
    return found, [str(int(row.pop("digit"))) for row in found]


def test_both_exports_pass_both_gates(digits_tf: Line) -> None:
    assert digits_tf.ran.json["state"] == "done"
    accuracy = digits_tf.ran.outputs("evaluate")["metrics"]["accuracy"]
    assert accuracy >= 0.95
    for export in ("savedmodel", "onnx"):
        assert digits_tf.ran.outputs(f"verify-{export}")["metrics"]["accuracy"] == pytest.approx(accuracy, abs=0.006)


def test_the_best_epoch_is_what_was_kept(digits_tf: Line) -> None:
    """`select: {best: val_loss}`."""
    import json

    (history,) = digits_tf.project.root.glob(".aif/steps/*/attempts/*/history.json")
    losses = [entry["value"] for entry in json.loads(history.read_text()) if entry["name"] == "val_loss"]
    assert len(losses) == 8
    assert digits_tf.ran.outputs("train")["metrics"]["val_loss"] == min(losses)


def test_the_release_has_both(digits_tf: Line) -> None:
    release = yaml.safe_load((digits_tf.project.root / "releases/local/digits-tf.yaml").read_text())
    formats = {name: each["format"] for name, each in release["stable"]["exports"].items()}
    assert formats == {"onnx": "onnx", "savedmodel": "savedmodel"}


def test_a_second_run_runs_nothing(digits_tf: Line) -> None:
    assert set(digits_tf.project.well("run", "digits-tf", "-o", "json").steps.values()) == {"cached"}


def test_onnx_is_served(digits_tf: Line) -> None:
    asked, truth = rows(digits_tf)
    with digits_tf.project.serving("digits-tf") as url:
        status, answer = post(f"{url}/batch_predict", asked)
    assert status == 200
    labels = [each["label"] for each in (answer["predictions"] if isinstance(answer, dict) else answer)]
    assert sum(map(str.__eq__, labels, truth)) >= 30


def test_the_savedmodel_is_served_where_the_spec_asks_for_it(digits_tf: Line, tmp_path: Path) -> None:
    """From the same release: which export serves is the spec's choice."""
    root = tmp_path / "copy"
    shutil.copytree(digits_tf.project.root, root)
    spec = root / "digits-tensorflow/model.yaml"
    spec.write_text(spec.read_text().replace("serving: {export: onnx", "serving: {export: savedmodel"))
    asked, truth = rows(digits_tf)
    with Project(root).serving("digits-tf") as url:
        status, answer = post(f"{url}/predict", asked[0])
    assert (status, answer["label"]) == (200, truth[0])
