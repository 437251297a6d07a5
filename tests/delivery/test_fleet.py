"""Rendering in pieces gives what rendering everything at once gives, and a process that dies leaves no lie behind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aifctl.delivery import pieces
from aifctl.diagnostics import Report
from tests.delivery.repositories import GROUND, Renders, examples, fleet_of, on_disk, spec_of

PROCESSES = [1, 3]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = fleet_of(tmp_path / "repository", 7)
    monkeypatch.chdir(folder)
    return folder


def expected(root: Path, tmp_path: Path) -> dict[str, bytes]:
    Renders(root).plain(tmp_path / "plain")
    return on_disk(tmp_path / "plain")


@pytest.mark.parametrize("jobs", PROCESSES)
def test_the_bytes_are_those_of_one_compile_of_everything(root: Path, tmp_path: Path, jobs: int) -> None:
    files = expected(root, tmp_path)
    assert len(files) == 7 * 12 + GROUND
    would = Renders(root, jobs=jobs)(dry=True)
    assert not (root / "rendered").exists(), "dry writes nothing"
    done = Renders(root, jobs=jobs)()
    assert on_disk(root) == files
    assert done.written == would.written
    assert done.written.new == tuple(sorted(files))
    assert (done.failed, done.findings, done.times) == (False, (), 1)


@pytest.mark.parametrize("jobs", PROCESSES)
def test_several_environments_data_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    (tmp_path / "repository").mkdir()
    root = examples(tmp_path / "repository")
    monkeypatch.chdir(root)
    Renders(root, jobs=jobs)()
    assert on_disk(root) == expected(root, tmp_path)


@pytest.mark.parametrize("jobs", PROCESSES)
def test_findings_come_in_the_order_of_one_compile(root: Path, tmp_path: Path, jobs: int) -> None:
    Renders(root)()
    for number, (old, new) in {1: ("epochs", "epoch"), 3: ("min: 0.9", "min: 9.0"), 6: ("onnx, o", "onxx, o")}.items():
        spec_of(root, number).write_text(spec_of(root, number).read_text().replace(old, new))
    spec_of(root, 4).write_text(spec_of(root, 4).read_text().replace("seed: 4,", "seed: 0o4,") + "\n# on: yes\n")
    shutil.copytree(root / "rendered", tmp_path / "plain/rendered")
    plain = Renders(root).plain(tmp_path / "plain")
    done = Renders(root, jobs=jobs)()
    assert len(plain.findings) >= 3
    assert done.findings == plain.findings
    assert done.written == plain.written
    assert done.failed is plain.failed is True
    assert on_disk(root) == on_disk(tmp_path / "plain"), "what does not compile keeps its files"


@pytest.mark.parametrize("jobs", PROCESSES)
def test_two_models_of_one_name_in_different_pieces(root: Path, tmp_path: Path, jobs: int) -> None:
    spec_of(root, 6).write_text(spec_of(root, 6).read_text().replace("model-00006", "model-00000"))
    plain = Renders(root).plain(tmp_path / "plain")
    done = Renders(root, jobs=jobs)()
    assert [d.code for d in done.findings] == ["AIF211"]
    assert done.findings == plain.findings
    assert on_disk(root) == on_disk(tmp_path / "plain")
    assert Renders(root, jobs=jobs)().findings == plain.findings, "the cache hides no twin"


@pytest.mark.parametrize("jobs", PROCESSES)
def test_one_object_of_two_models(root: Path, jobs: int) -> None:
    """The account of model x's run is called as that of a server called x-run."""
    for place in (spec_of(root, 6), root / "releases/both/model-00006.yaml"):
        place.write_text(
            place.read_text().replace("name: model-00006", "name: model-00000-run").replace("team-06", "team-00")
        )
    (root / "releases/both/model-00006.yaml").rename(root / "releases/both/model-00000-run.yaml")
    with pytest.raises(Report, match="AIF501"):
        Renders(root, jobs=jobs)()
    assert not (root / "rendered").exists()


@pytest.mark.parametrize("jobs", PROCESSES)
def test_what_is_gone_is_removed_and_what_moved_leaves_nothing_behind(root: Path, tmp_path: Path, jobs: int) -> None:
    Renders(root)()
    shutil.rmtree(spec_of(root, 2).parent)
    spec_of(root, 3).write_text(spec_of(root, 3).read_text().replace("tenant: team-03", "tenant: team-05"))
    left = Renders(root, jobs=jobs)(spec_of(root, 1))
    assert not left.written.differs, "a part of the repository says nothing of the rest"
    done = Renders(root, jobs=jobs)(cached=False)
    assert on_disk(root) == expected(root, tmp_path)
    assert {path.split("/")[2] for path in done.written.removed} == {"team-02", "team-03"}
    assert not (root / "rendered/both/team-02").exists()


def test_a_spec_that_may_be_any_models_stops_removal(root: Path) -> None:
    Renders(root)()
    before = on_disk(root)
    spec_of(root, 2).write_text("apiVersion: aif.dev/v1alpha1\nkind: [\n")
    assert Renders(root)().failed
    assert on_disk(root) == before


@pytest.mark.parametrize("jobs", PROCESSES)
def test_a_folder_without_specs(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(Report, match="AIF114"):
        Renders(tmp_path, jobs=jobs)()


def _killed_while(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, original = os.getpid(), getattr(pieces.Worker, method)

    def deadly(worker: pieces.Worker, argument: Any) -> Any:
        if os.getpid() != owner and (method == "write" or any("00004" in str(path) for path, _ in argument)):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(worker, argument)

    monkeypatch.setattr(pieces.Worker, method, deadly)


@pytest.mark.parametrize("method", ["compile", "write"])
def test_a_process_that_is_killed_is_an_error(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    with monkeypatch.context() as patch:
        _killed_while(method, patch)
        with pytest.raises(Report, match=r"AIF522: .* by signal 9"):
            Renders(root, jobs=3)()
    assert multiprocessing.active_children() == []
    assert on_disk(root).items() <= expected(root, tmp_path).items()
    assert not list(root.rglob(".aif/cache/render-*")), "nothing is remembered of it"
    Renders(root, jobs=3)()
    assert on_disk(root) == expected(root, tmp_path)


def test_a_fault_of_ours_shows_its_traceback(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(worker: pieces.Worker, argument: Any) -> Any:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(pieces.Worker, "compile", broken)
    with pytest.raises(RuntimeError, match=r"(?s)in broken.*ZeroDivisionError: ours"):
        Renders(root, jobs=3)()
    assert multiprocessing.active_children() == []


def test_a_tree_that_cannot_be_written_is_told_once(root: Path) -> None:
    (root / "rendered").symlink_to(root)
    with pytest.raises(Report) as raised:
        Renders(root, jobs=3)()
    assert [d.code for d in raised.value.diagnostics] == ["AIF520"]


def _start(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "aifctl", "render", *arguments]
    environment = {**os.environ, "AIFCTL_JOBS": "2", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        command, cwd=root, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _has_ended(group: int) -> bool:
    for _ in range(500):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    root = fleet_of(tmp_path / "repository", 120)
    process = _start(root)
    while not (root / "rendered").exists() and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert _has_ended(process.pid)
    Renders(root)()
    assert on_disk(root) == expected(root, tmp_path), "the next render makes it whole"


def test_processes_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    root = fleet_of(tmp_path / "repository", 120)
    process = _start(root)
    while not (root / "rendered").exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=60)
    assert _has_ended(process.pid)


def test_two_renders_at_once(root: Path, tmp_path: Path) -> None:
    both = [_start(root), _start(root)]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [(process.returncode, error) for process, error in zip(both, errors, strict=True)] == [(0, b""), (0, b"")]
    assert on_disk(root) == expected(root, tmp_path)
    assert not Renders(root)().written.differs
