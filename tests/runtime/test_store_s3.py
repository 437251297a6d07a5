"""Stores in a bucket, on a real S3 API: steps publish, find, resume and are verified there; faults are told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aifctl import contract, digest
from aifctl.contract import EXIT_RETRY, Kind
from aifctl.diagnostics import Report
from aifctl.runtime import runs
from aifctl.runtime.store import Fault, Published, Store
from tests.runtime.buckets import Bucket, bucket, server

STEP = digest.of_text("a step")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = bucket(s3, f"b-{uuid.uuid4().hex[:12]}", tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def store(place: Bucket, tmp_path: Path) -> Store:
    return Store(place.uri, cache=tmp_path / "cache")


def publish(store: Store, text: str = "weights", name: str = "a1") -> Published:
    attempt = store.attempt(STEP, name)
    (attempt.path / "sub").mkdir()
    (attempt.path / "model.bin").write_text(text)
    (attempt.path / "sub" / "part.bin").write_bytes(b"\0\1")
    return attempt.publish({"made_by": text}, {"name": "train", "kind": "train"})


def step(place: Bucket, code: str, *arguments: str, environment: dict[str, str] | None = None) -> Any:
    """Python in a process of its own: file systems remember credentials as long as their process lives."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, **(place.environment if environment is None else environment), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_what_one_machine_publishes_another_finds_and_verifies(store: Store, place: Bucket, tmp_path: Path) -> None:
    assert store.find(STEP) is None
    publish(store)
    found = Store(place.uri, cache=tmp_path / "elsewhere").find(STEP)
    assert found is not None
    assert found.location.startswith(f"{place.uri}/steps/{STEP}/attempts/a1.")
    assert found.file("model.bin").read_text() == "weights"
    assert found.file("sub/part.bin").read_bytes() == b"\0\1"
    found.verify()
    assert sorted(key.rpartition("/")[2] for key in place.objects()) == ["manifest.json", "model.bin", "part.bin"]


def test_the_first_of_two_attempts_wins(store: Store, place: Bucket, tmp_path: Path) -> None:
    late = Store(place.uri, cache=tmp_path / "late").attempt(STEP, "a1")
    (late.path / "model.bin").write_text("late")
    publish(store, "first")
    assert late.publish({"made_by": "late"}).outputs["made_by"] == "first"


def test_a_marker_is_written_once_by_many_processes(store: Store, place: Bucket) -> None:
    code = (
        "import sys; from aifctl.runtime.store import Store; s = Store(sys.argv[1]); a = s.attempt(sys.argv[2], 'a1')\n"
        "(a.path / 'f').write_text(sys.argv[3]); sys.stdin.read(); print(a.publish({'by': sys.argv[3]}).outputs['by'])"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, place.uri, STEP, str(number)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
        racer.stdin = None
    said = {racer.communicate(timeout=120)[0].strip() for racer in racers}
    published = store.find(STEP)
    assert published is not None
    assert said == {published.outputs["by"]}
    assert published.file("f").read_text() == published.outputs["by"]


def test_an_object_that_changed_is_told(store: Store, place: Bucket, tmp_path: Path) -> None:
    published = publish(store)
    place.ask("PUT", f"{place.name}/models/steps/{STEP}/attempts/{published.attempt}/model.bin", b"wEights")
    found = Store(place.uri, cache=tmp_path / "elsewhere").find(STEP)
    assert found is not None
    with pytest.raises(Report, match=r"AIF803: `model.bin` of step .* has other content than was published"):
        _ = found.path


def test_an_object_that_is_gone_is_told(store: Store, place: Bucket, tmp_path: Path) -> None:
    published = publish(store)
    place.ask("DELETE", f"{place.name}/models/steps/{STEP}/attempts/{published.attempt}/model.bin")
    found = Store(place.uri, cache=tmp_path / "elsewhere").find(STEP)
    assert found is not None
    with pytest.raises(Report, match=r"AIF803: `model.bin` of step .* is missing"):
        _ = found.path


def test_files_large_and_small_and_their_names(store: Store, place: Bucket, tmp_path: Path) -> None:
    big = tmp_path / "big.npz"
    big.write_bytes(os.urandom(12 * 2**20))
    assert store.send("data/sha256-1", big)
    assert not store.send("data/sha256-1", big)
    fetched = Store(place.uri, cache=tmp_path / "elsewhere").fetch("data/sha256-1")
    assert fetched is not None
    assert digest.of_file(fetched) == digest.of_file(big)
    assert store.write("runs/r1.json", b"1")
    assert store.write("runs/r1.json", b"2")
    assert not store.write("runs/r1.json", b"3", exclusive=True)
    assert (store.read("runs/r1.json"), store.read("runs/r2.json")) == (b"2", None)
    assert (store.names("runs"), store.names("code")) == (["r1.json"], [])


def test_checkpoints_are_kept_as_they_change(store: Store, place: Bucket, tmp_path: Path) -> None:
    folder = store.checkpoints(STEP)
    (folder / "mine.pt").write_text("epoch 1")
    (folder / "old.pt").write_text("x")
    store.keep_checkpoints(STEP)
    (folder / "mine.pt").write_text("epoch 2")  # as long as before
    (folder / "old.pt").unlink()
    store.keep_checkpoints(STEP)
    again = Store(place.uri, cache=tmp_path / "elsewhere")
    found = again.checkpoints(STEP)
    assert {path.name: path.read_text() for path in found.iterdir()} == {"mine.pt": "epoch 2"}
    before = place.ask("GET", f"{place.name}?list-type=2")
    time.sleep(1.1)  # times of objects are seconds
    again.keep_checkpoints(STEP)
    assert place.ask("GET", f"{place.name}?list-type=2") == before, "what did not change is not sent"


def test_a_missing_bucket_is_told_and_not_made(place: Bucket, tmp_path: Path) -> None:
    store = Store("s3://no-such-bucket-here/models", cache=tmp_path / "cache")
    for call in (
        lambda: store.find(STEP),
        lambda: store.names("runs"),
        lambda: store.write("runs/r.json", b""),
        lambda: store.fetch("data/x"),
        lambda: store.checkpoints(STEP),
        lambda: publish(store),
    ):
        with pytest.raises(Fault, match=r"AIF802: .*: there is no bucket `no-such-bucket-here`") as caught:
            call()
        assert caught.value.diagnostics[0].hint == "make the bucket or folder, or correct the store's `uri`"
    assert b"no-such-bucket-here" not in place.ask("GET", "")


def test_a_store_without_a_bucket_is_told(place: Bucket) -> None:
    with pytest.raises(Report, match="AIF802: `s3://` is no store: it names no bucket or folder"):
        Store("s3://")


USE = """
import sys
from aifctl.diagnostics import Report
from aifctl.runtime.store import Fault, Store
store = Store(sys.argv[1])
for call in (lambda: store.find(sys.argv[2]), lambda: store.write("runs/r.json", b""), lambda: store.names("runs")):
    try:
        call()
    except Fault as fault:
        print(fault.diagnostics[0].code, fault.diagnostics[0].message, "|", fault.diagnostics[0].hint)
"""


def test_wrong_credentials_are_told(tmp_path: Path) -> None:
    """The server asks who it is from its second request on, and knows nobody."""
    with server(INITIAL_NO_AUTH_ACTION_COUNT="1") as url:
        place = bucket(url, "private", tmp_path)
        done = step(place, USE, place.uri, STEP)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    for line in lines:
        assert line.startswith("AIF802 can't ")
        assert line.endswith("| check the rights or credentials that the store is used with")


def test_no_credentials_at_all_are_told(place: Bucket) -> None:
    without = {name: value for name, value in place.environment.items() if "ACCESS_KEY" not in name}
    done = step(place, USE, place.uri, STEP, environment=without)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert all("Unable to locate credentials | check the rights or credentials" in line for line in lines)


def test_a_package_that_is_not_installed_is_told(place: Bucket) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from aifctl.diagnostics import Report; from aifctl.runtime.store import Store\n"
        "try: Store(sys.argv[1])\n"
        "except Report as report: print(report.diagnostics[0].code, report.diagnostics[0].hint)"
    )
    done = step(place, code, place.uri)
    assert done.stdout.startswith("AIF802 install the package that this kind of URL needs: `aifctl[s3]`"), done.stderr


def test_a_step_without_credentials_is_worth_a_retry_and_shows_no_traceback(place: Bucket, bench: Any) -> None:
    spec = bench.step(Kind.CUSTOM, contract.CustomConfig(call="m:f", inputs={}, outputs={}), {})
    without = {name: value for name, value in place.environment.items() if "ACCESS_KEY" not in name}
    code = "import sys; from aifctl.runtime import entry; sys.exit(entry.main(sys.argv[1:]))"
    arguments = contract.to_arguments(spec, replace(bench.site, store=place.uri))
    done = step(place, code, *arguments, environment=without)
    assert done.returncode == EXIT_RETRY
    assert "error[AIF802]: can't read steps/" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_chain_of_steps_and_its_record(place: Bucket, bench: Any, tmp_path: Path) -> None:
    bench.site = replace(bench.site, store=place.uri)
    prepared = bench.prepare()
    trained = bench.train(prepared)
    assert trained.location.startswith(place.uri)
    again = bench.train(prepared)
    assert again.attempt == trained.attempt, "a finished step is found, not run again"
    store = Store(place.uri, cache=tmp_path / "elsewhere")
    found = store.find(trained.digest)
    assert found is not None
    found.verify()
    recorder = runs.begin(store, "digits-0123456789", runs.About(model="digits"), [])
    listing = runs.list_runs(store)
    assert [(record.run, record.state) for record in listing.records] == [("digits-0123456789", "running")]
    recorder.save(state="done")
    assert [record.state for record in runs.list_runs(store).records] == ["done"]


def test_the_command_lists_runs_of_a_bucket(place: Bucket, store: Store) -> None:
    runs.begin(store, "digits-0123456789", runs.About(model="digits"), [])
    code = "import sys; from aifctl.cli import main; sys.exit(main(['runs', '--store', sys.argv[1]]))"
    listed = step(place, code, place.uri)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[1].split()[:3] == ["digits-0123456789", "digits", "running"]
    missing = step(place, code, "s3://no-such-bucket-here/models")
    assert missing.returncode == 1
    assert "error[AIF802]: can't list runs: there is no bucket `no-such-bucket-here`" in missing.stderr
    assert "Traceback" not in missing.stderr


SLOW = """
import os, pathlib, signal, sys, time
folder, model = (pathlib.Path(os.environ[name]) for name in ("AIF_CHECKPOINT_DIR", "AIF_MODEL_DIR"))
if (folder / "mine.txt").exists():
    (model / "model.txt").write_text("resumed from " + (folder / "mine.txt").read_text())
    sys.exit(0)

def stop(*_):
    (folder / "mine.txt").write_text("half way")
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
print("started", flush=True)
time.sleep(100)
"""
CONSTANT = (
    "import numpy as np\n\n\ndef predict(folder, batch):\n    return {'logits': np.zeros((len(batch['pixels']), 10))}\n"
)


def test_a_training_that_is_stopped_goes_on_on_another_machine(place: Bucket, bench: Any) -> None:
    bench.site = replace(bench.site, store=place.uri)
    prepared = bench.prepare()
    bench.write_code("train.py", SLOW)
    bench.write_code("predict.py", CONSTANT)
    custom = contract.CustomTraining(command=("python", "train.py"), produces="model.txt", predict="predict:predict")
    config = contract.TrainConfig(
        task="classification", framework="custom", dataset="digits", model=None, custom=custom
    )  # fmt: skip
    spec = bench.step(Kind.TRAIN, config, {"prepare": prepared.digest})
    command = [sys.executable, "-m", "aifctl.runtime.entry", *contract.to_arguments(spec, bench.site)]
    first = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert any("started" in line for line in first.stdout)
    first.terminate()
    assert first.wait(60) == EXIT_RETRY
    first.stdout.close()
    published = bench.run(spec)
    assert (published.path / "model" / "model.txt").read_text() == "resumed from half way"
