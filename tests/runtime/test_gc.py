"""Garbage collection: what is reached stays, what is not goes, links are left alone, runs are not disturbed."""

from __future__ import annotations

import math
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from aifctl.diagnostics import Report, Severity
from aifctl.runtime import gc, locks, runs
from aifctl.runtime.store import Store
from tests.runtime.fake_runs import Fake, Place, execute, make_run, read_pid, start_executor, states

LATER = time.time() + 7 * 24 * 3600
DAY = 24 * 3600.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two finished runs that share `prepare`."""
    place = Place(tmp_path)
    execute(place, make_run(Fake("prepare"), Fake("train", after=("prepare",)), name="digits-aaaaaaaaaa"))
    execute(place, make_run(Fake("prepare"), Fake("tune", after=("prepare",)), name="digits-bbbbbbbbbb"))
    return place


def digests(place: Place, run: str) -> dict[str, str]:
    record = runs.find(runs.list_runs(Store(place.store)), run)
    return {name: str(step.digest) for name, step in record.steps.items()}


def step(place: Place, digest: str) -> Path:
    return place.store / "steps" / digest


def plan(
    place: Place, *keep_runs: str, digests: set[str] | None = None, now: float = LATER, older_than: float = DAY
) -> gc.Plan:
    return gc.plan_gc(place.store, digests or set(), set(keep_runs), now, older_than)


def elsewhere(store: Store, steps: Mapping[str, runs.StepRecord]) -> runs.Recorder:
    """A run that a cluster executes, which writes into this store."""
    started = runs.now()
    record = runs.RunRecord(
        run="digits-cccccccccc", model="digits", state="running", created=started, started=started, steps=steps
    )
    recorder = runs.Recorder(store, record)
    recorder.save()
    return recorder


def paths(plan: gc.Plan) -> set[str]:
    return {item.path.relative_to(plan.store).as_posix() for item in plan.garbage}


class TestPlan:
    def test_what_a_kept_run_reaches_stays(self, place: Place) -> None:
        found = plan(place, "local-digits-aaaaaaaaaa")
        assert paths(found) == {f"steps/{digests(place, 'digits-b')['tune']}"}

    def test_what_a_running_run_of_a_cluster_reaches_stays(self, place: Place) -> None:
        """Nobody on this machine holds a lock for it."""
        store, reached = Store(place.store), digests(place, "digits-b")
        recorder = elsewhere(store, runs.find(runs.list_runs(store), "digits-b").steps)
        assert paths(plan(place)) == {f"steps/{digests(place, 'digits-a')['train']}"}
        recorder.save(state="done")
        assert f"steps/{reached['tune']}" in paths(plan(place))

    def test_what_a_cluster_works_on_is_left_alone(self, place: Place) -> None:
        """A training's attempt has nothing in it until its end: it looks as old as its start."""
        store, unfinished, train = Store(place.store), "c" * 64, digests(place, "digits-a")["train"]
        store.attempt(unfinished, "at-work")
        store.attempt(train, "lost")
        steps = {
            "train": runs.StepRecord(kind="train", digest=unfinished, state="running"),
            "earlier": runs.StepRecord(kind="train", digest=train, state="cached"),
        }
        recorder = elsewhere(store, steps)
        kept = {"local-digits-aaaaaaaaaa", "local-digits-bbbbbbbbbb"}
        assert paths(plan(place, *kept)) == {f"steps/{train}/attempts/lost"}
        recorder.save(state="failed")
        ended = plan(place, *kept, recorder.record.run)
        assert paths(ended) == {f"steps/{train}/attempts/lost", f"steps/{unfinished}/attempts/at-work"}
        recorder.save(state="running")
        assert [item.path.name for item in gc.collect(ended).freed] == ["lost"]

    def test_a_running_run_of_a_cluster_that_reads_unpinned_data_postpones_it(self, place: Place) -> None:
        """Its evaluation will look for a result whose digest nobody knows yet: any of them."""
        ended = plan(place)
        assert len(ended.garbage) == 3
        steps = {"evaluate": runs.StepRecord(kind="evaluate")}
        recorder = elsewhere(Store(place.store), steps)
        found, collected = plan(place), gc.collect(ended)
        assert (found.garbage, collected.freed) == ((), ())
        (told,) = found.diagnostics
        assert collected.diagnostics == (told,)
        assert (told.code, told.severity) == ("AIF853", Severity.WARNING)
        assert "remove runs/digits-cccccccccc.json" in str(told.hint)
        recorder.save(state="failed")
        assert plan(place).garbage == ended.garbage

    def test_what_a_release_reaches_stays(self, place: Place) -> None:
        tune = digests(place, "digits-b")["tune"]
        found = plan(place, digests={tune})
        first = digests(place, "digits-a")
        assert paths(found) == {f"steps/{first['prepare']}", f"steps/{first['train']}"}

    def test_young_things_stay(self, place: Place) -> None:
        assert plan(place, now=time.time()).garbage == ()
        assert len(plan(place, now=time.time(), older_than=0).garbage) == 3

    def test_bytes_are_what_deleting_frees(self, place: Place) -> None:
        tune = step(place, digests(place, "digits-b")["tune"])
        (item,) = plan(place, "local-digits-aaaaaaaaaa").garbage
        assert item.bytes == sum(path.stat().st_size for path in tune.rglob("*") if path.is_file()) > 0

    def test_nothing_is_changed(self, place: Place) -> None:
        before = sorted(place.store.rglob("*"))
        plan(place)
        assert sorted(place.store.rglob("*")) == before

    def test_attempts_that_did_not_publish_and_checkpoints_of_what_has_ended(self, place: Place) -> None:
        store = Store(place.store)
        train = digests(place, "digits-a")["train"]
        lost = store.attempt(train, "lost").path
        (lost / "half").write_text("x")
        (store.checkpoints(train) / "epoch1").write_text("x" * 100)
        store.write(f"steps/{train}/turns/000001.json", b"{}")
        unfinished = "c" * 64
        (store.checkpoints(unfinished) / "epoch1").write_text("x")
        store.attempt(unfinished, "killed")
        found = plan(place, "local-digits-aaaaaaaaaa", "local-digits-bbbbbbbbbb", digests={unfinished})
        assert {(item.path.relative_to(place.store).as_posix(), item.bytes) for item in found.garbage} == {
            (f"steps/{train}/attempts/lost", 1),
            (f"steps/{train}/checkpoints", 100),
            (f"steps/{train}/turns", 2),
            (f"steps/{unfinished}/attempts/killed", 0),  # its checkpoints are what a later run goes on from
        }

    def test_a_broken_marker_of_a_kept_step_keeps_all_of_it(self, place: Place) -> None:
        train = digests(place, "digits-a")["train"]
        Store(place.store).checkpoints(train)
        (step(place, train) / "manifest.json").write_text("{")
        assert plan(place, "local-digits-aaaaaaaaaa", "local-digits-bbbbbbbbbb").garbage == ()

    def test_leftovers_of_killed_writes(self, place: Place) -> None:
        train = digests(place, "digits-a")["train"]
        names = {f"runs/.x.json.{'0' * 32}", f"steps/{train}/.manifest.json.{'1' * 32}"}
        for name in names:
            (place.store / name).write_text("x")
        assert paths(plan(place, "local-digits-aaaaaaaaaa", "local-digits-bbbbbbbbbb")) == names

    def test_a_kept_run_that_can_not_be_read_stops_it(self, place: Place) -> None:
        (place.store / "runs/local-digits-aaaaaaaaaa.json").write_text("{")
        with pytest.raises(Report, match="AIF850"):
            plan(place, "local-digits-aaaaaaaaaa")
        assert len(plan(place, "local-digits-bbbbbbbbbb").garbage) == 1  # who does not keep it does not need it

    def test_foreign_names_are_left_alone(self, place: Place) -> None:
        (place.store / "steps/notes").mkdir()
        (place.store / "steps" / ("A" * 64)).mkdir()
        (place.store / "steps" / ("d" * 64)).write_text("a file")
        assert paths(plan(place, "local-digits-aaaaaaaaaa", "local-digits-bbbbbbbbbb")) == set()

    def test_an_absent_store(self, tmp_path: Path) -> None:
        assert gc.plan_gc(tmp_path / "none", set(), set(), LATER, 0).garbage == ()
        assert not (tmp_path / "none").exists()


class TestCollect:
    def test_frees_what_was_planned(self, place: Place) -> None:
        found = plan(place, "local-digits-aaaaaaaaaa")
        collected = gc.collect(found)
        assert (collected.freed, collected.diagnostics) == (found.garbage, ())
        assert not found.garbage[0].path.exists()
        assert list((place.store / "trash").iterdir()) == []
        run = make_run(Fake("prepare"), Fake("train", after=("prepare",)), name="digits-aaaaaaaaaa")
        assert states(execute(place, run)) == {"prepare": "cached", "train": "cached"}

    def test_what_became_reached_in_the_meantime_stays(self, place: Place) -> None:
        found = plan(place, now=time.time(), older_than=0)
        train = step(place, digests(place, "digits-a")["train"])
        collected = gc.collect(replace(found, rule=replace(found.rule, digests={train.name})))
        assert train.exists()
        assert len(collected.freed) == 2

    def test_what_was_not_planned_stays(self, place: Place) -> None:
        found = plan(place, "local-digits-aaaaaaaaaa")
        Store(place.store).attempt("e" * 64, "a1")
        gc.collect(found)
        assert step(place, "e" * 64).exists()

    def test_trash_of_a_killed_collection(self, place: Place) -> None:
        tune = step(place, digests(place, "digits-b")["tune"])
        (place.store / "trash").mkdir()
        tune.rename(place.store / "trash/0123")
        found = plan(place, "local-digits-aaaaaaaaaa")
        assert paths(found) == {"trash/0123"}
        assert len(gc.collect(found).freed) == 1
        assert not (place.store / "trash/0123").exists()

    def test_what_can_not_be_freed_is_told(self, place: Place) -> None:
        (place.store / "trash").write_text("in the way")
        found = plan(place, "local-digits-aaaaaaaaaa")
        collected = gc.collect(found)
        assert collected.freed == ()
        assert [finding.code for finding in collected.diagnostics] == ["AIF852"]
        assert found.garbage[0].path.exists()


class TestLinks:
    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").write_text("x" * 1000)
        return outside

    def check(self, place: Place, outside: Path, *keep: str, frees: int) -> gc.Plan:
        found = plan(place, *keep)
        collected = gc.collect(found)
        assert len(collected.freed) == frees
        assert (outside / "precious").read_text() == "x" * 1000
        assert all(item.bytes < 1000 for item in found.garbage)
        return found

    def test_a_step_that_is_a_link(self, place: Place, outside: Path) -> None:
        link = step(place, "f" * 64)
        link.symlink_to(outside)
        found = self.check(place, outside, "local-digits-aaaaaaaaaa", "local-digits-bbbbbbbbbb", frees=0)
        assert [finding.code for finding in found.diagnostics] == ["AIF852"]
        assert link.is_symlink()

    def test_links_inside_a_step(self, place: Place, outside: Path) -> None:
        tune = step(place, digests(place, "digits-b")["tune"])
        (tune / "attempts/folder").symlink_to(outside)
        (tune / "file").symlink_to(outside / "precious")
        self.check(place, outside, "local-digits-aaaaaaaaaa", frees=1)
        assert not tune.exists()

    @pytest.mark.parametrize("name", ["attempts", "checkpoints"])
    def test_a_part_of_a_kept_step_that_is_a_link(self, place: Place, outside: Path, name: str) -> None:
        train = step(place, digests(place, "digits-a")["train"])
        if (train / name).exists():
            shutil.rmtree(train / name)
        (train / name).symlink_to(outside)
        (outside / "a1").mkdir()
        self.check(place, outside, "local-digits-aaaaaaaaaa", "local-digits-bbbbbbbbbb", frees=0)
        assert (outside / "a1").is_dir()

    @pytest.mark.parametrize("name", ["steps", "trash", "runs"])
    def test_a_folder_of_the_store_that_is_a_link(self, place: Place, outside: Path, name: str) -> None:
        if (place.store / name).exists():
            shutil.rmtree(place.store / name)
        (outside / ("a" * 64)).mkdir()
        (place.store / name).symlink_to(outside)
        found = plan(place, digests={path.name for path in (place.store / "steps").iterdir()})
        gc.collect(found)
        assert sorted(path.name for path in outside.iterdir()) == ["a" * 64, "precious"]


class TestBesideRuns:
    def test_a_running_run_keeps_its_steps(self, place: Place) -> None:
        hang = Fake("train", [["write_pid", place.path("pid")], ["await_file", place.path("go")]], after=("new",))
        executor = start_executor(place, Fake("new"), hang, stdout=subprocess.DEVNULL)
        read_pid(place.path("pid"))
        running = digests(place, "digits-0123456789")
        found = plan(place, older_than=0)
        collected = gc.collect(found)
        assert running["new"] not in {item.path.name for item in collected.freed}
        assert running["train"] not in {item.path.name for item in collected.freed}
        assert len(collected.freed) == 3  # the two finished runs were not kept
        Path(place.path("go")).touch()
        executor.wait()
        assert executor.returncode == 0

    def test_a_run_that_reads_unpinned_data_postpones_it(self, place: Place) -> None:
        hang = Fake("prepare", [["write_pid", place.path("pid")], ["await_file", place.path("go")]], unpinned=True)
        executor = start_executor(place, hang, stdout=subprocess.DEVNULL)
        read_pid(place.path("pid"))
        found = plan(place, older_than=0)
        assert found.garbage == ()
        assert [finding.code for finding in found.diagnostics] == ["AIF853"]
        executor.send_signal(signal.SIGINT)
        executor.wait()

    def test_a_step_that_is_worked_on_stays_whoever_does_it(self, place: Place) -> None:
        tune = digests(place, "digits-b")["tune"]
        lock = locks.take(locks.step_path(place.store, tune))
        assert lock is not None
        assert paths(plan(place, "local-digits-aaaaaaaaaa")) == set()
        lock.release()
        assert paths(plan(place, "local-digits-aaaaaaaaaa")) == {f"steps/{tune}"}

    def test_a_run_waits_for_a_collection(self, place: Place) -> None:
        lock = locks.take(locks.gc_path(place.store))
        assert lock is not None
        executor = start_executor(place, Fake("one"), stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            executor.communicate(timeout=2)
        assert "one" not in place.ran()
        lock.release()
        executor.communicate()
        assert executor.returncode == 0

    def test_collections_and_runs_at_the_same_time_never_break_a_run(self, place: Place) -> None:
        """Everything is garbage the moment no run reaches it, again and again."""
        fakes = (Fake("prepare"), Fake("train", after=("prepare",)), Fake("gate", after=("train",)))
        for _ in range(4):
            executor = start_executor(place, *fakes, stdout=subprocess.DEVNULL)
            while executor.poll() is None:
                gc.collect(plan(place, now=time.time() + 60, older_than=0))
            assert executor.returncode == 0


def test_what_has_gone_meanwhile_is_no_garbage(tmp_path: Path) -> None:
    assert gc._measure(tmp_path / "gone") == (0, math.inf)
