"""What an apply is asked, and what came of it. Values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from aifctl.cluster.client import OURSELVES, Account
from aifctl.cluster.inventory import Inventory, Unit
from aifctl.diagnostics import Diagnostic
from aifctl.manifest import Identity


class Result(StrEnum):
    UNCHANGED = "unchanged"
    APPLIED = "applied"
    PARTIAL = "partial"
    """Applied, but something could not be pruned yet."""
    FAILED = "failed"
    REFUSED = "refused"
    """Nothing was written: the plan has problems."""
    HELD = "held"
    """This tree failed before and was rolled back: nothing is written until there is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`account` gives the identity that a unit's objects are written by; the inventory is always ours to write."""

    wait: bool = False
    timeout: float | None = None
    lock_timeout: float = 60.0
    commit: str = ""
    by: str = ""
    outcome: str = "applied"
    hold: str = ""
    """A tree that must not be applied again: the one that is being rolled back."""
    release_hold: bool = False
    """Somebody wants a held tree all the same."""
    account: Callable[[Unit], Account] = lambda unit: OURSELVES
    stopping: Callable[[], bool] = lambda: False
    """Whether to end here: the object that is being written is the last, and what was done is put on record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`what`: created, changed, replaced, deleted, kept, waiting, healthy."""

    unit: Unit
    what: str
    identity: Identity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    unit: Unit
    result: Result
    done: tuple[Event, ...] = ()
    findings: tuple[Diagnostic, ...] = ()
    tree: str = ""
    inventory: Inventory | None = None
    """As it is in the cluster now, where it was written."""

    @property
    def failed(self) -> bool:
        return self.result in (Result.FAILED, Result.REFUSED, Result.HELD, Result.PARTIAL)


Tell = Callable[[Event], None]


def failed(outcomes: Iterable[Outcome]) -> bool:
    return any(outcome.failed for outcome in outcomes)
