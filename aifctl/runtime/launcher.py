"""How a step is started and watched, wherever it runs: `Launcher`. Processes here, Kubernetes Jobs elsewhere.

The executor (`runtime.local`) knows only this interface: nothing of processes, pods, files or signals. A launcher
chooses by itself where a step leaves its result and progress (`Site.result`, `Site.events`) and how they come back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from aifctl.contract import Site
from aifctl.ir import Step


class Verdict(StrEnum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    """It can't succeed as it is (contract.EXIT_FAILED, and every other exit code)."""
    RETRY = "retry"
    """A fault of its surroundings (contract.EXIT_RETRY)."""
    KILLED = "killed"
    """Taken away from outside: out of memory, evicted, killed by hand."""
    CRASHED = "crashed"
    """Broke down without a word: a segmentation fault, an abort."""
    STOPPED = "stopped"
    """We asked for it: `Launcher.stop`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """`how` says it in words for people: `exit code 1`, `signal 9 (SIGKILL)`. `result` is what the step reported."""

    verdict: Verdict
    how: str
    result: Mapping[str, Any] | None = None
    peak_memory: int | None = None
    """Bytes; None where it is not known."""
    out_of_memory: bool = False
    """It was killed for having used too much: likely to happen again."""
    hint: str | None = None
    """What to do about it, where the launcher knows better than anyone else."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A started step. `key` is the launcher's own; `log` is where people find its output (a path or URL)."""

    step: str
    key: str
    log: str


class Launcher(Protocol):
    """Starts steps and watches them. Every method raises OSError where the surroundings fail."""

    def start(self, step: Step, site: Site) -> Handle:
        """Starts one attempt; `site.attempt` tells attempts apart."""
        ...

    def wait(self, handles: Collection[Handle], timeout: float) -> None:
        """Returns when one of `handles` may have ended, at the latest after `timeout` seconds."""
        ...

    def poll(self, handle: Handle) -> Ended | None:
        """How it ended, None while it runs. Once ended nothing of the step is left behind."""
        ...

    def events(self, handle: Handle) -> Sequence[Mapping[str, Any]]:
        """Progress reported since the last call: {step, event, …}; a `note` has a `text` for people."""
        ...

    def logs(self, handle: Handle, lines: int) -> Sequence[str]:
        """The last lines of its output."""
        ...

    def stop(self, handle: Handle, *, now: bool = False) -> None:
        """Asks it to end (it may save its state first), or ends it `now`. Does not wait: `poll` tells when it has."""
        ...

    def close(self) -> None:
        """Ends what still runs and returns when all of it is gone, or leaves it where the run's next execution finds
        it."""
        ...
