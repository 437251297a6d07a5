"""`kill -9` in the middle of training: the next run goes on from the checkpoint, and ends as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e_local.conftest import Done, Line, Project, copy_examples

pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("digits-pytorch")]

EPOCHS = 8
AFTER = 3
"""Epochs that are done when it is killed."""
PATIENCE = 300.0


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


def test_it_was_killed_in_the_middle(killed: tuple[Project, int]) -> None:
    project, epochs = killed
    assert AFTER <= epochs < EPOCHS
    (run,) = project.well("runs", "-o", "json").json["runs"]
    assert run["state"] == "interrupted"


def test_finished_steps_are_not_run_twice(resumed: Done) -> None:
    assert resumed.steps["prepare"] == "cached"
    assert [name for name, state in resumed.steps.items() if state == "done"] == [
        "train",
        "evaluate",
        "gate",
        "export-onnx",
        "verify-onnx",
        "register",
    ]


def test_training_goes_on_from_its_checkpoint(killed: tuple[Project, int], resumed: Done) -> None:
    done = resumed.outputs("train")["resumed_from"]
    assert done is not None
    assert AFTER - 1 <= done < EPOCHS


def test_each_epoch_is_in_the_history_once(killed: tuple[Project, int], resumed: Done) -> None:
    (history,) = killed[0].root.glob(".aif/steps/*/attempts/*/history.json")
    entries = [entry for entry in json.loads(history.read_text()) if entry["name"] == "val_accuracy"]
    assert [entry["step"] for entry in entries] == list(range(EPOCHS))


def test_it_ends_as_the_run_that_was_not_killed(resumed: Done, digits: Line) -> None:
    for step in ("train", "evaluate", "verify-onnx"):
        assert resumed.outputs(step)["metrics"] == pytest.approx(digits.ran.outputs(step)["metrics"], rel=1e-5)
    ours, theirs = ({step["name"]: step["digest"] for step in done.json["steps"]} for done in (resumed, digits.ran))
    assert ours == theirs


def test_the_record_has_both_executions(killed: tuple[Project, int], resumed: Done) -> None:
    (run,) = killed[0].well("runs", "-o", "json").json["runs"]
    assert run["state"] == "done"
    assert [each["state"] for each in run["history"]] == ["interrupted"]


def test_no_process_is_left(killed: tuple[Project, int], resumed: Done) -> None:
    assert _alive(killed[0].root) == []
