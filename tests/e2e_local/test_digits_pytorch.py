"""digits-pytorch from its spec to predictions over HTTP, and what must not happen twice or at all."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from aifctl import digest
from aifctl.runtime.store import Store
from tests.e2e_local.conftest import Done, Line, Project, copy_examples, get, post

pytestmark = pytest.mark.torch

EPOCHS = 8
AFTER = 3
"""Epochs that are done when it is killed."""
PATIENCE = 300.0
STEPS = ["prepare", "train", "evaluate", "gate", "export-onnx", "verify-onnx", "register"]


def rows(line: Line, split: str = "test") -> list[dict[str, float]]:
    """Raw rows of a split, label included."""
    table = line.project.root / "digits-pytorch/data/digits.csv"
    with table.open(newline="") as file:
        everything = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    (folder,) = line.project.root.glob(".aif/steps/*/attempts/*/split.npz")
    with np.load(folder) as splits:
        return [everything[index] for index in splits[split]]


@pytest.fixture(scope="module")
def served(digits: Line) -> Iterator[str]:
    with digits.project.serving("digits") as url:
        yield url


class TestGate:
    """The first run: its gate asks for more than the model can."""

    def test_the_run_fails(self, stricter: tuple[Project, Done]) -> None:
        _, done = stricter
        assert done.code == 1
        assert (done.json["state"], done.json["exit_code"]) == ("failed", 1)

    def test_steps_below_the_gate_are_skipped(self, stricter: tuple[Project, Done]) -> None:
        states = stricter[1].steps
        assert list(states) == STEPS
        assert [name for name, state in states.items() if state == "done"] == ["prepare", "train", "evaluate"]
        assert states["gate"] == "failed"
        assert {states[name] for name in STEPS[4:]} == {"skipped"}

    def test_it_is_said_what_was_asked_what_was_reached_and_where_it_is_wrong(
        self, stricter: tuple[Project, Done]
    ) -> None:
        _, done = stricter
        accuracy = done.outputs("evaluate")["metrics"]["accuracy"]
        first, *notes = done.err.splitlines()
        assert first == f"error[AIF818]: accuracy is {accuracy:.4g}, the gate asks for at least 0.999"
        table = "\n".join(notes)
        assert "of 180 rows of the split are wrong, the most confident ones first" in table
        assert "label  predicted  confidence" in table
        (found,) = [each for step in done.json["steps"] for each in step["diagnostics"]]
        assert found["code"] == "AIF818"

    def test_nothing_is_registered(self, stricter: tuple[Project, Done]) -> None:
        project, _ = stricter
        registered = list(project.root.glob(".aif/steps/*/attempts/*/registration.json"))
        # By now a later run may have registered its model; this one has not.
        assert all(json.loads(path.read_text())["run"] != stricter[1].json["run"] for path in registered)

    def test_it_can_not_be_promoted(self, stricter: tuple[Project, Done]) -> None:
        project, ran = stricter
        done = project("promote", "digits", "--env", "local", "--run", ran.json["run"])
        assert done.code == 1
        assert "is failed, not done" in done.err


class TestRun:
    def test_it_is_good_enough(self, digits: Line) -> None:
        assert digits.ran.json["state"] == "done"
        assert digits.ran.outputs("evaluate")["metrics"]["accuracy"] >= 0.95
        assert digits.ran.outputs("gate")["passed"] is True

    def test_another_gate_ran_nothing_again_but_the_gate(self, digits: Line) -> None:
        assert [name for name, state in digits.ran.steps.items() if state == "cached"] == STEPS[:3]
        assert {digits.ran.steps[name] for name in STEPS[3:]} == {"done"}

    def test_the_export_was_held_against_the_model(self, digits: Line) -> None:
        verified = digits.ran.outputs("verify-onnx")
        assert verified["metrics"]["accuracy"] == digits.ran.outputs("evaluate")["metrics"]["accuracy"]

    def test_a_second_run_runs_nothing(self, digits: Line) -> None:
        before = digest.of_tree(digits.project.root / "digits-pytorch")
        again = digits.project.well("run", "digits", "-o", "json")
        assert set(again.steps.values()) == {"cached"}
        assert again.json["run"] == digits.run
        assert digest.of_tree(digits.project.root / "digits-pytorch") == before

    def test_the_result_says_where_to_look(self, digits: Line) -> None:
        done = digits.project.well("run", "digits")
        assert done.out.startswith(f"{digits.run}: done (0 steps run, 7 already done)\n")
        assert f"aifctl runs {digits.run}" in done.out
        assert "aifctl promote digits --env local" in done.out
        assert "accuracy 0.9" in done.out
        assert done.err.count("cached") == 7
        quiet = digits.project.well("run", "digits", "--quiet")
        assert (quiet.out, quiet.err) == (done.out, "")

    def test_what_evaluation_left(self, digits: Line) -> None:
        store = Store(digits.project.root / ".aif")
        (found,) = [step["digest"] for step in digits.ran.json["steps"] if step["name"] == "evaluate"]
        published = store.find(found)
        assert published is not None
        published.verify()
        images = [name for name in published.files if name.endswith(".png")]
        assert images
        assert published.file(images[0]).read_bytes().startswith(b"\x89PNG")
        assert len(published.read_json("metrics.json")["per_class"]) == 10


class TestRuns:
    def test_both_are_listed_the_newest_first(self, digits: Line, stricter: tuple[Project, Done]) -> None:
        listed = digits.project.well("runs", "-o", "json").json["runs"]
        states = {each["run"]: each["state"] for each in listed}
        assert states[digits.run] == "done"
        assert states[stricter[1].json["run"]] == "failed"
        assert listed[0]["started"] >= listed[-1]["started"]
        text = digits.project.well("runs", "--model", "digits").out
        assert text.splitlines()[0].split()[:3] == ["RUN", "MODEL", "STATE"]
        assert digits.run in text

    def test_one_is_shown_whole(self, digits: Line) -> None:
        shown = digits.project.well("runs", digits.run).out
        for words in ("params.learning_rate  0.005", "digits.cnn:build", "accuracy", "export-onnx"):
            assert words in shown

    def test_two_are_compared(self, digits: Line, stricter: tuple[Project, Done]) -> None:
        """They differ in the gate's bound and in what the gate let through, not in what was trained."""
        compared = digits.project.well("runs", stricter[1].json["run"], digits.run, "-o", "json").json
        found = {(each["section"], each["key"]): (each["a"], each["b"]) for each in compared["differences"]}
        assert found["spec", "spec.evaluation.gate.accuracy.min"] == (0.999, 0.95)
        assert {key for section, key in found if section == "steps"} == {"gate"}
        assert not [key for section, key in found if section in ("parameters", "metrics")]
        text = digits.project.well("runs", stricter[1].json["run"], digits.run).out
        assert "0.999" in text
        assert "0.95" in text


class TestRelease:
    def test_the_file(self, digits: Line) -> None:
        release = yaml.safe_load((digits.project.root / "releases/local/digits.yaml").read_text())
        assert (release["kind"], release["stable"]["run"]) == ("Release", digits.run)
        assert release["stable"]["evidence"]["gate"] == {"accuracy": {"min": 0.95}}
        assert digits.promoted.json["metrics"]["accuracy"] >= 0.95
        bundle = digits.project.root / release["stable"]["exports"]["onnx"]["uri"]
        assert (bundle / "model.onnx").is_file()

    def test_again_is_no_change(self, digits: Line) -> None:
        done = digits.project.well("promote", "digits", "--env", "local")
        assert done.out.startswith("releases/local/digits.yaml  unchanged\n")

    def test_a_cluster_does_not_take_it(self, digits: Line) -> None:
        done = digits.project("promote", "digits", "--env", "prod", "--from", "local")
        assert (done.code, "error[AIF632]" in done.err) == (1, True)

    def test_mlflow_mirrors_it(self, digits: Line) -> None:
        from mlflow import MlflowClient

        uri = f"sqlite:///{digits.project.root}/.aif/mlflow.db"
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        champion = client.get_model_version_by_alias("digits", "champion-local")
        release = yaml.safe_load((digits.project.root / "releases/local/digits.yaml").read_text())
        assert champion.tags["aif.bundle"] == release["stable"]["exports"]["onnx"]["sha256"]
        assert champion.version == client.get_model_version_by_alias("digits", "candidate").version
        (experiment,) = [each for each in client.search_experiments() if each.name == "vision/digits"]
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.data.params["learning_rate"] == "0.005"
        assert len(client.get_metric_history(run.info.run_id, "val_accuracy")) == 8

    def test_a_dead_mlflow_stops_no_release(self, digits: Line, tmp_path: Path) -> None:
        """Nothing reads the alias."""
        root = tmp_path / "copy"
        shutil.copytree(digits.project.root, root)
        (root / ".aif/mlflow.db").write_bytes(b"junk" * 1000)
        (root / "releases/local/digits.yaml").unlink()
        done = Project(root).well("promote", "digits", "--env", "local")
        assert "releases/local/digits.yaml  written" in done.out
        assert "warning[AIF809]: MLflow's alias `champion-local` could not be moved" in done.err


class TestServing:
    def test_it_is_ready(self, served: str) -> None:
        assert get(f"{served}/v2/health/ready")[0] == 200
        assert get(f"{served}/health")[0] == 200
        name, described = "digits", json.loads(get(f"{served}/v2/models/digits")[1])
        assert described["name"] == name
        assert [each["name"] for each in described["inputs"]]

    def test_predictions_are_right(self, digits: Line, served: str) -> None:
        """All test rows, raw as in the file: the label comes back by name, as often right as the evaluation said."""
        asked = rows(digits)
        truth = [str(int(row.pop("digit"))) for row in asked]
        right = 0
        for start in range(0, len(asked), 32):
            status, answer = post(f"{served}/batch_predict", asked[start : start + 32])
            assert status == 200
            right += sum(each["label"] == true for each, true in zip(_predictions(answer), truth[start:], strict=False))
        assert right / len(asked) == digits.ran.outputs("evaluate")["metrics"]["accuracy"]

    def test_one_row(self, digits: Line, served: str) -> None:
        row = rows(digits, "train")[0]
        truth = str(int(row.pop("digit")))
        status, answer = post(f"{served}/predict", row)
        assert (status, answer["label"]) == (200, truth)
        assert 0.5 < answer["confidence"] <= 1

    def test_tritons_client_gets_the_same(self, digits: Line, served: str) -> None:
        from tritonclient import http

        asked = rows(digits, "validation")[:20]
        truth = [int(row.pop("digit")) for row in asked]
        pixels = np.array([[row[f"p{i}"] for i in range(64)] for row in asked], "float32").reshape(-1, 8, 8)
        client = http.InferenceServerClient(served.removeprefix("http://"))
        try:
            assert client.is_model_ready("digits")
            tensor = http.InferInput("pixels", list(pixels.shape), "FP32")
            tensor.set_data_from_numpy(pixels)
            logits = client.infer("digits", [tensor]).as_numpy("logits")
        finally:
            client.close()
        assert logits.shape == (20, 10)
        assert (logits.argmax(1) == truth).mean() >= 0.9
        _, answer = post(f"{served}/batch_predict", asked)
        assert [each["label"] for each in _predictions(answer)] == [str(each) for each in logits.argmax(1)]

    def test_wrong_input_is_the_callers_fault(self, digits: Line, served: str) -> None:
        row = rows(digits)[0]
        for body in ({}, {**row, "p0": "dark"}, {"p0": 1.0}, [1, 2]):
            status, answer = post(f"{served}/predict", body)
            assert 400 <= status < 500
            assert "error" in answer
        assert post(f"{served}/v2/models/other/infer", {})[0] == 404

    def test_metrics_count_it(self, served: str) -> None:
        text = get(f"{served}/metrics")[1]
        assert "# TYPE" in text
        assert 'status="200"' in text or 'code="200"' in text


def _predictions(answer: Any) -> list[dict[str, Any]]:
    return list(answer["predictions"] if isinstance(answer, dict) else answer)


class TestDebug:
    def test_a_finished_training_runs_again_from_its_start(self, digits: Line) -> None:
        done = digits.project.well("run", "digits", "--debug", "train", "-o", "json")
        assert done.json["resumed_from"] is None
        assert [f"epoch={epoch} " in done.err for epoch in range(8)] == 8 * [True]
        assert done.json["metrics"] == pytest.approx(digits.ran.outputs("train")["metrics"])

    def test_and_changes_nothing(self, digits: Line) -> None:
        assert set(digits.project.well("run", "digits", "-o", "json").steps.values()) == {"cached"}


@pytest.fixture(scope="module")
def killed(digits: Line, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, int]:
    """The project, and how many epochs were done when everything was gone."""
    del digits  # the unkilled run comes first: it is what the killed one is compared with
    project = copy_examples(tmp_path_factory.mktemp("killed"), "digits-pytorch")
    process = project.start("run", "digits", "--no-tracking")
    events = _train_events(project, process)
    # The executor, the guard and the training at once, as when the power goes: nobody can save anything.
    for pid in (process.pid, *_alive(project.root)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    return project, max(event["step"] for event in events) + 1


def _alive(root: Path) -> list[int]:
    """Processes that were started for this project."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if os.fsencode(root) in command:
            found.append(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def resumed(killed: tuple[Project, int]) -> Done:
    return killed[0].well("run", "digits", "--no-tracking", "-o", "json")


def _train_events(project: Project, process: object) -> list[dict[str, int]]:
    """Metrics told so far, once AFTER epochs are done."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = list(_metrics(project.root))
        if found and max(event["step"] for event in found) >= AFTER - 1:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no training within {PATIENCE} s: {process}")


def _metrics(root: Path) -> list[dict[str, int]]:
    lines = [line for path in root.glob(".aif/logs/*/train.events.jsonl") for line in path.read_text().splitlines()]
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return [event for event in events if event.get("event") == "metric" and event.get("name") == "val_accuracy"]


class TestKill:
    """`kill -9` in the middle of training: the next run goes on from the checkpoint, and ends as if nothing was."""

    def test_it_was_killed_in_the_middle(self, killed: tuple[Project, int]) -> None:
        project, epochs = killed
        assert AFTER <= epochs < EPOCHS
        (run,) = project.well("runs", "-o", "json").json["runs"]
        assert run["state"] == "interrupted"

    def test_finished_steps_are_not_run_twice(self, resumed: Done) -> None:
        assert resumed.steps["prepare"] == "cached"
        assert [name for name, state in resumed.steps.items() if state == "done"] == [
            "train",
            "evaluate",
            "gate",
            "export-onnx",
            "verify-onnx",
            "register",
        ]

    def test_training_goes_on_from_its_checkpoint(self, killed: tuple[Project, int], resumed: Done) -> None:
        done = resumed.outputs("train")["resumed_from"]
        assert done is not None
        assert AFTER - 1 <= done < EPOCHS

    def test_each_epoch_is_in_the_history_once(self, killed: tuple[Project, int], resumed: Done) -> None:
        (history,) = killed[0].root.glob(".aif/steps/*/attempts/*/history.json")
        entries = [entry for entry in json.loads(history.read_text()) if entry["name"] == "val_accuracy"]
        assert [entry["step"] for entry in entries] == list(range(EPOCHS))

    def test_it_ends_as_the_run_that_was_not_killed(self, resumed: Done, digits: Line) -> None:
        for step in ("train", "evaluate", "verify-onnx"):
            assert resumed.outputs(step)["metrics"] == pytest.approx(digits.ran.outputs(step)["metrics"], rel=1e-5)
        ours, theirs = ({step["name"]: step["digest"] for step in done.json["steps"]} for done in (resumed, digits.ran))
        assert ours == theirs

    def test_the_record_has_both_executions(self, killed: tuple[Project, int], resumed: Done) -> None:
        (run,) = killed[0].well("runs", "-o", "json").json["runs"]
        assert run["state"] == "done"
        assert [each["state"] for each in run["history"]] == ["interrupted"]

    def test_no_process_is_left(self, killed: tuple[Project, int], resumed: Done) -> None:
        assert _alive(killed[0].root) == []
