"""Spec files by the piece, for as many workers as they and this machine are worth."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from aifctl.spec.files import Chosen

MANY = 64
"""Spec files from which on several processes are worth their start."""
SHARES = 6
"""Pieces a process: so many that all end at about the same time."""


class Crew(Protocol):
    """`workers.Crew`, or one worker in this process."""

    @property
    def count(self) -> int: ...

    def share(self, method: str, pieces: list[Any]) -> list[Any]: ...

    def all(self, method: str, argument: Any) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class _Alone:
    """One worker in this process."""

    worker: object
    count: int = 1

    def share(self, method: str, pieces: list[Any]) -> list[Any]:
        return [getattr(self.worker, method)(piece) for piece in pieces]

    def all(self, method: str, argument: Any) -> list[Any]:
        return [getattr(self.worker, method)(argument)]


def crew_of(worker: object, most: int, jobs: int | None = None) -> AbstractContextManager[Crew]:
    """For `most` spec files: `jobs` processes; None: AIFCTL_JOBS, else as many as the work and the machine suggest."""
    forced = jobs is not None or "AIFCTL_JOBS" in os.environ
    if most < 2 or (most < MANY and not forced):
        return nullcontext(_Alone(worker))
    from aifctl.delivery import workers

    count = min(jobs or workers.jobs(), most)
    return workers.Crew(worker, count) if count > 1 else nullcontext(_Alone(worker))


def pieces(chosen: Chosen, count: int) -> list[Chosen]:
    """For so many workers; in order, so that results are too."""
    if count == 1:
        return [chosen] if chosen else []
    size = -(-len(chosen) // (count * SHARES))
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]
