"""One process at a time writes a step's checkpoints: real ones that start at once, are killed, and are paused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aifctl import contract, digest
from aifctl.contract import EXIT_RETRY, Kind, StepSpec
from aifctl.diagnostics import Report
from aifctl.runtime import turns
from aifctl.runtime.checkpoints import Checkpoints
from aifctl.runtime.store import Fault, Published, Store
from aifctl.runtime.turns import Request, Turn
from tests.runtime.buckets import bucket
from tests.runtime.fake_runs import wait_until

ROOT = Path(__file__).parents[2]
STEP = digest.of_text("a training")
TRAIN = """
import os, pathlib, sys, time
folder, model = (pathlib.Path(os.environ[name]) for name in ("AIF_CHECKPOINT_DIR", "AIF_MODEL_DIR"))
trace = pathlib.Path("../trace")

def note(text):
    with trace.open("a") as file:
        file.write(text + "\\n")

note("goes on" if (folder / "half").exists() else "starts")
(folder / "half").touch()
while not pathlib.Path("../go").exists():
    time.sleep(0.05)
(model / "model.txt").write_text("whole")
note("ends")
"""
PREDICT = """
import numpy as np

def predict(folder, batch):
    return {"logits": np.zeros((len(batch["pixels"]), 10))}
"""
ENTRY = """
import sys
from aifctl.runtime import entry, turns
turns.BEAT, turns.STALE, turns.POLL = 0.2, float(sys.argv[1]), 0.1
sys.exit(entry.main(sys.argv[2:]))
"""
CUSTOM = contract.CustomTraining(command=("python", "train.py"), produces="model.txt", predict="predict:predict")
NEVER, SOON = "1000", "3"
"""Seconds without a sign of life after which an owner counts as dead."""


@pytest.fixture(params=["folder", "bucket"])
def anywhere(request: pytest.FixtureRequest, bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bench with a store in a folder, and in a bucket."""
    if request.param == "bucket":
        made = bucket(request.getfixturevalue("s3"), f"b-{uuid.uuid4().hex[:12]}", tmp_path)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        bench.site = replace(bench.site, store=made.uri)
    return bench


def training(bench: Any) -> StepSpec:
    prepared = bench.prepare()
    bench.write_code("train.py", TRAIN)
    bench.write_code("predict.py", PREDICT)
    config = contract.TrainConfig(
        task="classification", framework="custom", dataset="digits", model=None, custom=CUSTOM
    )
    spec: StepSpec = bench.step(Kind.TRAIN, config, {"prepare": prepared.digest})
    return spec


def start(bench: Any, spec: StepSpec, run: str, stale: str = NEVER) -> subprocess.Popen[str]:
    site = replace(bench.site, run=run, events=str(bench.root / f"{run}.jsonl"))
    command = [sys.executable, "-c", ENTRY, stale, *contract.to_arguments(spec, site)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


def trace(bench: Any) -> list[str]:
    path = bench.root / "trace"
    return path.read_text().splitlines() if path.exists() else []


def waits(bench: Any, run: str) -> bool:
    path = bench.root / f"{run}.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return any(str(event.get("text", "")).startswith("waits: attempt ") for event in events)


def test_of_three_that_start_at_once_one_trains(anywhere: Any) -> None:
    """Of three runs that share a training, as drivers on two clusters may start them within a moment."""
    spec = training(anywhere)
    runs = ("digits-a", "digits-b", "digits-c")
    processes = [start(anywhere, spec, run) for run in runs]
    wait_until(lambda: trace(anywhere), "a training")
    wait_until(lambda: sum(waits(anywhere, run) for run in runs) == 2, "waiting of the others")
    (anywhere.root / "go").touch()
    assert [end(process) for process in processes] == [(0, "")] * 3
    assert trace(anywhere) == ["starts", "ends"]


def test_after_a_kill_the_next_one_goes_on_from_its_checkpoints(bench: Any) -> None:
    """At once: that the process is gone can be seen on its machine."""
    spec = training(bench)
    first = start(bench, spec, "digits-a")
    wait_until(lambda: trace(bench), "the training")
    os.killpg(first.pid, signal.SIGKILL)
    end(first)
    (bench.root / "go").touch()
    assert end(start(bench, spec, "digits-b")) == (0, "")
    assert trace(bench) == ["starts", "goes on", "ends"]


def test_one_that_was_paused_for_too_long_ends_without_touching_the_checkpoints(anywhere: Any) -> None:
    spec = training(anywhere)
    first = start(anywhere, spec, "digits-a")
    wait_until(lambda: trace(anywhere), "the training")
    first.send_signal(signal.SIGSTOP)
    second = start(anywhere, spec, "digits-b", stale=SOON)
    wait_until(lambda: len(trace(anywhere)) == 2, "the second training")
    first.send_signal(signal.SIGCONT)
    code, said = end(first)
    assert code == EXIT_RETRY
    assert f"error[AIF855]: another attempt has taken step {str(spec.digest)[:10]} over" in said
    assert second.poll() is None
    (anywhere.root / "go").touch()
    assert end(second) == (0, "")
    assert trace(anywhere)[-1] == "ends"


class Moments(threading.Event):
    """Waiting takes no time: each wait is `turns.POLL` seconds later, and calls `then` with the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: Any) -> None:
        super().__init__()
        self.now, self.then = 0.0, then
        monkeypatch.setattr("aifctl.runtime.turns.time.monotonic", lambda: self.now)

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        self.then(self.now)
        return self.is_set()


def asked(store: Store, attempt: str = "a1", stop: threading.Event | None = None) -> Request:
    return Request(store=store, digest=STEP, attempt=attempt, run="r", stop=stop or threading.Event())


def elsewhere(store: Store, beat: int, *, ended: bool = False, number: int = 1) -> None:
    """What an owner on another machine writes."""
    about = {"attempt": "b1", "run": "other", "place": "another machine", "pid": 1, "born": "1"}
    text = json.dumps({**about, "beat": beat, "ended": ended})
    store.write(f"steps/{STEP}/turns/{number:06d}.json", text.encode())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_an_owner_elsewhere_is_waited_for_while_it_gives_signs_of_life(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(store, 0)
    stop = Moments(monkeypatch, lambda now: elsewhere(store, int(now // turns.BEAT)) if now <= 600 else None)
    turn = turns.take(asked(store, stop=stop))
    assert isinstance(turn, Turn)
    assert turn.number == 2
    assert 600 + turns.STALE - turns.BEAT <= stop.now <= 600 + turns.STALE + turns.POLL
    turn.end()


def test_an_owner_that_ends_is_followed_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(store, 0)
    stop = Moments(monkeypatch, lambda now: elsewhere(store, 1, ended=now >= 3))
    said: list[str] = []
    turn = turns.take(replace(asked(store, stop=stop), tell=said.append))
    assert isinstance(turn, Turn)
    assert stop.now == 3
    assert said == ["waits: attempt b1 of run other is at this step", ""]
    turn.end()
    after = turns.take(asked(store, "a2"))
    assert isinstance(after, Turn)
    assert after.number == 3
    after.end()


def test_what_was_published_meanwhile_is_the_result(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(store, 0)
    stop = Moments(monkeypatch, lambda now: store.attempt(STEP, "b1").publish({"by": "other"}))
    found = turns.take(asked(store, stop=stop))
    assert isinstance(found, Published)
    assert found.outputs == {"by": "other"}


@pytest.mark.parametrize("damaged", [False, True])
def test_what_was_published_just_before_the_turn_was_free_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    """The owner ends after the other has looked for a result, and before it looks for turns."""
    owner = turns.take(asked(store))
    assert isinstance(owner, Turn)
    names = store.names

    def ends_first(folder: str) -> list[str]:
        store.attempt(STEP, "a1").publish({"by": "owner"})
        if damaged:
            store.write(f"steps/{STEP}/manifest.json", b"{")
        owner.end()
        return names(folder)

    with monkeypatch.context() as patch:
        patch.setattr(store, "names", ends_first)
        if damaged:
            with pytest.raises(Report, match="AIF803"):
                turns.take(asked(store, "b1"))
        else:
            found = turns.take(asked(store, "b1"))
            assert isinstance(found, Published)
            assert found.outputs == {"by": "owner"}
    assert json.loads(store.read(f"steps/{STEP}/turns/000002.json") or b"")["ended"] is True


def test_told_to_stop_it_waits_no_longer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(store, 0)
    stop = Moments(monkeypatch, lambda now: stop.set() if now > 5 else None)
    assert turns.take(asked(store, stop=stop)) is None
    assert store.names(f"steps/{STEP}/turns") == ["000001.json"]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"ended": "yes", "place": 5, "pid": []}'])
def test_a_broken_file_gets_stale_like_any_other(store: Store, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    store.write(f"steps/{STEP}/turns/000001.json", text)
    stop = Moments(monkeypatch, lambda now: None)
    turn = turns.take(asked(store, stop=stop))
    assert isinstance(turn, Turn)
    assert (turn.number, stop.now) == (2, turns.STALE)
    turn.end()


@pytest.mark.parametrize("number", [1, 2], ids=["a store that gave the number twice", "taken over"])
def test_who_has_lost_the_turn_writes_no_checkpoint_and_is_told_to_stop(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(turns, "BEAT", 0.01)
    stop = threading.Event()
    turn = turns.take(asked(store, stop=stop))
    assert isinstance(turn, Turn)
    checkpoints = Checkpoints(folder=store.checkpoints(STEP), check=turn.check)
    checkpoints.save(lambda path: path.write_text("mine"))
    elsewhere(store, 0, number=2) if number == 2 else turn.end()
    if number == 1:
        elsewhere(store, 0, number=1)
    else:
        wait_until(stop.is_set, "the word to stop")
    with pytest.raises(Fault, match="AIF855"):
        checkpoints.save(lambda path: path.write_text("mine too"))
    assert sorted(path.name for path in store.checkpoints(STEP).iterdir()) == ["000001.ckpt", "000001.json"]
    theirs = store.read(f"steps/{STEP}/turns/{number:06d}.json")
    turn.end()
    assert store.read(f"steps/{STEP}/turns/{number:06d}.json") == theirs


def test_a_machine_that_gets_another_name_keeps_its_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = turns.take(asked(store))
    assert isinstance(turn, Turn)
    monkeypatch.setattr("aifctl.runtime.turns.socket.gethostname", lambda: "another-name")
    turn.check()
    assert not turn.lost
    turn.end()
    assert json.loads(store.read(f"steps/{STEP}/turns/000001.json") or b"")["ended"] is True


def test_a_store_that_is_away_for_a_while_costs_no_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BEAT", 0.01)
    turn = turns.take(asked(store))
    assert isinstance(turn, Turn)
    beats = []

    def away(name: str) -> bytes | None:
        beats.append(name)
        raise Fault()

    with monkeypatch.context() as patch:
        patch.setattr(store, "read", away)
        wait_until(lambda: len(beats) > 3, "some signs of life that fail")
    turn.check()
    assert not turn.request.stop.is_set()
    turn.end()
