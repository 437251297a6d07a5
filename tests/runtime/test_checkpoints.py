"""Checkpoints: whole or not there, the newest and the best kept, and a training that is killed goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aifctl import contract
from aifctl.contract import Kind, TrainConfig, to_arguments
from aifctl.runtime.checkpoints import Checkpoints
from aifctl.runtime.context import Context, Rows
from aifctl.runtime.signature import Signature
from aifctl.runtime.store import Fault
from tests.runtime.chain import Chain, iris, refused, training, write_code


def text(content: str) -> Any:
    return lambda path: path.write_text(content)


def kept(checkpoints: Checkpoints) -> list[int]:
    return [record.number for record in checkpoints.records()]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path / "new", keep=2)
    for number in range(4):
        checkpoints.save(text(f"state {number}"))
    assert kept(checkpoints) == [3, 4]
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        "000003.ckpt",
        "000003.json",
        "000004.ckpt",
        "000004.json",
    ]
    newest = checkpoints.newest()
    assert newest is not None
    assert checkpoints.path(newest.number).read_text() == "state 3"


@pytest.mark.parametrize(("maximize", "best"), [(False, 2), (True, 1)])
def test_the_best_is_kept_beside_the_newest(tmp_path: Path, maximize: bool, best: int) -> None:
    checkpoints = Checkpoints(folder=tmp_path, keep=1, maximize=maximize)
    for metric in (0.9, 0.1, 0.5, None, 0.4):
        checkpoints.save(text("state"), metric)
    assert kept(checkpoints) == [best, 5]
    found = checkpoints.best()
    assert found is not None
    assert found.number == best
    assert checkpoints.improves(1.0 if maximize else 0.05)
    assert not checkpoints.improves(0.4)
    assert not checkpoints.improves(None)


def test_of_equals_the_first_is_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, keep=9)
    for metric in (0.5, 0.3, 0.3):
        checkpoints.save(text("state"), metric)
    best = checkpoints.best()
    assert best is not None
    assert best.number == 2


def test_a_truncated_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, keep=3)
    for number in range(3):
        checkpoints.save(text(f"state {number}" * 100))
    with checkpoints.path(3).open("r+b") as file:
        file.truncate(10)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.number == 2
    assert checkpoints.save(text("again")).number == 4


def test_changed_bytes_of_the_same_size_are_noticed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path)
    checkpoints.save(text("state"))
    checkpoints.path(1).write_text("stute")
    assert checkpoints.newest() is None
    assert checkpoints.best() is None


def test_a_file_without_a_whole_record_does_not_count(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path)
    checkpoints.save(text("whole"))
    (tmp_path / "000002.ckpt").write_text("killed before its record")
    (tmp_path / "000003.ckpt").write_text("killed within its record")
    (tmp_path / "000003.json").write_text('{"number": 3, "sha')
    (tmp_path / "000004.partial").write_text("killed while it was written")
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.number == 1
    assert checkpoints.save(text("next")).number == 2
    assert checkpoints.path(2).read_text() == "next"


def test_a_write_that_fails_leaves_the_last_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path)
    checkpoints.save(text("whole"))

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        checkpoints.save(fail)
    newest = checkpoints.newest()
    assert newest is not None
    assert checkpoints.path(newest.number).read_text() == "whole"


@dataclass
class Plain:
    """A framework whose weights are one number, written as JSON."""

    weight: int = 0
    full: bool = False

    def tensors(self, rows: Rows) -> tuple[Any, Any]:
        return rows.features, rows.label

    def capture(self) -> Any:
        return self.weight

    def restore(self, captured: Any) -> None:
        self.weight = captured

    def restore_weights(self, captured: Any) -> None:
        self.weight = captured

    def write(self, value: Any, path: Path) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        path.write_text(json.dumps(value))

    def read(self, path: Path) -> Any:
        return json.loads(path.read_text())

    def autocast(self) -> AbstractContextManager[Any]:
        return nullcontext()


@dataclass
class Quiet:
    should_stop: bool = False
    events: list[str] = field(default_factory=list)

    def metric(self, name: str, value: float, step: int) -> None: ...

    def event(self, event: str, **fields: Any) -> None:
        self.events.append(event)

    def keep_checkpoints(self) -> None: ...


def context(folder: Path, **checkpoint: Any) -> tuple[Context, Plain, Quiet]:
    config = TrainConfig(
        task="classification",
        framework="pytorch",
        dataset="x",
        model=None,
        batch=4,
        checkpoint=contract.Checkpoint(**checkpoint),
    )
    framework, quiet = Plain(), Quiet()
    rows = Rows({"x": np.arange(10)}, np.arange(10) % 2)
    made = Context(
        config=config,
        signature=Signature(task="classification", inputs=()),
        splits={"train": rows, "validation": rows},
        checkpoints=Checkpoints(folder=folder, keep=config.checkpoint.keep),
        surroundings=quiet,
        device=None,
        folder=folder,
        code=None,
        framework=framework,
    )
    return made, framework, quiet


def test_latest_gives_the_state_back_with_weights_and_history(tmp_path: Path) -> None:
    first, framework, _ = context(tmp_path)
    assert first.latest() is None
    framework.weight = 7
    first.log("val_loss", 0.5, 0)
    first.save({"epoch": 0})
    second, framework, quiet = context(tmp_path)
    assert second.latest() == {"epoch": 0}
    assert framework.weight == 7
    assert second.history == [{"name": "val_loss", "value": 0.5, "step": 0}]
    assert second.resumed_from == 1
    assert quiet.events == ["resumed"]


def test_by_time_it_saves_when_one_is_due_when_the_best_improves_and_when_told_to_stop(tmp_path: Path) -> None:
    made, _, quiet = context(tmp_path, every=3600, keep=9, best="val_loss")
    made.save({"epoch": 0})
    assert kept(made.checkpoints) == []
    for value in (0.5, 0.6, 0.4):
        made.log("val_loss", value, 0)
        made.save({})
    assert [record.metric for record in made.checkpoints.records()] == [0.5, 0.4]
    quiet.should_stop = True
    made.save({})
    assert [record.metric for record in made.checkpoints.records()] == [0.5, 0.4, None]


def test_a_metric_counts_for_the_weights_it_was_measured_with_only(tmp_path: Path) -> None:
    made, _, _ = context(tmp_path, keep=9, best="val_loss")
    made.log("val_loss", 0.5, 0)
    made.save({})
    made.save({})
    assert [record.metric for record in made.checkpoints.records()] == [0.5, None]


def test_only_the_first_rank_writes(tmp_path: Path) -> None:
    made, _, _ = context(tmp_path)
    made.rank = 1
    made.save({})
    assert kept(made.checkpoints) == []


def test_a_full_disk_is_a_fault_worth_a_retry(tmp_path: Path) -> None:
    made, framework, _ = context(tmp_path)
    framework.full = True
    with pytest.raises(Fault) as info:
        made.save({})
    assert "No space left on device" in info.value.diagnostics[0].message


def test_batches_cover_every_row_once_in_an_order_of_seed_and_epoch(tmp_path: Path) -> None:
    made, _, _ = context(tmp_path)

    def rows(split: str, epoch: int) -> list[int]:
        return [int(row) for features, _ in made.data(split, epoch) for row in features["x"]]

    assert len(made.data("train")) == 3
    assert sorted(rows("train", 0)) == list(range(10))
    assert rows("train", 0) == rows("train", 0) != rows("train", 1)
    assert rows("validation", 0) == list(range(10))
    whole = [features["x"].tolist() for features, _ in made.data("train", 1)]
    assert [features["x"].tolist() for features, _ in made.data("train", 1).starting_at(2)] == whole[2:]


@pytest.mark.torch
def test_states_survive_without_pickled_code(tmp_path: Path) -> None:
    import torch

    from aifctl.runtime.frameworks.pytorch import Torch

    framework = Torch(torch.nn.Linear(2, 2), torch.device("cpu"), "fp32")
    state = {"a": np.float32(1.5), "b": [1, "x", None], "c": (torch.ones(2), np.arange(3)), 0: True, "d": torch.float16}
    framework.write(state, tmp_path / "x.ckpt")
    back = framework.read(tmp_path / "x.ckpt")
    assert (back["a"], back["b"], back[0], back["d"]) == (1.5, [1, "x", None], True, torch.float16)
    assert back["c"][0].tolist() == [1, 1]
    assert back["c"][1].tolist() == [0, 1, 2]
    (finding,) = refused(lambda: framework.write({"optimizer": object()}, tmp_path / "y.ckpt"))
    assert (finding.code, finding.message) == ("AIF827", "a checkpoint can't keep a value of type `object`")


@pytest.mark.torch
def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    import pickle

    import torch

    from aifctl.runtime.frameworks.pytorch import Torch

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state": Evil()}, tmp_path / "x.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        Torch(torch.nn.Linear(1, 1), torch.device("cpu"), "fp32").read(tmp_path / "x.ckpt")
    assert not (tmp_path / "ran").exists()


SLOW = """
    import os, time
    from pathlib import Path
    import torch
    from torch import nn

    class Slow(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.head = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, classes))

        def forward(self, x):
            if self.training:
                time.sleep(float(os.environ.get("TEST_PAUSE", "0")))
            return self.head(x)

    def build(params, signature):
        return Slow(signature.classes)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Chain:
    """A training that was ended by SIGKILL after at least two checkpoints, in its third epoch or later."""
    chain = iris(tmp_path / "killed", write_code(tmp_path / "code", {"net": SLOW})).prepared()
    spec = chain.step(Kind.TRAIN, "train", config(), ("prepare",))
    folder = chain.store.checkpoints(str(spec.digest))
    command = [sys.executable, "-m", "aifctl.runtime.entry", *to_arguments(spec, chain.site)]
    process = subprocess.Popen(command, env={**os.environ, "TEST_PAUSE": "0.02"}, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "000002.json").exists():
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline, "no checkpoint in two minutes"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert chain.store.find(str(spec.digest)) is None
    return chain


def config() -> TrainConfig:
    return training("pytorch", "iris", "net:build", epochs=40, batch=16, checkpoint=contract.Checkpoint(keep=3))


@pytest.mark.torch
def test_after_kill_9_training_goes_on_and_ends_as_if_nothing_had_been(killed: Chain, tmp_path: Path) -> None:
    whole = iris(tmp_path / "whole", killed.code).prepared()
    whole.train(config())
    result = killed.train(config())
    assert result.outputs["resumed_from"] >= 2
    assert result.outputs["metrics"] == whole.published("train").outputs["metrics"]
    names = ("history.json", "model.safetensors")
    files = [[c.published("train").files[name].sha256 for name in names] for c in (killed, whole)]
    assert files[0] == files[1]


@pytest.mark.torch
def test_after_kill_9_a_truncated_newest_checkpoint_is_passed_over(killed: Chain) -> None:
    checkpoints = Checkpoints(folder=killed.store.checkpoints(str(killed.steps["train"].digest)))
    newest = checkpoints.newest()
    assert newest is not None
    with checkpoints.path(newest.number).open("r+b") as file:
        file.truncate(newest.size // 2)
    assert killed.train(config()).outputs["resumed_from"] == newest.number - 1
