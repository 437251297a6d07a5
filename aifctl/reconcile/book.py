"""What is known of each unit: what Git wants, what is on record, what lives; and whether these differ. In memory, pure.

An object that lives is known by four facts, not by its text: uid, version, the digest of our fields, its health. So a
unit whose inventory matches both its compile and what lives needs no request at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from aifctl.cluster import health
from aifctl.cluster.inventory import ENDED, Entry, Inventory, Unit
from aifctl.diagnostics import Diagnostic
from aifctl.manifest import Identity
from aifctl.reconcile.compiling import Compilation, Packed

LAG = 3.0
"""Seconds that a watch may be behind our own writes."""


class State(StrEnum):
    PENDING = "pending"
    SYNCED = "synced"
    SETTLING = "settling"
    """Applied; what is no longer wanted goes when the new is healthy."""
    DRIFTED = "drifted"
    """Differs, and is not ours to write."""
    FAILED = "failed"
    HELD = "held"
    SUSPENDED = "suspended"
    FROZEN = "frozen"


DRIFT = ("changed in the cluster", "deleted", "made anew", "being deleted")
PRUNING = "no longer wanted"


class Seen(NamedTuple):
    """A live object. `version` is its resourceVersion as a number."""

    uid: str
    version: int
    observed: str
    healthy: bool
    ended: bool = False
    deleting: bool = False


@dataclass(slots=True)
class Work:
    """One unit. `wanted` None: gone from Git, unless `frozen` says why there is no newer one."""

    unit: Unit
    wanted: Packed | None = None
    commit: str = ""
    inventory: Inventory | None = None
    entries: dict[Identity, Entry] = field(default_factory=dict)
    frozen: Diagnostic | None = None
    problem: Diagnostic | None = None
    """Stands against applying it at all."""
    settled: tuple[str, tuple[Entry, ...]] | None = None
    """(tree, entries) that a plan found nothing to do for, although they differ."""
    accepted: dict[Identity, tuple[str, str]] = field(default_factory=dict)
    """(uid, observed) that a plan found right although the inventory has another."""
    state: State = State.PENDING
    reason: str = ""
    findings: tuple[Diagnostic, ...] = ()
    failures: int = 0
    not_before: float = 0.0
    done_at: float = -LAG
    drifted: tuple[Identity, ...] = ()
    """What is not as it was left, of a unit that is left alone."""
    suspected: tuple[Identity, ...] = ()
    """The same by one look, at `suspected_at`: a watch may be behind an inventory."""
    suspected_at: float = 0.0
    moves: list[float] = field(default_factory=list)
    """When it drifted lately: a fight with another controller is told by that."""


class Book:
    """Units by name, live objects by identity."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.works: dict[Unit, Work] = {}
        self.seen: dict[Identity, Seen] = {}
        self.homes: dict[Identity, Unit] = {}
        """Where what is wanted belongs."""
        self.blind: frozenset[str] = frozenset()
        """Kinds that can't be watched: of what is not seen of them nothing is known."""
        self._placed: dict[Identity, Unit] = {}

    def work(self, unit: Unit) -> Work:
        return self.works.setdefault(unit, Work(unit))

    # What comes in

    def adopt(self, found: Compilation) -> None:
        """A commit: what each unit is to be from now on. What does not compile keeps what it was to be."""
        for unit, packed in found.units.items():
            work = self.work(unit)
            work.wanted, work.commit, work.frozen, work.problem = packed, found.commit, None, None
        for work in self.works.values():
            if work.unit in found.units:
                continue
            work.problem, work.frozen = None, _frozen(found, work.unit)
            if work.frozen is None and found.complete:
                work.wanted = None
        for work in self.works.values():
            work.failures, work.not_before = 0, 0.0
            work.moves.clear()
        self._settle_homes(found)

    def note_inventory(self, unit: Unit, inventory: Inventory | None) -> bool:
        """Whether it is news."""
        work = self.work(unit)
        if work.inventory == inventory:
            return False
        for identity in work.entries:
            self._placed.pop(identity, None)
        work.inventory = inventory
        work.entries = inventory.by_identity if inventory is not None else {}
        self._placed.update(dict.fromkeys(work.entries, unit))
        return True

    def note_live(self, identity: Identity, seen: Seen | None) -> Unit | None:
        """The unit that this concerns, if something is to be done about it."""
        before = self.seen.pop(identity, None)
        if seen is not None:
            self.seen[identity] = seen
        unit = self.homes.get(identity) or self._placed.get(identity)
        work = self.works.get(unit) if unit is not None else None
        if work is None:
            return None
        entry = work.entries.get(identity)
        if seen is None:
            if entry is None or before is None or entry.uid != before.uid or entry.observed == ENDED:
                return None
            work.settled, work.done_at = None, -LAG
            return unit
        moved = before is None or (before.uid, before.observed) != (seen.uid, seen.observed)
        told = before is not None and before.healthy != seen.healthy and work.state is State.SETTLING
        ours = entry is not None and seen.version <= _number(entry.resource_version)
        failing = bool(work.failures) and moved and not ours
        measured = identity in work.drifted or identity in work.suspected
        return unit if told or failing or measured or (entry is not None and self.drift(work, entry)) else None

    # What follows from it

    def standing(self, work: Work) -> tuple[State, Diagnostic | None] | None:
        """Why a unit is left as it is."""
        inventory = work.inventory
        if inventory is not None and inventory.suspended:
            told = f"{work.unit} is suspended: {inventory.suspended}"
            return State.SUSPENDED, Diagnostic("AIF777", told, f"`aifctl resume {work.unit.model}` goes on")
        if work.problem is not None:
            return State.FAILED, work.problem
        if work.frozen is not None and work.wanted is None:
            return State.FROZEN, work.frozen
        if inventory is not None and work.wanted is not None and inventory.holds(work.wanted.tree):
            return State.HELD, Diagnostic(
                "AIF760", f"{work.unit} is held: what Git has was rolled back",
                "commit a change of this model, or `aifctl apply --release-hold` to try the same again",
            )  # fmt: skip
        return None

    def differs(self, work: Work) -> str:
        """In which way a unit is not as it should be; empty where all is well, as far as is known."""
        if work.wanted is None:
            return "gone from Git" if work.inventory is not None else ""
        if work.inventory is None:
            return "new"
        if work.inventory.revisions and work.inventory.revisions[-1].outcome == "failed":
            return "failed before"
        drifted = next(filter(None, (self.drift(work, entry) for entry in work.entries.values())), "")
        if drifted or work.settled == (work.wanted.tree, work.inventory.entries):
            return drifted
        return self._on_record(work, work.wanted)

    def drift(self, work: Work, entry: Entry) -> str:
        """In which way a live object is not as it was left."""
        wanted = work.wanted.by_identity.get(entry.identity) if work.wanted is not None else None
        return self._moved(work, entry, run=wanted.run) if wanted is not None else ""

    def drifted(self, work: Work) -> tuple[Identity, ...]:
        """Objects on record that are not as they were left, whatever Git wants by now. Runs are as they are."""
        lasting = (entry for entry in work.entries.values() if not health.is_run(*entry.identity[:2]))
        return tuple(entry.identity for entry in lasting if self._moved(work, entry, run=False) in DRIFT)

    def _moved(self, work: Work, entry: Entry, *, run: bool) -> str:
        seen = self.seen.get(entry.identity)
        if not entry.uid or (seen is None and entry.identity.kind in self.blind):
            return ""
        if seen is None:
            behind = time.monotonic() - work.done_at < LAG
            return "" if behind or entry.observed == ENDED else DRIFT[1]
        if seen.version <= _number(entry.resource_version):
            return ""
        if seen.uid != entry.uid:
            return DRIFT[2]
        if run:
            return "ended" if seen.ended and entry.observed != ENDED else ""
        if seen.deleting:
            return DRIFT[3]
        right = seen.observed == entry.observed or work.accepted.get(entry.identity) == (seen.uid, seen.observed)
        return "" if right else DRIFT[0]

    def unhealthy(self, work: Work) -> list[Identity]:
        """Wanted objects that are not (known to be) healthy yet."""
        if work.wanted is None:
            return []
        return [each.identity for each in work.wanted.objects if not self._is_healthy(work, each.identity)]

    def count(self) -> Mapping[State, int]:
        counts = dict.fromkeys(State, 0)
        for work in self.works.values():
            if work.wanted is not None or work.inventory is not None or work.frozen is not None:
                counts[work.state] += 1
        return counts

    def known(self) -> dict[Unit, Inventory]:
        return {unit: work.inventory for unit, work in self.works.items() if work.inventory is not None}

    def gone(self) -> list[Unit]:
        works = self.works.values()
        return [w.unit for w in works if w.wanted is None and w.frozen is None and w.inventory is not None]

    def kinds(self) -> Iterator[tuple[str, str, str, str]]:
        """(group, version, kind, namespace) of all that is wanted or on record."""
        for work in self.works.values():
            for each in work.wanted.objects if work.wanted is not None else ():
                yield each.identity.group, each.api_version.rpartition("/")[2], *each.identity[1:3]
            for entry in work.entries.values():
                yield entry.identity.group, entry.version, *entry.identity[1:3]

    def _on_record(self, work: Work, wanted: Packed) -> str:
        for each in wanted.objects:
            entry = work.entries.get(each.identity)
            if entry is None or not entry.uid or (entry.intent != each.intent and not each.run):
                return "changed in Git"
        return PRUNING if len(work.entries) > len(wanted.objects) else ""

    def _is_healthy(self, work: Work, identity: Identity) -> bool:
        entry, seen = work.entries.get(identity), self.seen.get(identity)
        if entry is not None and entry.observed == ENDED:
            return True
        return (
            seen is not None and seen.healthy and entry is not None and seen.version >= _number(entry.resource_version)
        )

    def _settle_homes(self, found: Compilation) -> None:
        """Two units that want one object would undo each other's work: neither is applied. A tenant's unit that reaches
        out of its namespace isn't either, although its account could not write there."""
        self.homes = {}
        for work in self.works.values():
            for each in work.wanted.objects if work.wanted is not None else ():
                home = self.homes.setdefault(each.identity, work.unit)
                if home != work.unit:
                    twins = f"{each.identity} is wanted by {home} and by {work.unit}"
                    problem = Diagnostic("AIF775", twins, "give it another name in one of them")
                    work.problem = self.works[home].problem = problem
        for work in self.works.values():
            if work.wanted is not None and work.unit.model:
                space = found.environment.namespace_of(work.unit.tenant)
                work.problem = work.problem or _outside(work.unit, work.wanted, space)


def _frozen(found: Compilation, unit: Unit) -> Diagnostic | None:
    return found.frozen.get(unit.model)


def _outside(unit: Unit, wanted: Packed, namespace: str) -> Diagnostic | None:
    strangers: Iterable[Identity] = (each.identity for each in wanted.objects if each.identity.namespace != namespace)
    first = next(iter(strangers), None)
    if first is None:
        return None
    hint = "a tenant's objects are written by the account of its own namespace"
    return Diagnostic("AIF778", f"{unit}: {first} is outside of the namespace {namespace}", hint)


def _number(version: str) -> int:
    """resourceVersions of one kind can be compared: KEP-5504."""
    return int(version) if version.isdigit() else 0
