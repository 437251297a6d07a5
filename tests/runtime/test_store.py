"""The store: a marker is written once, and only whole results count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aifctl import digest
from aifctl.diagnostics import Report
from aifctl.runtime import store as stores
from aifctl.runtime.store import Fault, Store

STEP = digest.of_text("a step")


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(tmp_path / "store")
    return Store(f"memory://{tmp_path.name}-{os.getpid()}", cache=tmp_path / "cache")


def _publish(store: Store, text: str = "weights", name: str = "a1") -> stores.Published:
    attempt = store.attempt(STEP, name)
    (attempt.path / "sub").mkdir()
    (attempt.path / "model.bin").write_text(text)
    (attempt.path / "sub" / "part.bin").write_bytes(b"\0\1")
    return attempt.publish({"accuracy": 0.5, "made_by": text}, {"name": "train", "kind": "train"})


def test_publishes_files_and_outputs(store: Store) -> None:
    assert store.find(STEP) is None
    _publish(store)
    found = store.find(STEP)
    assert found is not None
    assert found.outputs == {"accuracy": 0.5, "made_by": "weights"}
    assert sorted(found.files) == ["model.bin", "sub/part.bin"]
    assert found.file("model.bin").read_text() == "weights"
    assert found.file("sub/part.bin").read_bytes() == b"\0\1"
    assert found.size == 9
    found.verify()


def test_the_first_attempt_wins_and_the_second_gets_its_result(store: Store) -> None:
    late = store.attempt(STEP, "a2")
    (late.path / "model.bin").write_text("late")
    first = _publish(store, "first")
    got = late.publish({"made_by": "late"})
    assert got.outputs["made_by"] == first.outputs["made_by"] == "first"
    assert got.file("model.bin").read_text() == "first"
    assert not late.path.exists()


def test_many_attempts_at_once_leave_one_result(store: Store) -> None:
    attempts = [store.attempt(STEP, "a1") for _ in range(8)]
    assert len({attempt.path for attempt in attempts}) == 8, "attempts of one name must not share a folder"
    for number, attempt in enumerate(attempts):
        (attempt.path / "model.bin").write_text(f"weights {number}")
    gate, results = threading.Barrier(8), []

    def publish(number: int) -> None:
        gate.wait()
        results.append(attempts[number].publish({"number": number}))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = {result.outputs["number"] for result in results}
    assert len(numbers) == 1
    assert len(results) == 8
    assert results[0].file("model.bin").read_text() == f"weights {numbers.pop()}"


def test_processes_racing_leave_one_result(tmp_path: Path) -> None:
    """Threads share a lock now and then; processes share nothing but the folder."""
    script = (
        "import sys; from aifctl.runtime.store import Store; s = Store(sys.argv[1]); a = s.attempt(sys.argv[2], 'a1')\n"
        "(a.path / 'f').write_text(sys.argv[3]); sys.stdin.read(); print(a.publish({'by': sys.argv[3]}).outputs['by'])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "store"), STEP]
    racers = [
        subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for n in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
        racer.stdin = None
    said = {racer.communicate(timeout=120)[0].strip() for racer in racers}
    published = Store(tmp_path / "store").find(STEP)
    assert published is not None
    assert said == {published.outputs["by"]}
    assert published.file("f").read_text() == published.outputs["by"]


def test_a_kill_between_writing_and_publishing_leaves_no_result(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from aifctl.runtime import store\n"
        "s = store.Store(sys.argv[1]); a = s.attempt(sys.argv[2], 'a1'); (a.path / 'f').write_text('half')\n"
        "os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "a.publish({})"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "store"), STEP], check=False, timeout=120)
    assert killed.returncode == -9
    store = Store(tmp_path / "store")
    assert store.find(STEP) is None
    published = _publish(store, "whole")
    assert published.file("model.bin").read_text() == "whole"
    assert "f" not in published.files


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (_publish(store).path / "model.bin").write_text("weig")
    found = store.find(STEP)
    assert found is not None
    with pytest.raises(Report) as caught:
        _ = found.path
    [finding] = caught.value.diagnostics
    assert finding.code == "AIF803"
    assert finding.message == f"`model.bin` of step `train` ({STEP[:10]}) has 4 bytes, 7 were published"


def test_a_changed_file_of_the_same_size_is_told_by_its_hash(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    published = _publish(store)
    (published.path / "model.bin").write_text("wEights")
    with pytest.raises(Report, match="has other content than was published"):
        published.verify()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    published = _publish(Store(tmp_path / "store"))
    (published.path / "sub" / "part.bin").unlink()
    with pytest.raises(Report, match=r"`sub/part.bin` of step .* is missing"):
        _ = published.path


def test_what_a_remote_store_changed_is_told_when_it_is_fetched(tmp_path: Path) -> None:
    store = Store(f"memory://changed-{tmp_path.name}", cache=tmp_path / "cache")
    published = _publish(store)
    store.write(f"steps/{STEP}/attempts/{published.attempt}/model.bin", b"wEights")
    with pytest.raises(Report, match="has other content than was published"):
        _ = published.path


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        json.dumps({"manifest": 99, "digest": STEP, "attempt": "a1", "files": {}, "outputs": {}}).encode(),
        json.dumps({"manifest": 1, "digest": "0" * 64, "attempt": "a1", "files": {}, "outputs": {}}).encode(),
        json.dumps({"manifest": 1, "digest": STEP, "attempt": "../..", "files": {}, "outputs": {}}).encode(),
        json.dumps(
            {
                "manifest": 1,
                "digest": STEP,
                "attempt": "a1",
                "files": {"../x": {"sha256": "", "size": 1}},
                "outputs": {},
            }
        ).encode(),
    ],
)
def test_a_broken_manifest_is_a_finding(store: Store, manifest: bytes) -> None:
    store.write(f"steps/{STEP}/manifest.json", manifest)
    with pytest.raises(Report, match="AIF803"):
        store.find(STEP)


def test_an_unknown_file_is_a_finding_that_lists_what_there_is(store: Store) -> None:
    with pytest.raises(Report) as caught:
        _publish(store).file("modle.bin")
    assert caught.value.diagnostics[0].code == "AIF804"
    assert caught.value.diagnostics[0].hint == "it has model.bin, sub/part.bin"


def test_a_link_is_not_published(tmp_path: Path) -> None:
    attempt = Store(tmp_path / "store").attempt(STEP, "a1")
    (attempt.path / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(Report, match="symbolic link"):
        attempt.publish({})


def test_a_full_disk_is_a_fault_worth_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    attempt = store.attempt(STEP, "a1")
    (attempt.path / "f").write_text("x")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aifctl.runtime.storage.os.link", full)
    with pytest.raises(Fault) as caught:
        attempt.publish({})
    assert caught.value.diagnostics[0].code == "AIF802"
    assert "No space left on device" in caught.value.diagnostics[0].message
    monkeypatch.undo()
    assert store.find(STEP) is None
    assert [path.name for path in (tmp_path / "store" / "steps" / STEP).iterdir()] == ["attempts"]


def test_a_write_that_the_kernel_cuts_short_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files ends a write in its middle, as a disk that fills up does."""
    (tmp_path / "store" / "runs").mkdir(parents=True)
    script = (
        "import resource, sys; from aifctl.runtime.store import Store, Fault\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "s = Store(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))\n"
        "try: s.write('runs/r.json', b'x' * 1000)\n"
        "except Fault as fault: print(fault)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("AIF802: can't write runs/r.json: File too large"), done.stdout + done.stderr
    assert list((tmp_path / "store" / "runs").iterdir()) == []


def test_a_store_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    store = Store(tmp_path / "store")
    assert store.find(STEP) is None
    with pytest.raises(Fault, match="can't start an attempt"):
        store.attempt(STEP, "a1")


def test_a_scheme_that_nothing_reads_is_a_finding() -> None:
    with pytest.raises(Report, match=r"AIF802.*nosuchscheme"):
        Store("nosuchscheme://bucket")


def test_whole_files_are_written_and_listed(store: Store) -> None:
    assert store.read("runs/r1.json") is None
    assert store.names("runs") == []
    assert store.write("runs/r1.json", b"1")
    assert store.write("runs/r1.json", b"2")
    assert not store.write("runs/r1.json", b"3", exclusive=True)
    assert store.write("runs/r2.json", b"4", exclusive=True)
    assert (store.read("runs/r1.json"), store.read("runs/r2.json")) == (b"2", b"4")
    assert store.names("runs") == ["r1.json", "r2.json"]
    fetched = store.fetch("runs/r1.json")
    assert fetched is not None
    assert fetched.read_bytes() == b"2"
    assert store.fetch("runs/r9.json") is None


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\\b"])
def test_names_stay_below_the_store(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not a name below a folder"):
        store.read(name)


def test_checkpoints_outlive_an_attempt(tmp_path: Path) -> None:
    uri = f"memory://checkpoints-{tmp_path.name}"
    first = Store(uri, cache=tmp_path / "one")
    folder = first.checkpoints(STEP)
    (folder / "epoch-1.bin").write_bytes(b"1")
    (folder / "epoch-2.bin").write_bytes(b"2")
    first.keep_checkpoints(STEP)
    (folder / "epoch-1.bin").unlink()
    first.keep_checkpoints(STEP)
    again = Store(uri, cache=tmp_path / "two").checkpoints(STEP)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {"epoch-2.bin": b"2"}
    local = Store(tmp_path / "store")
    (local.checkpoints(STEP) / "x").write_text("x")
    local.keep_checkpoints(STEP)
    assert (Store(tmp_path / "store").checkpoints(STEP) / "x").read_text() == "x"


def test_a_place_that_nobody_may_write_to_is_a_fault() -> None:
    store = Store("/proc/aifctl-store")
    with pytest.raises(Fault, match="AIF802: can't start an attempt"):
        store.attempt(STEP, "a1")
    with pytest.raises(Fault, match=r"AIF802: can.t write runs/r\.json"):
        store.write("runs/r.json", b"")


def test_outputs_that_json_can_not_hold_are_a_finding(store: Store) -> None:
    attempt = store.attempt(STEP, "a1")
    with pytest.raises(Report, match="AIF804: the step's outputs can't be written"):
        attempt.publish({"loss": float("nan")})
    assert store.find(STEP) is None


def test_what_fails_after_the_marker_was_linked_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    attempt = store.attempt(STEP, "a1")
    (attempt.path / "f").write_text("x")
    link = os.link

    def link_then_stop(*names: str) -> None:
        link(*names)
        raise KeyboardInterrupt

    monkeypatch.setattr("aifctl.runtime.storage.os.link", link_then_stop)
    with pytest.raises(KeyboardInterrupt):
        attempt.publish({"n": 1})
    attempt.discard()
    monkeypatch.undo()
    published = store.find(STEP)
    assert published is not None
    assert published.file("f").read_text() == "x"


def test_big_files_are_sent_once(store: Store, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"12345")
    assert store.send("data/sha256-x", tmp_path / "big")
    assert not store.send("data/sha256-x", tmp_path / "big")
    fetched = store.fetch("data/sha256-x")
    assert fetched is not None
    assert fetched.read_bytes() == b"12345"


def test_a_file_that_vanished_from_a_remote_store_is_told(tmp_path: Path) -> None:
    store = Store(f"memory://vanished-{tmp_path.name}", cache=tmp_path / "cache")
    published = _publish(store)
    store.storage.fs.rm_file(f"/vanished-{tmp_path.name}/steps/{STEP}/attempts/{published.attempt}/model.bin")  # type: ignore[attr-defined]
    with pytest.raises(Report, match=r"`model.bin` of step .* is missing"):
        _ = published.path
