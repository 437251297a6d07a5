"""Processes that share a list of work: each takes pieces as it gets done, and keeps what it made for a later call.

Forked, so that they begin with all that is loaded already. The owner asks and waits; a process that dies, an exception
or Ctrl-C ends them all, and none is left behind. A process whose owner is gone ends by itself.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from types import TracebackType
from typing import Any

from aifctl.delivery import beforehand
from aifctl.diagnostics import Diagnostic, Report

PATIENCE = 5.0
"""Seconds that a process gets to end before it is killed."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """An exception over there: findings, or a traceback as text."""

    diagnostics: tuple[Diagnostic, ...] = ()
    text: str = ""


class Crew:
    """Calls methods of an object in `count` copies of this process: `with Crew(worker, 2) as crew: …`."""

    def __init__(self, worker: object, count: int) -> None:
        self._worker = worker
        self._members: list[tuple[ForkProcess, Connection]] = []
        self.count = count

    def __enter__(self) -> Crew:
        beforehand.wait()
        context = multiprocessing.get_context("fork")
        gc.freeze()  # pages that the collector does not touch stay shared
        for _ in range(self.count):
            ours, theirs = context.Pipe()
            held = [each for _, each in self._members] + [ours]
            process = context.Process(target=_work, args=(self._worker, theirs, held), daemon=True)
            process.start()
            theirs.close()
            self._members.append((process, ours))
        gc.unfreeze()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process, pipe in self._members:
            pipe.close()
            if kind is not None:
                process.terminate()
        for process, _ in self._members:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()

    def share(self, method: str, pieces: Sequence[Any]) -> list[Any]:
        """`worker.<method>(piece)` for each piece, by whoever is free; results in the order of the pieces."""
        results: list[Any] = [None] * len(pieces)
        waiting = iter(enumerate(pieces))
        busy: dict[int, int] = {}

        def hand(member: int) -> None:
            if (following := next(waiting, None)) is not None:
                busy[member] = following[0]
                self._ask(member, method, following[1])

        for member in range(self.count):
            hand(member)
        while busy:
            for member in self._ready(busy):
                results[busy.pop(member)] = self._answer(member)
                hand(member)
        return results

    def all(self, method: str, argument: Any) -> list[Any]:
        """`worker.<method>(argument)` by everyone. One that fails lets the others finish first."""
        for member in range(self.count):
            self._ask(member, method, argument)
        answers = []
        reports: list[Report] = []
        for member in range(self.count):
            try:
                answers.append(self._answer(member))
            except Report as report:
                reports.append(report)
        if reports:
            raise Report(*dict.fromkeys(d for report in reports for d in report.diagnostics))
        return answers

    def _ask(self, member: int, method: str, argument: Any) -> None:
        try:
            self._members[member][1].send((method, argument))
        except OSError:
            raise self._lost(member) from None

    def _answer(self, member: int) -> Any:
        try:
            answer = self._members[member][1].recv()
        except (EOFError, OSError):
            raise self._lost(member) from None
        if isinstance(answer, _Fault):
            raise Report(*answer.diagnostics) if answer.diagnostics else RuntimeError(answer.text)
        return answer

    def _ready(self, busy: dict[int, int]) -> Iterator[int]:
        pipes = {self._members[member][1]: member for member in busy}
        yield from sorted(pipes[each] for each in connection.wait(list(pipes)) if isinstance(each, Connection))

    def _lost(self, member: int) -> Report:
        process = self._members[member][0]
        process.join(PATIENCE)
        code = process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        hint = "run it again; where memory is short, AIFCTL_JOBS=1 takes one process"
        return Report(Diagnostic("AIF522", f"a process that compiles ended {how}", hint))


def jobs() -> int:
    """Processes to use: AIFCTL_JOBS, else the processors this process may run on; 1 where there is no fork."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return 1
    given = os.environ.get("AIFCTL_JOBS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work(worker: object, pipe: Connection, held: list[Connection]) -> None:
    # Ctrl-C reaches every process of a terminal; the owner alone decides what it means. A held copy of an owner's end
    # would keep a pipe open after the owner is gone.
    gc.set_threshold(100_000, 50, 50)  # what a worker makes is mostly kept, and has no cycles
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for each in held:
        each.close()
    try:
        while True:
            method, argument = pipe.recv()
            pipe.send(_called(getattr(worker, method), argument))
    except (EOFError, OSError):
        return


def _called(function: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return function(argument)
    except Report as report:
        return _Fault(report.diagnostics)
    except Exception:  # noqa: BLE001 - it is raised again, over there
        return _Fault(text=traceback.format_exc())
