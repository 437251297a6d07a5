"""The executor: order, side by side, cached, failure, retry, signals, killed executors, two at once, odd places."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aifctl import contract, digest, ir
from aifctl.contract import Kind
from aifctl.diagnostics import Report, Severity
from aifctl.runtime import local, locks, processes, runs
from aifctl.runtime.launcher import Ended, Handle, Verdict
from aifctl.runtime.store import Store
from tests.runtime.fake_runs import (
    PATIENCE,
    Fake,
    Place,
    execute,
    is_alive,
    make_run,
    read_pid,
    start_executor,
    states,
    wait_until,
)

WINE = Path(__file__).parents[2] / "examples/specs/wine-sklearn"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def record_of(place: Place) -> runs.RunRecord:
    (record,) = runs.list_runs(Store(place.store)).records
    return record


class TestOrder:
    def test_steps_start_after_what_they_read_has_ended(self, place: Place) -> None:
        outcome = execute(
            place,
            make_run(
                Fake("prepare"),
                Fake("train", after=("prepare",)),
                Fake("evaluate", after=("train", "prepare"), kind=Kind.EVALUATE),
                Fake("gate", after=("train",), needs=("evaluate",)),
            ),
        )
        assert (outcome.state, outcome.exit_code) == ("done", 0)
        assert states(outcome) == dict.fromkeys(("prepare", "train", "evaluate", "gate"), "done")
        for before, after in (("prepare", "train"), ("train", "evaluate"), ("evaluate", "gate")):
            assert place.interval(before)[1] <= place.interval(after)[0]

    def test_independent_steps_overlap(self, place: Place) -> None:
        meet = [["touch", place.path("a")], ["await_file", place.path("b")]]
        meet_too = [["touch", place.path("b")], ["await_file", place.path("a")]]
        outcome = execute(place, make_run(Fake("one", meet), Fake("two", meet_too)))
        assert outcome.state == "done"
        (start, end), (other_start, other_end) = place.interval("one"), place.interval("two")
        assert max(start, other_start) < min(end, other_end)

    def test_no_more_steps_at_once_than_allowed(self, place: Place) -> None:
        fakes = [Fake(f"step{n}") for n in range(4)]
        assert execute(place, make_run(*fakes), site={"parallel": 1}).state == "done"
        intervals = sorted(place.interval(fake.name) for fake in fakes)
        assert all(end <= start for (_, end), (start, _) in pairwise(intervals))

    def test_digests_below_unpinned_data_are_chained_when_prepare_knows_its_own(self, place: Place) -> None:
        run = make_run(
            Fake("prepare", unpinned=True),
            Fake("train", after=("prepare",)),
            Fake("gate", after=("train",), needs=("prepare",)),
        )
        assert [step.spec.digest for step in run.steps] == [None, None, None]
        outcome = execute(place, run)
        pinned = make_run(Fake("prepare"), Fake("train", after=("prepare",)), Fake("gate", after=("train",)))
        assert [step.digest for step in outcome.steps] == [step.spec.digest for step in pinned.steps]
        assert {name: step.digest for name, step in record_of(place).steps.items()} == {
            step.name: step.digest for step in outcome.steps
        }


class TestCached:
    def test_finished_steps_are_not_started_again(self, place: Place) -> None:
        run = make_run(Fake("prepare"), Fake("train", after=("prepare",)))
        execute(place, run)
        again = execute(place, run)
        assert states(again) == {"prepare": "cached", "train": "cached"}
        assert place.ran() == ["prepare", "train"]
        assert again.steps[1].outputs == {"name": "train"}
        assert again.exit_code == 0

    def test_a_new_step_runs_alone(self, place: Place) -> None:
        execute(place, make_run(Fake("prepare"), name="digits-aaaaaaaaaa"))
        outcome = execute(place, make_run(Fake("prepare"), Fake("train", after=("prepare",)), name="digits-bbbbbbbbbb"))
        assert states(outcome) == {"prepare": "cached", "train": "done"}

    def test_a_step_that_finds_its_marker_itself_is_cached_too(self, place: Place) -> None:
        run = make_run(Fake("prepare", unpinned=True), Fake("train", after=("prepare",)))
        execute(place, run)
        assert states(execute(place, run)) == {"prepare": "cached", "train": "cached"}

    def test_a_damaged_result_is_told_and_not_built_upon(self, place: Place) -> None:
        run = make_run(Fake("prepare"), Fake("train", after=("prepare",)))
        (made,) = [step.digest for step in execute(place, make_run(Fake("prepare"))).steps]
        next((place.store / "steps" / str(made)).rglob("made.txt")).write_text("cut")
        outcome = execute(place, run)
        assert states(outcome) == {"prepare": "failed", "train": "skipped"}
        assert [finding.code for finding in outcome.diagnostics] == ["AIF803"]

    def test_a_broken_marker_fails_the_step_and_not_the_program(self, place: Place) -> None:
        run = make_run(Fake("prepare"), Fake("other"))
        digest = run.steps[0].spec.digest
        folder = place.store / "steps" / str(digest)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"cut')
        outcome = execute(place, run)
        assert states(outcome) == {"prepare": "failed", "other": "done"}
        assert outcome.steps[0].diagnostics


class TestFailure:
    def test_what_depends_on_it_is_skipped_and_the_rest_goes_on(self, place: Place) -> None:
        outcome = execute(
            place,
            make_run(
                Fake("bad", [["say", "last words"], ["fail", 1]]),
                Fake("below", after=("bad",)),
                Fake("further", after=("below",)),
                Fake("good"),
                Fake("after-good", after=("good",)),
            ),
        )
        assert (outcome.state, outcome.exit_code) == ("failed", 1)
        assert states(outcome) == {
            "bad": "failed", "below": "skipped", "further": "skipped", "good": "done", "after-good": "done",
        }  # fmt: skip
        (finding,) = outcome.diagnostics
        assert finding.code == "AIF842"
        assert "exit code 1" in finding.message
        assert "last words" in finding.notes
        assert "last words" in Path(str(outcome.steps[0].log)).read_text()
        assert record_of(place).state == "failed"

    def test_the_steps_own_findings_are_told(self, place: Place) -> None:
        own = {
            "code": "AIF810",
            "message": "accuracy is 0.9",
            "hint": "train longer",
            "severity": "error",
            "notes": ["x"],
        }
        (finding,) = execute(place, make_run(Fake("gate", [["fail_with", own]]))).diagnostics
        assert (finding.code, finding.message, finding.hint, finding.notes) == (
            "AIF810", "accuracy is 0.9", "train longer", ("x",),
        )  # fmt: skip

    def test_fail_fast_stops_what_runs(self, place: Place) -> None:
        outcome = execute(
            place,
            make_run(
                Fake("bad", [["await_file", place.path("pid")], ["fail", 1]]),
                Fake("long", [["write_pid", place.path("pid")], ["await_file", place.path("never")]]),
                Fake("later", after=("long",)),
            ),
            fail_fast=True,
        )
        assert outcome.state == "failed"
        assert states(outcome) == {"bad": "failed", "long": "interrupted", "later": "skipped"}
        assert not is_alive(read_pid(place.path("pid")))

    @pytest.mark.parametrize(
        "result", [{}, {"digest": "no digest"}, {"digest": "0" * 64}, {"digest": 5, "diagnostics": "none"}]
    )
    def test_exit_code_0_without_a_published_result_is_a_failure(self, place: Place, result: dict[str, Any]) -> None:
        outcome = execute(place, make_run(Fake("train", [["lie", result]])))
        assert states(outcome) == {"train": "failed"}
        assert [finding.code for finding in outcome.diagnostics] == ["AIF847"]

    def test_a_crash_is_told_by_its_signal_and_not_retried(self, place: Place) -> None:
        outcome = execute(place, make_run(Fake("train", [["kill_self", signal.SIGSEGV]])))
        (finding,) = outcome.diagnostics
        assert (finding.code, outcome.state) == ("AIF842", "failed")
        assert "SIGSEGV" in finding.message

    def test_a_step_that_can_not_be_started(self, place: Place) -> None:
        outcome = execute(place, make_run(Fake("train")), site={"code": place.folder / "missing"})
        assert [finding.code for finding in outcome.diagnostics] == ["AIF845"]

    def test_a_time_limit_ends_a_step(self, place: Place) -> None:
        hang = Fake("train", [["write_pid", place.path("pid")], ["await_file", "never"]], options={"timeout": 0.5})
        outcome = execute(place, make_run(hang, Fake("below", after=("train",))))
        assert states(outcome) == {"train": "failed", "below": "skipped"}
        assert [finding.code for finding in outcome.diagnostics] == ["AIF846"]


class TestRetry:
    def tries(self, place: Place) -> int:
        return len(Path(place.path("tries")).read_text())

    def first(self, place: Place, count: int, *do: Any, retries: int = 2) -> Fake:
        again = {"counter": place.path("tries"), "count": count, "do": list(do)}
        return Fake("train", [["first_tries", again]], options={"retries": retries})

    def test_exit_code_75_is_tried_again_with_a_growing_pause(self, place: Place) -> None:
        pauses: list[int] = []

        def pause(retry: int) -> float:
            pauses.append(retry)
            return 0.0

        outcome = execute(place, make_run(self.first(place, 2, "fail", 75)), pause=pause)
        assert (outcome.state, self.tries(place), pauses) == ("done", 3, [1, 2])
        assert outcome.diagnostics == ()
        waits = [local.Options().pause(retry) for retry in range(1, 9)]
        assert waits == sorted(waits)
        assert waits[-1] == waits[-2] == 60.0

    def test_it_is_given_up(self, place: Place) -> None:
        outcome = execute(place, make_run(self.first(place, 9, "fail", 75, retries=1)))
        assert (outcome.state, self.tries(place)) == ("failed", 2)
        assert [finding.code for finding in outcome.diagnostics] == ["AIF844"]

    def test_exit_code_1_is_not_tried_again(self, place: Place) -> None:
        assert execute(place, make_run(self.first(place, 1, "fail", 1))).state == "failed"
        assert self.tries(place) == 1

    def test_kill_9_of_a_step_is_tried_again_once_and_told(self, place: Place) -> None:
        outcome = execute(place, make_run(self.first(place, 1, "kill_self", 9)))
        assert (outcome.state, self.tries(place)) == ("done", 2)
        (finding,) = outcome.diagnostics
        assert (finding.code, finding.severity) == ("AIF843", Severity.WARNING)
        assert "SIGKILL" in finding.message
        assert "GiB" in finding.message

    def test_kill_9_twice_is_a_failure(self, place: Place) -> None:
        outcome = execute(place, make_run(self.first(place, 9, "kill_self", 9)))
        assert (outcome.state, self.tries(place)) == ("failed", 2)
        assert [(f.code, f.severity) for f in outcome.diagnostics] == [
            ("AIF843", Severity.WARNING), ("AIF843", Severity.ERROR),
        ]  # fmt: skip


class TestInterrupt:
    def test_sigterm_lets_a_step_save_and_the_run_goes_on_later(self, place: Place) -> None:
        train = Fake(
            "train",
            [
                ["save_on_sigterm", place.path("saved")],
                ["write_pid", place.path("pid")],
                ["await_file", place.path("go")],
            ],
        )
        fakes = (Fake("prepare"), Fake("train", train.do, after=("prepare",)), Fake("gate", after=("train",)))
        executor = start_executor(place, *fakes, stdout=subprocess.PIPE)
        pid = read_pid(place.path("pid"))
        executor.send_signal(signal.SIGTERM)
        out, _ = executor.communicate(timeout=PATIENCE)
        assert executor.returncode == 1
        assert json.loads(out.splitlines()[-1]) == {
            "state": "interrupted", "steps": {"prepare": "done", "train": "interrupted", "gate": "skipped"},
        }  # fmt: skip
        assert Path(place.path("saved")).read_text() == "saved"
        assert not is_alive(pid)
        assert record_of(place).state == "interrupted"
        Path(place.path("go")).touch()
        outcome = execute(place, make_run(*fakes))
        assert states(outcome) == {"prepare": "cached", "train": "done", "gate": "done"}
        assert [past["state"] for past in record_of(place).history] == ["interrupted"]

    @pytest.mark.parametrize("how", ["child", "daemon"])
    def test_nothing_is_left_of_a_step_that_ignores_sigterm(self, place: Place, how: str) -> None:
        stubborn = [
            ["ignore_sigterm", None],
            ["spawn", {"pid": place.path("grandchild"), "how": how}],
            ["write_pid", place.path("pid")],
            ["await_file", place.path("never")],
        ]
        executor = start_executor(place, Fake("train", stubborn), grace=0.5, stdout=subprocess.PIPE)
        pid, grandchild = read_pid(place.path("pid")), read_pid(place.path("grandchild"))
        executor.send_signal(signal.SIGINT)
        out, _ = executor.communicate(timeout=PATIENCE)
        assert json.loads(out.splitlines()[-1])["state"] == "interrupted"
        assert not is_alive(pid)
        assert not is_alive(grandchild)

    def test_a_second_signal_ends_steps_at_once(self, place: Place) -> None:
        stubborn = [["ignore_sigterm", None], ["write_pid", place.path("pid")], ["await_file", place.path("never")]]
        executor = start_executor(place, Fake("train", stubborn), grace=600.0, stdout=subprocess.PIPE)
        pid = read_pid(place.path("pid"))
        executor.send_signal(signal.SIGINT)
        time.sleep(0.5)  # two signals at one moment are one signal
        executor.send_signal(signal.SIGINT)
        executor.communicate(timeout=PATIENCE)
        assert executor.returncode == 1
        assert not is_alive(pid)

    def test_what_a_finished_step_leaves_running_is_ended(self, place: Place) -> None:
        spawn = [["spawn", {"pid": place.path("grandchild"), "how": "daemon"}]]
        assert execute(place, make_run(Fake("train", spawn))).state == "done"
        assert not is_alive(read_pid(place.path("grandchild")))

    def test_ctrl_c_on_a_terminal(self, place: Place) -> None:
        hang = [["say", "working"], ["write_pid", place.path("pid")], ["await_file", place.path("never")]]
        master, terminal = pty.openpty()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TERM", "xterm-256color")
            executor = start_executor(
                place, Fake("train", hang), stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=own_terminal
            )
        os.close(terminal)
        seen = bytearray()
        pid_file = Path(place.path("pid"))
        wait_until(lambda: read_terminal(master, seen) and pid_file.exists(), "the step starting")
        os.write(master, b"\x03")
        wait_until(lambda: not read_terminal(master, seen), "the terminal being closed")
        assert executor.wait(timeout=PATIENCE) == 1
        os.close(master)
        text = seen.decode()
        assert (
            text.count("\x1b[?25l") == text.count("\x1b[?25h") >= 1
        )  # the cursor is hidden while live, and shown again
        assert "interrupted" in text
        assert '{"state": "interrupted", "steps": {"train": "interrupted"}}' in text
        assert not is_alive(int(pid_file.read_text()))
        assert record_of(place).state == "interrupted"


def own_terminal() -> None:
    """In the child: a session whose terminal is stdin, so that ^C there becomes SIGINT."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def read_terminal(master: int, seen: bytearray) -> bool:
    """Takes what is there; False when the other side is closed."""
    ready, _, _ = select.select([master], [], [], 0.05)
    if not ready:
        return True
    with suppress(OSError):  # Linux says EIO where the last process has closed it
        data = os.read(master, 65536)
        seen += data
        return bool(data)
    return False


class TestKilledExecutor:
    def test_kill_9_ends_its_steps_and_the_next_run_goes_on(self, place: Place) -> None:
        train = [
            ["save_on_sigterm", place.path("saved")],
            ["spawn", {"pid": place.path("grandchild"), "how": "daemon"}],
            ["write_pid", place.path("pid")],
            ["await_file", place.path("go")],
        ]
        fakes = (Fake("prepare"), Fake("train", train, after=("prepare",)))
        executor = start_executor(place, *fakes, stdout=subprocess.DEVNULL)
        pid, grandchild = read_pid(place.path("pid")), read_pid(place.path("grandchild"))
        executor.kill()
        executor.wait(timeout=PATIENCE)
        Path(place.path("go")).touch()
        outcome = execute(place, make_run(*fakes))  # waits for what the killed one left to be gone
        assert not is_alive(grandchild)
        assert not is_alive(pid)
        assert Path(place.path("saved")).read_text() == "saved"
        assert states(outcome) == {"prepare": "cached", "train": "done"}
        assert [past["state"] for past in record_of(place).history] == ["interrupted"]

    def test_until_then_it_is_listed_as_running_and_after_as_interrupted(self, place: Place) -> None:
        hang = [["write_pid", place.path("pid")], ["await_file", place.path("never")]]
        executor = start_executor(place, Fake("train", hang), stdout=subprocess.DEVNULL)
        pid = read_pid(place.path("pid"))
        wait_until(lambda: record_of(place).steps["train"].state == "running", "the manifest being written")
        assert record_of(place).state == "running"
        executor.kill()
        executor.wait(timeout=PATIENCE)
        wait_until(lambda: record_of(place).state == "interrupted", "the lock being freed")
        assert not is_alive(pid)

    def test_kill_9_of_the_guard_takes_the_step_with_it(self, place: Place) -> None:
        once = {"counter": place.path("tries"), "count": 1, "do": ["await_file", place.path("never")]}
        do = [["write_pid", place.path("pid")], ["first_tries", once]]
        executor = start_executor(place, Fake("train", do), stdout=subprocess.PIPE)
        pid = read_pid(place.path("pid"))
        wait_until(Path(place.path("tries")).exists, "the first try")
        os.kill(parent_of(pid), signal.SIGKILL)
        out, _ = executor.communicate(timeout=PATIENCE)
        assert json.loads(out.splitlines()[-1]) == {"state": "done", "steps": {"train": "done"}}
        assert not is_alive(pid)

    def test_kill_9_of_executor_and_guard_takes_the_step_with_them(self, place: Place) -> None:
        hang = [["ignore_sigterm", None], ["write_pid", place.path("pid")], ["await_file", place.path("never")]]
        executor = start_executor(place, Fake("train", hang), stdout=subprocess.DEVNULL)
        pid = read_pid(place.path("pid"))
        executor.send_signal(signal.SIGSTOP)  # so that it can't clean up when it sees its guard gone
        os.kill(parent_of(pid), signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), "the step ending")
        executor.kill()
        executor.wait(timeout=PATIENCE)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class TestTwoAtOnce:
    def test_the_second_executor_of_a_run_is_refused(self, place: Place) -> None:
        hang = Fake("train", [["write_pid", place.path("pid")], ["await_file", place.path("go")]])
        executor = start_executor(place, hang, stdout=subprocess.PIPE)
        read_pid(place.path("pid"))
        with pytest.raises(Report) as refused:
            execute(place, make_run(hang))
        assert [finding.code for finding in refused.value.diagnostics] == ["AIF840"]
        Path(place.path("go")).touch()
        out, _ = executor.communicate(timeout=PATIENCE)
        assert json.loads(out.splitlines()[-1])["state"] == "done"
        assert states(execute(place, make_run(hang))) == {"train": "cached"}

    def test_a_step_that_two_runs_share_is_computed_once(self, place: Place) -> None:
        shared = Fake("train", [["write_pid", place.path("pid")], ["await_file", place.path("go")]])
        executor = start_executor(place, shared, stdout=subprocess.PIPE)
        read_pid(place.path("pid"))
        free = Fake("free", [["touch", place.path("go")]])  # lets the other run's step end, so it must start first
        outcome = execute(place, make_run(shared, free, name="digits-other00000"))
        out, _ = executor.communicate(timeout=PATIENCE)
        assert json.loads(out.splitlines()[-1])["state"] == "done"
        assert states(outcome) == {"train": "cached", "free": "done"}
        assert place.ran().count("train") == 1


class TestPlaces:
    def test_blanks_and_other_alphabets_in_paths(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "мои модели – été 7 ' \" $HOME")
        place.folder.mkdir()
        code = place.folder / "src ü"
        code.mkdir()
        run = make_run(Fake("prepare", [["say", "žluťoučký kůň"]]), Fake("train", after=("prepare",)))
        outcome = execute(place, run, site={"code": code, "data": place.folder})
        assert outcome.state == "done"
        assert "žluťoučký kůň" in Path(str(outcome.steps[0].log)).read_text(encoding="utf-8")

    @pytest.mark.parametrize("what", ["file", "locks", "runs", "logs"])
    def test_a_store_that_can_not_be_written(self, place: Place, what: str) -> None:
        """Files in the way of folders: rights would not stop root."""
        if what == "file":
            place.store.write_text("")
        else:
            place.store.mkdir()
            (place.store / what).write_text("")
        try:
            outcome = execute(place, make_run(Fake("prepare")))
        except Report as report:
            codes = {finding.code for finding in report.diagnostics}
        else:
            codes = {finding.code for finding in outcome.diagnostics}
            assert outcome.exit_code == 1
        assert codes <= {"AIF841", "AIF845", "AIF802"}
        assert codes

    def test_user_files_do_not_shadow_the_standard_library(self, place: Place) -> None:
        code = place.folder / "code"
        code.mkdir()
        (code / "queue.py").write_text("raise SystemExit('shadowed')")
        (code / "argparse.py").write_text("raise SystemExit('shadowed')")
        assert execute(place, make_run(Fake("prepare")), site={"code": code}).state == "done"

    def test_variables_and_secrets_of_steps(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_TOKEN", raising=False)
        step = make_run(
            Fake(
                "prepare",
                options={
                    "variables": (ir.Variable(name="AIF_TEST_LIE", value="1"),),
                    "secrets": (ir.SecretVariable(name="HF_TOKEN", secret="hf", key="token"),),
                },
            )
        )
        outcome = execute(place, step)  # the variable makes it publish nothing
        assert [finding.code for finding in outcome.diagnostics] == ["AIF851", "AIF847"]

    def test_a_step_does_not_read_the_terminal_or_lock_files(self, place: Place) -> None:
        """A guard gets the run's locks, the step itself must not: a left-over process would hold them."""
        script = place.folder / "list_fds.py"
        script.write_text(
            "import os, sys\n"
            "for number in range(3, 1024):\n"
            "    path = f'/proc/self/fd/{number}'\n"
            "    print(number, os.readlink(path) if os.path.exists(path) else '')\n"
            "print('stdin', repr(sys.stdin.read()))\n"
        )
        site = place.site(variables={"PYTHONPATH": str(place.folder)})
        outcome = local.execute(
            make_run(Fake("prepare")), site, runs.About(model="digits"), local.Options(entry="list_fds")
        )
        log = Path(str(outcome.steps[0].log)).read_text()
        assert "stdin ''" in log
        assert "locks" not in log
        assert "pipe" not in log


class TestRealEntry:
    """The real entry on real rows: the scikit-learn example, by a script of the user."""

    def step(self, name: str, config: Any, inputs: dict[str, str | None]) -> ir.Step:
        kind = Kind(name)
        values = json.loads(digest.canonical_json(asdict(config)))
        own = digest.of_value(values)
        spec = contract.StepSpec(
            name=name,
            kind=kind,
            model="wine",
            tenant="tabular",
            own=own,
            inputs=inputs,
            digest=contract.step_digest(kind, own, inputs),
            code=digest.of_tree(WINE / "src") if kind in (Kind.TRAIN, Kind.EVALUATE) else None,
            config=values,
        )
        return ir.Step(spec=spec, parts={}, image=None, resources=ir.Resources(cpu=1, memory=1))

    def prepare(self, pin: str | None, names: tuple[str, ...] | None = None) -> ir.Step:
        columns = tuple((WINE / "data/wine.csv").read_text().splitlines()[0].split(",")[:-1])
        config = contract.PrepareConfig(
            dataset="wine",
            task="classification",
            source=contract.Source(kind="path", value="data/wine.csv"),
            format="csv",
            features=(contract.Feature(name="measurements", type="tensor", columns=columns, shape=(len(columns),)),),
            label=contract.Label(column="cultivar", names=names),
            split=contract.Split(fractions={"train": 0.7, "validation": 0.1, "test": 0.2}, seed=3, stratify="cultivar"),
        )
        return self.step("prepare", config, {"data:wine": pin})

    def run(self, at_least: float) -> ir.Run:
        """The data is not pinned: no digest is known before prepare has read it."""
        command = contract.CustomTraining(
            command=("python", "train.py"), produces="model.skops", predict="predict:predict"
        )
        train = contract.TrainConfig(
            task="classification", framework="custom", dataset="wine", model=None, params={"C": 0.5}, custom=command
        )
        evaluate = contract.EvaluateConfig(task="classification", dataset="wine", split="test", metrics=("accuracy",))
        gate = contract.GateConfig(bounds={"accuracy": {"min": at_least}})
        steps = (
            self.prepare(None),
            self.step("train", train, {"prepare": None}),
            self.step("evaluate", evaluate, {"train": None, "prepare": None}),
            self.step("gate", gate, {"evaluate": None}),
        )
        assert [step.spec.digest for step in steps] == [None] * 4
        return ir.Run(name="wine-0123456789", digest="0" * 64, attempt=1, steps=steps)

    def execute(self, place: Place, run: ir.Run) -> local.RunOutcome:
        site = local.LocalSite(store=place.store, code=WINE / "src", data=WINE)
        return local.execute(run, site, runs.About(model="wine"))

    def test_a_run_then_a_gate_that_fails_then_all_of_it_again(self, place: Place) -> None:
        names = ("prepare", "train", "evaluate", "gate")
        done = self.execute(place, self.run(0.9))
        assert states(done) == dict.fromkeys(names, "done"), done.diagnostics
        assert record_of(place).metrics["accuracy"] == done.steps[2].outputs["metrics"]["accuracy"] >= 0.9
        refused = self.execute(place, self.run(1.1))
        assert states(refused) == {**dict.fromkeys(names, "cached"), "gate": "failed"}
        assert (refused.state, refused.exit_code) == ("failed", 1)
        assert any("accuracy" in finding.message for finding in refused.diagnostics)
        assert states(self.execute(place, self.run(0.9))) == dict.fromkeys(names, "cached")

    def test_a_step_too_long_for_a_command_line(self, place: Place) -> None:
        pin = f"sha256:{digest.of_file(WINE / 'data/wine.csv')}"
        step = self.prepare(pin, names=tuple(f"{n:070000}" for n in range(3)))
        run = ir.Run(name="wine-0123456789", digest="0" * 64, attempt=1, steps=(step,))
        outcome = self.execute(place, run)
        assert states(outcome) == {"prepare": "done"}, outcome.diagnostics


class TestManifest:
    def test_it_holds_what_ran(self, place: Place) -> None:
        run = make_run(Fake("train", kind=Kind.TRAIN), Fake("evaluate", after=("train",), kind=Kind.EVALUATE))
        outcome = execute(place, run)
        record = record_of(place)
        assert (record.run, record.model, record.state) == ("local-digits-0123456789", "digits", "done")
        assert record.metrics == {"accuracy": 0.5}
        assert record.steps["evaluate"].digest == outcome.steps[1].digest
        assert record.artifacts["train"]["files"]["made.txt"]["size"] == len("train")
        assert record.command == ("aifctl", "run")
        assert record.ended is not None
        started = [step.started for step in record.steps.values()]
        assert started == sorted(str(time) for time in started)


class _Jobs:
    """A launcher without processes, as Kubernetes Jobs will be one: the executor must not need more than this."""

    def __init__(self, store: Path, verdicts: list[Verdict]) -> None:
        self.store, self.verdicts, self.closed = Store(store), verdicts, False
        self.specs: dict[str, contract.StepSpec] = {}

    def start(self, step: ir.Step, site: contract.Site) -> Handle:
        self.specs[f"{step.name}/{site.attempt}"] = step.spec
        return Handle(step.name, f"{step.name}/{site.attempt}", "https://logs.example.com")

    def wait(self, handles: Any, timeout: float) -> None:
        pass

    def poll(self, handle: Handle) -> Ended | None:
        verdict = self.verdicts.pop(0)
        spec = self.specs[handle.key]
        if verdict is Verdict.DONE:
            assert spec.digest is not None
            self.store.attempt(spec.digest, "a1").publish({})
        return Ended(verdict=verdict, how="pod phase", result={"digest": spec.digest})

    def events(self, handle: Handle) -> list[dict[str, Any]]:
        return []

    def logs(self, handle: Handle, lines: int) -> list[str]:
        return ["from the pod"]

    def stop(self, handle: Handle, *, now: bool = False) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([Verdict.RETRY, Verdict.KILLED, Verdict.DONE, Verdict.DONE], "done"),
        ([Verdict.KILLED, Verdict.KILLED], "failed"),
        ([Verdict.DONE, Verdict.CRASHED], "failed"),
    ],
)
def test_any_launcher_will_do(
    place: Place, monkeypatch: pytest.MonkeyPatch, verdicts: list[Verdict], expected: str
) -> None:
    jobs = _Jobs(place.store, verdicts)
    outcome = execute(place, make_run(Fake("prepare"), Fake("train", after=("prepare",))), launch=lambda: jobs)
    assert (outcome.state, jobs.closed, jobs.verdicts) == (expected, True, [])


class TestTail:
    def test_last_lines(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_bytes(b"one\ntwo\n10%\r50%\r100%\n\n\xff\xfe\r\nlast")
        assert processes.tail(log, 4) == ["two", "100%", "\\xff\\xfe", "last"]
        assert processes.tail(tmp_path / "none", 4) == []

    def test_a_huge_log_is_not_read_whole(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        with log.open("wb") as file:
            file.truncate(20 << 30)
            file.seek(0, os.SEEK_END)
            file.write(b"\nlast")
        assert processes.tail(log, 1) == ["last"]


HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


def test_locks_are_taken_over_from_the_dead_and_not_from_the_living(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "x"
    lock = locks.take(path)
    assert lock is not None
    assert locks.take(path) is None
    assert locks.is_held(path)
    locks.discard(lock)
    assert not path.exists()
    assert not locks.is_held(path)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert locks.take(path) is None
    holder.kill()
    holder.communicate()
    assert locks.take(path) is not None


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "x").symlink_to(tmp_path / "target")
    with pytest.raises(OSError):  # noqa: PT011 - ELOOP has no class of its own
        locks.take(tmp_path / "locks" / "x")
