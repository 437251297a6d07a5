"""A commit whose compile is killed is tried again, and one model that kills it each time is left out."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.delivery.garden import GOOD, Garden
from tests.reconcile.conftest import Start
from tests.reconcile.process import Reconciler

OTHER = GOOD.replace("serve@", "serve-two@")
AILING = """\
import os, sys
from aifctl.reconcile import tries
tries.FIRST = 0.2
if "aifctl.reconcile.compiling" in sys.orig_argv:
    from aifctl import pipeline
    healthy = pipeline.compile_unit
    def compile_unit(repository, unit):
        if unit.name == "rose":
            os.kill(os.getpid(), 9)
        return healthy(repository, unit)
    pipeline.compile_unit = compile_unit
"""
"""As Python's `sitecustomize`: compiling `rose` ends the process, and tries follow each other sooner."""


def kill_next_compile(process: Reconciler) -> None:
    """As the kernel does it, in the middle."""
    children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for child in children.read_text().split():
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes()
            except OSError:
                continue
            if b"aifctl.reconcile.compiling" in words:
                os.kill(int(child), signal.SIGKILL)
                return
        time.sleep(0.005)
    raise AssertionError("nothing was compiled")


def events(garden: Garden) -> set[str]:
    """Reasons of those about the environment as a whole, and its models."""
    listed = garden.cluster.list("v1", "Event", "aif-system")
    return {each["reason"] for each in listed if garden.environment in each["involvedObject"]["name"]}


def test_a_killed_compile_is_tried_again_without_a_new_commit(garden: Garden, start: Start) -> None:
    with start() as process:
        process.wait("synced")
        assert process.metric("compile_up") == 1
        commit = garden.release("rose", OTHER).commit()
        kill_next_compile(process)
        told = process.wait("finding", code="AIF771")
        assert "signal 9" in told["message"]
        assert "tried again" in told["hint"]
        assert process.wait("again", commit=commit[:10])["tries"] == 1
        assert process.metric("compile_up") == 0
        assert process.metric('compiles_total{result="lost"}') == 1
        assert garden.image("rose") == GOOD
        process.wait("commit", commit=commit[:10])
        process.until(lambda: garden.image("rose") == OTHER)
        assert process.metric("compile_up") == 1
        process.until(lambda: "AIF771" in events(garden), what="an Event says so")


def test_a_killed_compile_is_tried_again_while_git_is_away(garden: Garden, start: Start) -> None:
    aside = garden.root.with_name("aside")
    with start() as process:
        process.wait("synced")
        garden.release("rose", OTHER).commit()
        kill_next_compile(process)
        garden.root.rename(aside)
        process.wait("finding", code="AIF770")
        process.until(lambda: garden.image("rose") == OTHER)


def test_a_model_that_kills_it_each_time_holds_up_no_other(
    garden: Garden, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ailing").mkdir()
    (tmp_path / "ailing/sitecustomize.py").write_text(AILING)
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "ailing"), *before]))
    with start("--once") as process:
        assert process.ended() == 1
        assert [line["tries"] for line in process.said("again")] == [1, 2, 3]
        frozen = process.wait("finding", code="AIF772")
        assert "left out" in frozen["notes"]
        assert garden.image("tulip") == GOOD
        assert not garden.deployment("rose")
