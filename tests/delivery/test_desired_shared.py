"""What several processes compile for an apply is what one does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aifctl.delivery import units
from aifctl.delivery.units import Part
from aifctl.diagnostics import Report
from aifctl.spec.files import Chosen
from tests.delivery.repositories import fleet_of, spec_of
from tests.delivery.test_cache import replaced
from tests.delivery.test_desired import compiled, found, told

BOTH = "both"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = fleet_of(tmp_path / "fleet", 9)
    monkeypatch.chdir(folder)
    return folder


def shared(root: Path, monkeypatch: pytest.MonkeyPatch, *, cached: bool = True) -> object:
    """What three processes make of it."""
    with monkeypatch.context() as patch:
        patch.setenv("AIFCTL_JOBS", "3")
        return told(found(root, BOTH, cached=cached))


def test_units_and_findings_are_those_of_one_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(spec_of(root, 2), "kind: Model", "kind: Modell")
    replaced(spec_of(root, 5), "name: model-00005", "name: model-00005\n  nickname: five")
    spec_of(root, 7).write_text("apiVersion: aif.dev/v1alpha1\nkind: [\n")
    alone = told(found(root, BOTH, cached=False))
    assert shared(root, monkeypatch, cached=False) == alone
    assert shared(root, monkeypatch) == alone
    seen = compiled(monkeypatch)
    known = found(root, BOTH)
    assert sorted(seen) == ["model-00002", "model-00005", "model-00007"], "the others are remembered"
    assert told(known) == alone


def test_twins_in_two_pieces_are_judged_together(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(spec_of(root, 8), "name: model-00008", "name: model-00001")
    known = shared(root, monkeypatch)
    assert known == told(found(root, BOTH, cached=False))
    assert "AIF211" in str(known)


def test_a_process_that_is_killed_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, compile_piece = os.getpid(), units.Worker.compile

    def deadly(worker: units.Worker, chosen: Chosen) -> Part:
        if os.getpid() != owner and any("00004" in str(path) for path, _ in chosen):
            os.kill(os.getpid(), signal.SIGKILL)
        return compile_piece(worker, chosen)

    with monkeypatch.context() as patch:
        patch.setattr(units.Worker, "compile", deadly)
        with pytest.raises(Report, match=r"AIF522: .* by signal 9"):
            shared(root, monkeypatch)
    assert multiprocessing.active_children() == []
    assert not list(root.rglob(".aif/cache/units-*")), "nothing is remembered of it"


def test_modules_that_are_being_imported_are_there_before_a_process_is_forked(tmp_path: Path) -> None:
    """A lock that another thread holds at a fork is never opened again over there."""
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.5)\n")
    code = """
import sys
from aifctl.delivery import beforehand, workers
class Worker:
    def compile(self, piece):
        import slow_to_import
        return slow_to_import.__name__
beforehand.load("slow_to_import")
beforehand.load("there_is_no_such_module")
with workers.Crew(Worker(), 2) as crew:
    print(crew.share("compile", [1, 2, 3]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "['slow_to_import', 'slow_to_import', 'slow_to_import']\n"
    assert not done.stderr
