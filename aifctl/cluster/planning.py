"""The live plan of an environment: for each unit what would be applied and pruned, and what stands against it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

from aifctl.cluster import discovery, health, live, prune, snapshot
from aifctl.cluster.client import Client
from aifctl.cluster.ground import Choices, Ground, Item
from aifctl.cluster.inventory import ENDED, Inventory, Unit
from aifctl.cluster.policy import Policy
from aifctl.cluster.prune import Pruning, Removal
from aifctl.cluster.records import Record, Records
from aifctl.cluster.wanted import Wanted
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.plan.change import Action, Change, ChangeSet
from aifctl.render.ownership import SOURCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an environment should hold. `frozen` are models that do not compile: nothing of theirs changes. `complete`
    says that the whole repository was compiled, so a unit on record that is in neither is gone from Git."""

    environment: str
    platform: str
    wanted: tuple[Wanted, ...]
    frozen: frozenset[str] = frozenset()
    complete: bool = False
    policy: Policy = field(default_factory=Policy)
    choices: Choices = field(default_factory=Choices)
    is_idle: Callable[[str], bool] = lambda path: False
    """Whether a spec's file is still in Git and no spec any more: broken beyond recognition, far more often than meant.
    What it described is not gone then."""
    allow_prune: bool = False
    """Whoever asks has seen how much goes."""
    salt: bytes = b""
    """Keys the digests of secret values; another one each time if it is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """`problems` stand against the whole unit; an item's own stand in the item. With any, nothing of it is applied."""

    unit: Unit
    wanted: Wanted | None
    """None for a unit that is gone from Git."""
    record: Record
    items: tuple[Item, ...] = ()
    removals: tuple[Removal, ...] = ()
    problems: tuple[Diagnostic, ...] = ()

    @property
    def inventory(self) -> Inventory:
        return self.record.inventory

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        return (*self.problems, *chain.from_iterable(item.problems for item in self.items))

    @property
    def blocked(self) -> bool:
        return any(found.severity is Severity.ERROR for found in self.findings)

    @property
    def changes(self) -> tuple[Change, ...]:
        return (*(item.change for item in self.items), *(each.change for each in self.removals if each.change))

    @property
    def differs(self) -> bool:
        return any(change.action is not Action.UNCHANGED for change in self.changes)

    @property
    def must_record(self) -> bool:
        """Whether only the inventory is behind: an apply was killed before it could write what it did."""
        stale = any(not each.remembered for each in self.removals)
        return stale or any(is_stale(item) for item in self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    request: Request
    ground: Ground
    units: tuple[UnitPlan, ...]
    problems: tuple[Diagnostic, ...] = ()

    @property
    def changes(self) -> ChangeSet:
        found = list(chain.from_iterable(unit.changes for unit in self.units))
        return ChangeSet(tuple(sorted(found, key=lambda change: (change.environment, change.model))))

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        return (*self.problems, *chain.from_iterable(unit.findings for unit in self.units))

    @property
    def read_only(self) -> bool:
        """Whether some objects were compared without the server's dry-run, for want of the right."""
        return bool(self.ground.read_only)


async def plan(client: Client, records: Records, request: Request) -> Plan:
    """Asks the cluster and changes nothing. Raises ApiError (no right to read), Unreachable."""
    found, (known, damaged) = await asyncio.gather(discovery.discover(client), records.all())
    on_record = tuple(chain.from_iterable(record.inventory.entries for record in _read(known, request)))
    objects = list(chain.from_iterable(each.objects for each in request.wanted))
    brief = not request.choices.dry_run  # an apply shows nothing of a run that is there
    seen = await snapshot.take(client, found, request.environment, objects, on_record, brief=brief)
    looks = [_look(seen, request, each, known.get(each.unit)) for each in request.wanted]
    differing = tuple(look.wanted for look in looks if not all(map(live.is_settled, look.items)))
    salt = request.salt or secrets.token_bytes(16)
    ground = Ground(client, seen, request.policy, request.choices, request.wanted, salt, differing)
    planned = await asyncio.gather(*(_unit(ground, request, look) for look in looks))
    gone = _gone(request, known)
    cap = too_many_gone(request, known, gone)
    left = [_gone_unit(ground, request, known[unit], cap) for unit in gone]
    units = sorted([*planned, *left], key=lambda each: each.unit)
    return Plan(request=request, ground=ground, units=tuple(units), problems=(*damaged, *_reduced(ground)))


async def again(plan: Plan, unit: UnitPlan, records: Records) -> UnitPlan:
    """One unit's plan anew, because somebody else has written its inventory in between."""
    record = await records.one(unit.unit)
    return await alone(plan.ground, plan.request, record, unit.wanted)


async def alone(ground: Ground, request: Request, record: Record, wanted: Wanted | None) -> UnitPlan:
    """One unit's plan, from reads of its own objects; `wanted` None for one that is gone from Git."""
    objects = wanted.objects if wanted is not None else ()
    known = ground.snapshot.discovery
    seen = await snapshot.single(ground.client, known, objects, record.inventory.entries)
    if wanted is None:
        return _gone_unit(replace(ground, snapshot=seen), request, record, None)
    differing = tuple(dict.fromkeys((*ground.differing, wanted)))
    fresh = replace(ground, snapshot=seen, differing=differing)
    return await _unit(fresh, request, _look(seen, request, wanted, record))


def is_stale(item: Item) -> bool:
    """An object that is as it should be, and that the inventory does not know as it is."""
    if item.action is not Action.UNCHANGED or item.live is None:
        return False
    entry = item.entry
    if entry is None or entry.uid != item.live["metadata"]["uid"]:
        return True
    # A run's end must be on record before its time to live is over: else it would be made again.
    return item.object.run and entry.observed != ENDED and health.ended(item.live)


def _read(known: Mapping[Unit, Record], request: Request) -> Iterable[Record]:
    """Records that this plan concerns."""
    asked = {each.unit for each in request.wanted}
    return (r for unit, r in known.items() if unit in asked or (request.complete and unit.model not in request.frozen))


class _Look(NamedTuple):
    """A unit, its record, and what one look at its objects gives."""

    wanted: Wanted
    record: Record
    items: list[Item]


def _look(seen: snapshot.Snapshot, request: Request, wanted: Wanted, record: Record | None) -> _Look:
    known = record or Record(inventory=Inventory(unit=wanted.unit, platform=request.platform))
    return _Look(wanted, known, live.look(seen, wanted, known.inventory))


async def _unit(ground: Ground, request: Request, look: _Look) -> UnitPlan:
    wanted, record, unit = look.wanted, look.record, look.wanted.unit
    items = await live.compare(ground, look.items)
    removed = prune.removals(_pruning(ground, unit), record.inventory, frozenset(item.identity for item in items))
    problems = [*_of_another(request, record), *_empty(wanted, record), *_too_many(request, record, removed)]
    return UnitPlan(
        unit=unit, wanted=wanted, record=record, items=tuple(items), removals=tuple(removed), problems=tuple(problems)
    )


def _gone_unit(ground: Ground, request: Request, record: Record, cap: Diagnostic | None) -> UnitPlan:
    unit = record.inventory.unit
    removed = prune.removals(_pruning(ground, unit), record.inventory, frozenset())
    problems = [*_of_another(request, record), *_of_a_broken_file(request, record, removed), *([cap] if cap else [])]
    return UnitPlan(unit=unit, wanted=None, record=record, removals=tuple(removed), problems=tuple(problems))


def _pruning(ground: Ground, unit: Unit) -> Pruning:
    return Pruning(unit=unit, snapshot=ground.snapshot, homes=ground.homes, masks=lambda: ground.masks)


def _gone(request: Request, known: Mapping[Unit, Record]) -> list[Unit]:
    asked = {each.unit for each in request.wanted}
    return [unit for unit in known if request.complete and unit not in asked and unit.model not in request.frozen]


# What a plan refuses


def _of_another(request: Request, record: Record) -> list[Diagnostic]:
    platform = record.inventory.platform
    if not platform or platform == request.platform:
        return []
    hint = "two repositories can't share an environment's name in one cluster; rename one environment"
    return [Diagnostic("AIF729", f"{record.inventory.unit} was applied by platform `{platform}`", hint)]


def _of_a_broken_file(request: Request, record: Record, removed: list[Removal]) -> list[Diagnostic]:
    lives = (each.live for each in removed if each.live is not None)
    sources = {str((live["metadata"].get("annotations") or {}).get(SOURCE, "")) for live in lives}
    hint = "mend it, or delete the file to take the model away"
    return [
        Diagnostic(
            "AIF748", f"{record.inventory.unit}: its spec {path} is still there, but holds no spec any more", hint
        )
        for path in sorted(sources - {""})
        if request.is_idle(path)
    ]


def _empty(wanted: Wanted, record: Record) -> list[Diagnostic]:
    """A compile that gives nothing is a fault far more often than a wish."""
    if wanted.objects or not record.inventory.entries:
        return []
    hint = "remove the model's spec to take it away, or use `aifctl destroy`"
    return [Diagnostic("AIF741", f"{wanted.unit} renders no objects, and {len(record.inventory.entries)} are on record",
                       hint)]  # fmt: skip


def _too_many(request: Request, record: Record, removed: list[Removal]) -> list[Diagnostic]:
    total, count = len(record.inventory.entries), sum(each.delete for each in removed)
    if request.allow_prune or not count or count <= (most := request.policy.most(total)):
        return []
    hint = (
        "look at the plan; `--allow-prune` lets them go, `apply: {prune: {limit: …}}` of the environment sets the limit"
    )
    return [Diagnostic("AIF740", f"{record.inventory.unit}: {count} of {total} objects would be pruned, the limit is "
                       f"{most}", hint)]  # fmt: skip


def too_many_gone(request: Request, known: Mapping[Unit, Record], gone: list[Unit]) -> Diagnostic | None:
    """Half of an environment does not leave by one commit unless somebody says so; a wrong folder looks like that."""
    models = [unit for unit in known if unit.model]
    count = sum(bool(unit.model) for unit in gone)
    if request.allow_prune or (count <= max(1, len(models) // 2) and (count < len(models) or not count)):
        return None
    hint = "is this the right folder and branch? `--allow-prune` lets them go, `aifctl destroy MODEL` takes one away"
    return Diagnostic("AIF741", f"{count} of {len(models)} models of {request.environment} are gone from Git", hint)


def _reduced(ground: Ground) -> list[Diagnostic]:
    if not ground.read_only:
        return []
    hint = "defaults and webhooks are not known so; the right to patch gives the server's own answer"
    message = f"{len(ground.read_only)} objects are compared without the server's dry-run: no right to patch them"
    return [Diagnostic("AIF731", message, hint, severity=Severity.WARNING)]
