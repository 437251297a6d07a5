"""One execution of one run: which step starts when, and what becomes of it. `local.execute` is the door to it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from aifctl import contract
from aifctl.contract import Kind, StepSpec
from aifctl.diagnostics.model import Diagnostic, Report
from aifctl.ir import Run, Step
from aifctl.runtime import outcome, processes, runs
from aifctl.runtime.interrupts import Interrupts
from aifctl.runtime.launcher import Ended, Handle, Launcher, Verdict
from aifctl.runtime.outcome import FINISHED, RunOutcome, StepOutcome
from aifctl.runtime.progress import Board, QuietView, Row, View
from aifctl.runtime.runs import About, Recorder
from aifctl.runtime.store import Fault, Published, Store

TICK = 0.2
"""Seconds between two looks at signals and progress; a step that ends wakes us at once."""
TAIL = 20
"""Lines of a failed step's log that are shown."""
KILL_RETRIES = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSite:
    """Where a run is executed on this machine. `logs` is `<store>/logs/<run>` by default; `grace` is in seconds."""

    store: Path
    tracking: str | None = None
    code: Path | None = None
    data: Path | None = None
    device: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    logs: Path | None = None
    parallel: int | None = None
    """Steps side by side; None takes the number of usable CPUs."""
    grace: float = 10.0


class Claims(Protocol):
    """Keeps a step from being computed twice at one time, and its result from being taken away as garbage."""

    def looking_up(self) -> AbstractContextManager[None]: ...

    def claim(self, digest: str) -> bool:
        """Makes the step with this digest ours; False while another run works on it."""
        ...

    def release(self, digest: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an execution needs to know of where it is. `attempt` begins the names of its steps' attempts."""

    name: str
    """Of the run, in the store."""
    store: Store
    attempt: str
    claims: Claims
    site: Callable[[str], contract.Site]
    """Attempt → where the step is."""
    parallel: int
    """Steps side by side."""
    earlier: Callable[[str], Sequence[int]] = lambda step: ()
    """Step → numbers of attempts, in order, that an earlier execution has left and that are taken over one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`pause` gives the seconds before the n-th retry (n from 1); `entry` is the module that runs a step's process;
    `launch` makes another launcher than that of processes."""

    view: View = field(default_factory=QuietView)
    fail_fast: bool = False
    kill_retries: int = KILL_RETRIES
    """How often a step that something killed is tried again; one that ran out of memory just once."""
    pause: Callable[[int], float] = lambda retry: min(2.0**retry, 60.0)
    entry: str = processes.ENTRY
    launch: Callable[[], Launcher] | None = None


def local_name(run: Run) -> str:
    """`local-<model>-<digest10>`: never taken for a run of a cluster."""
    return f"{runs.LOCAL}{run.name}"


def step_site(site: LocalSite, run: str, attempt: str) -> contract.Site:
    """The contract's view of this machine."""
    return contract.Site(
        store=str(site.store),
        run=run,
        attempt=attempt,
        tracking=site.tracking,
        code=_text(site.code),
        data=_text(site.data),
        device=site.device,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


@dataclass(slots=True)
class _Task:
    """One step on its way to an outcome. `spec` gets its unknown digests filled in before it starts."""

    step: Step
    spec: StepSpec
    row: Row
    handle: Handle | None = None
    started: float = 0.0
    not_before: float = 0.0
    seconds: float = 0.0
    timed_out: bool = False
    tries: Counter[Verdict] = field(default_factory=Counter)
    diagnostics: list[Diagnostic] = field(default_factory=list)


class Execution:
    """One execution of one run. Everything happens in the caller's thread."""

    def __init__(
        self,
        run: Run,
        around: Surroundings,
        options: Options,
        launcher: Launcher,
        interrupts: Interrupts,
    ) -> None:
        self.run, self.around, self.options = run, around, options
        self.launcher, self.claims, self.interrupts = launcher, around.claims, interrupts
        self.store = around.store
        self.tasks = {step.name: _Task(step, step.spec, _row(step)) for step in run.steps}
        self.board: Board = {name: task.row for name, task in self.tasks.items()}
        self.outcomes: dict[str, StepOutcome] = {}
        self.stops = 0
        self.recorder: Recorder
        self.take = {
            Verdict.DONE: self._take_done,
            Verdict.FAILED: self._take_failed,
            Verdict.RETRY: self._take_retry,
            Verdict.KILLED: self._take_killed,
            Verdict.CRASHED: self._take_failed,
            Verdict.STOPPED: self._take_stopped,
        }

    def go(self, about: About) -> RunOutcome:
        with self.claims.looking_up():
            self.recorder = runs.begin(self.store, self.around.name, about, [step.spec for step in self.run.steps])
        self.options.view.show(self.board)
        try:
            while len(self.outcomes) < len(self.tasks):
                self._round()
        finally:
            self.launcher.close()  # nothing is left behind, whatever happened above
        return self._conclude()

    def _round(self) -> None:
        self._stop_if_asked()
        self._skip_blocked()
        self._start_ready()
        running = [task.handle for task in self._running() if task.handle is not None]
        if running or len(self.outcomes) < len(self.tasks):
            self.launcher.wait(running, TICK)
        for task in self._running():
            self._look_at(task)
        self.options.view.tick()

    def _open(self) -> list[_Task]:
        return [task for name, task in self.tasks.items() if name not in self.outcomes]

    def _running(self) -> list[_Task]:
        return [task for task in self._open() if task.handle is not None]

    def _failed(self) -> bool:
        return any(ended.state == "failed" for ended in self.outcomes.values())

    def _stop_if_asked(self) -> None:
        """Ctrl-C once lets steps save their state, twice ends them at once; a failure under `fail_fast` is as once."""
        asked = max(min(self.interrupts.count, 2), int(self.options.fail_fast and self._failed()))
        if asked <= self.stops:
            return
        self.stops = asked
        for task in self._open():
            if task.handle is None:
                self._end(task, "skipped")
            else:
                self._note(task, "running", "stopping")
                self.launcher.stop(task.handle, now=asked > 1)

    def _skip_blocked(self) -> None:
        for task in self._open():
            lost = [name for name in task.step.after if name in self.outcomes and not self._has_finished(name)]
            if lost and task.handle is None:
                self._end(task, "skipped", note=f"needs {lost[0]}")

    def _has_finished(self, name: str) -> bool:
        return name in self.outcomes and self.outcomes[name].state in FINISHED

    def _start_ready(self) -> None:
        for task in self._open():
            ready = task.handle is None and task.not_before <= time.monotonic()
            if ready and self.stops == 0 and all(self._has_finished(name) for name in task.step.after):
                with self._failing(task):
                    self._begin(task, may_start=len(self._running()) < self.around.parallel)

    @contextmanager
    def _failing(self, task: _Task, handle: Handle | None = None) -> Iterator[None]:
        """What the store finds wrong with a step's own files ends the step, not the run."""
        try:
            yield
        except Fault:
            raise
        except Report as report:
            self._fail(task, *report.diagnostics, handle=handle)

    def _begin(self, task: _Task, *, may_start: bool) -> None:
        if task.spec.digest is None:  # prepare of unpinned data knows it when it has read them
            if may_start:
                self._start(task)
            return
        published = self._find(task, task.spec.digest)
        if published is not None:
            if self.store.local is not None:
                _ = published.path  # looks at the files: a damaged result is said here, not by the step that reads it
            self._publish(task, "cached", published)
        elif may_start and self._claim(task, task.spec.digest):
            self._start(task)

    def _find(self, task: _Task, digest: str) -> Published | None:
        """What the step has published. Its digest is recorded first, so that garbage collection leaves it to us."""
        with self.claims.looking_up():
            if task.spec.digest is None:
                task.spec = replace(task.spec, digest=digest)
                self._chain()
            return self.store.find(digest)

    def _chain(self) -> None:
        """Fills in and records every digest that can be known now."""
        for task in self._open():  # in the run's order: each after what it reads
            task.spec = resolve(task.spec, {name: known.spec.digest for name, known in self.tasks.items()})
        steps = self.recorder.record.steps
        self.recorder.save(steps={name: replace(steps[name], digest=t.spec.digest) for name, t in self.tasks.items()})

    def _claim(self, task: _Task, digest: str) -> bool:
        """False while another run works on the same step."""
        if not self.claims.claim(digest):
            self._note(task, "waiting", "another run is computing this step")
            task.not_before = time.monotonic() + TICK
            return False
        if self.store.find(digest) is None:
            return True
        self.claims.release(digest)  # the other run published between our look and our claim: the next round finds it
        return False

    def _start(self, task: _Task) -> None:
        tried = sum(task.tries.values())
        site = self.around.site(f"{self.around.attempt}-{_number(self.around.earlier(task.step.name), tried)}")
        task.diagnostics += outcome.missing_secrets(task.step) if tried == 0 else []
        try:
            task.handle = self.launcher.start(replace(task.step, spec=task.spec), site)
        except OSError as error:
            message = f"step `{task.step.name}` could not be started: {error}"
            self._fail(task, Diagnostic("AIF845", message, hint="check the code and log folders"))
            return
        task.started, task.timed_out = time.monotonic(), False
        self._note(task, "running", "")
        self.recorder.step(task.step.name, state="running", started=runs.now(), log=task.handle.log)

    def _look_at(self, task: _Task) -> None:
        handle = task.handle
        assert handle is not None  # for the type checker: only running tasks come here
        ended = self.launcher.poll(handle)
        for event in self.launcher.events(handle):
            if event.get("event") == "note":
                self._note(task, "running", str(event.get("text", "")))
            task.row.take(event)
        if ended is not None:
            task.handle = None
            task.seconds += time.monotonic() - task.started
            task.row.seconds = task.seconds
            with self._failing(task, handle):
                self.take[ended.verdict](task, ended, handle)
        elif self._is_late(task):
            task.timed_out = True
            self.launcher.stop(handle)

    def _is_late(self, task: _Task) -> bool:
        limit = task.step.timeout
        return limit is not None and not task.timed_out and time.monotonic() - task.started > limit

    def _take_done(self, task: _Task, ended: Ended, handle: Handle) -> None:
        result = ended.result or {}
        found = result.get("digest")
        digest = found if isinstance(found, str) and _DIGEST.fullmatch(found) else None
        expected = task.spec.digest in (None, digest)
        published = self._find(task, digest) if digest is not None and expected else None
        if published is None:
            self._fail(task, outcome.contradiction(task.spec, digest), handle=handle)
            return
        task.diagnostics += outcome.reported(result)
        self._publish(task, "cached" if result.get("skipped") is True else "done", published, handle)

    def _take_failed(self, task: _Task, ended: Ended, handle: Handle) -> None:
        own = outcome.reported(ended.result or {})
        if own:
            self._fail(task, *own, handle=handle)
            return
        lines = self.launcher.logs(handle, TAIL)
        self._fail(task, outcome.silent(task.step, ended, handle.log, lines), handle=handle)

    def _take_retry(self, task: _Task, ended: Ended, handle: Handle) -> None:
        task.tries[Verdict.RETRY] += 1
        tried = task.tries[Verdict.RETRY]
        own = outcome.reported(ended.result or {})
        if tried <= task.step.retries:
            pause = self.options.pause(tried)
            why = f": {own[0].message}" if own else ""
            self._again(task, pause, f"try {tried + 1} of {task.step.retries + 1} in {pause:.0f} s{why}")
            return
        lines = () if own else self.launcher.logs(handle, TAIL)
        self._fail(task, *own, outcome.given_up(task.step, tried, lines), handle=handle)

    def _take_killed(self, task: _Task, ended: Ended, handle: Handle) -> None:
        task.tries[Verdict.KILLED] += 1
        retried = task.tries[Verdict.KILLED] <= (KILL_RETRIES if ended.out_of_memory else self.options.kill_retries)
        finding = outcome.killed(task.step, ended, retried=retried)
        if retried:
            task.diagnostics.append(finding)
            self._again(task, self.options.pause(1), f"killed ({ended.how}), starts again")
        else:
            self._fail(task, replace(finding, notes=tuple(self.launcher.logs(handle, TAIL))), handle=handle)

    def _take_stopped(self, task: _Task, ended: Ended, handle: Handle) -> None:
        if task.timed_out:
            self._fail(task, outcome.late(task.step), handle=handle)
        else:
            self._end(task, "interrupted", log=handle.log)

    def _again(self, task: _Task, pause: float, note: str) -> None:
        if self.stops:
            self._end(task, "interrupted")
            return
        task.not_before = time.monotonic() + pause
        self._note(task, "retrying", note)

    def _publish(self, task: _Task, state: str, published: Published, handle: Handle | None = None) -> None:
        self.recorder.published(task.step.name, published.digest, published.outputs, published.files)
        task.row.measure(published.outputs.get("metrics"))
        self._end(task, state, outputs=published.outputs, log=None if handle is None else handle.log)

    def _fail(self, task: _Task, *findings: Diagnostic, handle: Handle | None = None) -> None:
        task.diagnostics += findings
        self._end(task, "failed", log=None if handle is None else handle.log)

    def _end(
        self,
        task: _Task,
        state: str,
        *,
        outputs: Mapping[str, Any] | None = None,
        log: str | None = None,
        note: str = "",
    ) -> None:
        name, digest = task.step.name, task.spec.digest
        self.outcomes[name] = StepOutcome(
            name=name,
            state=state,
            digest=digest,
            seconds=round(task.seconds, 3),
            outputs=outputs or {},
            diagnostics=tuple(task.diagnostics),
            log=log,
        )
        if digest is not None:
            self.claims.release(digest)
        changes = {} if log is None else {"log": log, "ended": runs.now()}
        self.recorder.step(name, state=state, seconds=round(task.seconds, 3), **changes)
        self._note(task, state, note)

    def _note(self, task: _Task, state: str, note: str) -> None:
        if (task.row.state, task.row.note) != (state, note):
            task.row.enter(state, note)
            self.options.view.changed(task.row)

    def _conclude(self) -> RunOutcome:
        states = {ended.state for ended in self.outcomes.values()}
        # A run that was told to stop is interrupted even if a step failed on the way: run again to see.
        interrupted = self.interrupts.count > 0 and bool(states - FINISHED)
        state = "interrupted" if interrupted else "done" if states <= FINISHED else "failed"
        self.recorder.save(state=state, ended=runs.now())
        return RunOutcome(self.around.name, state, tuple(self.outcomes[name] for name in self.tasks))


def resolve(spec: StepSpec, digests: Mapping[str, str | None]) -> StepSpec:
    """Fills unknown inputs and needs with the digests of other steps, and chains the step's own if it can be."""
    inputs = {name: digests.get(name) if value is None else value for name, value in spec.inputs.items()}
    needs = {name: digests.get(name) if value is None else value for name, value in spec.needs.items()}
    own = spec.digest or contract.step_digest(spec.kind, spec.own, inputs)
    return replace(spec, inputs=inputs, needs=needs, digest=own)


def _number(earlier: Sequence[int], tried: int) -> int:
    """The next attempt's: of those that are there in their order, then new ones. None comes back after a later one."""
    return earlier[tried] if tried < len(earlier) else max(earlier, default=0) + tried - len(earlier) + 1


def _row(step: Step) -> Row:
    epochs = step.spec.config.get("epochs") if step.spec.kind == Kind.TRAIN else None
    return Row(step.name, epochs=epochs if isinstance(epochs, int) else None)
