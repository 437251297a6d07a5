"""How each unit stands: in step with Git or not, healthy or not, which run, which version serves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from aifctl.cluster import fields, health
from aifctl.cluster.health import Health, State
from aifctl.cluster.inventory import ENDED, Entry, Unit
from aifctl.cluster.records import Record, is_held
from aifctl.cluster.snapshot import Live, Snapshot
from aifctl.manifest import Identity, Manifest
from aifctl.plan.diff import is_run

RUN_OF_SERVER = "aif.dev/run"
"""Annotation on a server's pods: the run whose bundle they serve."""
WORST = (State.FAILED, State.MISSING, State.TERMINATING, State.PENDING, State.PROGRESSING, State.QUEUED,
         State.SUSPENDED, State.HEALTHY)  # fmt: skip


class Sync(StrEnum):
    SYNCED = "synced"
    DRIFTED = "drifted"
    """Somebody changed or deleted objects since they were applied."""
    BEHIND = "behind"
    """Git has other manifests than were applied."""
    APPLYING = "applying"
    FAILED = "failed"
    HELD = "held"
    SUSPENDED = "suspended"
    NEW = "not applied"
    GONE = "gone from Git"
    BROKEN = "broken spec"
    UNKNOWN = "applied"
    """On record; not compared with Git."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailing:
    """An object that is not healthy, and how it fares."""

    identity: Identity
    health: Health
    live: Live | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One unit. `health` is the worst of its objects but runs, which have a column of their own."""

    unit: Unit
    sync: Sync
    health: Health
    run: str = ""
    run_health: Health | None = None
    serving: str = ""
    since: str = ""
    """When its newest revision was applied; UTC, RFC 3339."""
    revision: int = 0
    commit: str = ""
    objects: int = 0
    drifted: tuple[Identity, ...] = ()
    ailing: tuple[Ailing, ...] = ()
    note: str = ""
    """Why it is held, suspended, failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """What a compile says, where there was one: trees by unit, models that do not compile."""

    trees: Mapping[Unit, str]
    broken: frozenset[str] = frozenset()
    complete: bool = False


def standings(records: Iterable[Record], snapshot: Snapshot, git: Git | None, now: datetime) -> list[Standing]:
    """Units on record, and those of the compile that are not."""
    known = [_standing(record, snapshot, git, now) for record in records]
    new = sorted((git.trees.keys() if git is not None else set()) - {each.unit for each in known})
    missing = Health(state=State.MISSING, phase="Missing", message="not applied yet")
    return sorted(
        [*known, *(Standing(unit=unit, sync=Sync.NEW, health=missing) for unit in new)], key=lambda each: each.unit
    )


def _standing(record: Record, snapshot: Snapshot, git: Git | None, now: datetime) -> Standing:
    inventory = record.inventory
    lives = {entry: snapshot.objects.get(entry.identity) for entry in inventory.entries}
    drifted = tuple(entry.identity for entry, live in lives.items() if _drifted(entry, live))
    found = {entry.identity: health.assess(live, now) for entry, live in lives.items() if not _runs(entry, live)}
    ailing = [
        Ailing(identity=identity, health=each, live=snapshot.objects.get(identity))
        for identity, each in found.items()
        if each.state not in (State.HEALTHY, State.SUSPENDED)
    ]
    newest = _newest_run(lives)
    last = inventory.revisions[-1] if inventory.revisions else None
    sync, note = _sync(record, git, drifted)
    return Standing(
        unit=inventory.unit,
        sync=sync,
        health=_worst(found.values()),
        run=newest[0].name if newest else "",
        run_health=health.assess(newest[1], now) if newest else None,
        serving=next((run for live in lives.values() if live and (run := _serves(live))), ""),
        since=last.at if last else "",
        revision=last.number if last else 0,
        commit=last.commit if last else "",
        objects=len(inventory.entries),
        drifted=drifted,
        ailing=tuple(sorted(ailing, key=lambda each: WORST.index(each.health.state))),
        note=note,
    )


def _sync(record: Record, git: Git | None, drifted: tuple[Identity, ...]) -> tuple[Sync, str]:
    """The first that holds, the one that needs somebody's hand before the one that mends itself."""
    inventory = record.inventory
    unit, last = inventory.unit, inventory.revisions[-1] if inventory.revisions else None
    wanted = git.trees.get(unit) if git is not None else None
    if is_held(record):
        return Sync.APPLYING, f"by {record.holder}"
    moved = f"{len(drifted)} of {len(inventory.entries)} objects: {drifted[0]}" if drifted else ""
    left = f"; drifted: {moved}" if moved else ""
    if inventory.suspended:
        return Sync.SUSPENDED, f"{inventory.suspended}{left}"
    if git is not None and unit.model in git.broken:
        return Sync.BROKEN, "its spec does not compile: `aifctl validate`"
    if inventory.held and (wanted is None or wanted == inventory.held):
        return Sync.HELD, f"what Git has was rolled back; a change of the model in Git ends it{left}"
    if git is not None and git.complete and wanted is None:
        return Sync.GONE, "the next apply prunes it"
    if last is not None and last.outcome == "failed":
        return Sync.FAILED, last.message
    if drifted:
        return Sync.DRIFTED, moved
    if wanted is None:
        return Sync.UNKNOWN, ""
    return (Sync.SYNCED, "") if last is not None and last.tree == wanted else (Sync.BEHIND, "")


def _drifted(entry: Entry, live: Live | None) -> bool:
    if entry.observed == ENDED:
        return False
    if live is None or (entry.uid and live["metadata"].get("uid") != entry.uid):
        return True
    if is_run(Manifest(live)) or entry.resource_version == live["metadata"].get("resourceVersion"):
        return False
    return bool(entry.observed) and entry.observed != fields.observed(live)


def _runs(entry: Entry, live: Live | None) -> bool:
    """Whether an entry is a run; of one that is gone its kind tells."""
    if live is not None:
        return is_run(Manifest(live))
    return entry.observed == ENDED or health.is_run(entry.identity.group, entry.identity.kind)


def _newest_run(lives: Mapping[Entry, Live | None]) -> tuple[Identity, Live] | None:
    runs = [(entry.identity, live) for entry, live in lives.items() if live is not None and is_run(Manifest(live))]
    return max(runs, key=lambda each: str(each[1]["metadata"].get("creationTimestamp", "")), default=None)


def _serves(live: Live) -> str:
    template = (live.get("spec") or {}).get("template")
    notes = (template.get("metadata") or {}).get("annotations") if isinstance(template, dict) else None
    return str((notes or {}).get(RUN_OF_SERVER, ""))


def _worst(found: Iterable[Health]) -> Health:
    everything = sorted(found, key=lambda each: WORST.index(each.state))
    return everything[0] if everything else Health(state=State.HEALTHY)


def age(since: str, now: datetime | None = None) -> str:
    """`3m`, `5h`, `2d`; empty for no time."""
    try:
        passed = ((now or datetime.now(UTC)) - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if passed >= size:
            return f"{int(passed // size)}{unit}"
    return f"{max(0, int(passed))}s"
