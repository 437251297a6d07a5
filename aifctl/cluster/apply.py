"""Applies a plan, unit by unit: in stages, then waits, then prunes. The inventory is a superset before, exact after.

Wherever this is killed, the inventory covers what is in the cluster, and the next run finishes.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from aifctl.cluster import health, planning, prune, writing
from aifctl.cluster.client import CONNECTIONS
from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.ground import Item
from aifctl.cluster.inventory import Entry, Inventory, Revision, Unit
from aifctl.cluster.outcome import Event, Options, Outcome, Result, Tell
from aifctl.cluster.planning import Plan, UnitPlan
from aifctl.cluster.prune import Removal
from aifctl.cluster.records import LEASE, Lost, Record, Records, is_held
from aifctl.cluster.stages import LEANT_ON, stage
from aifctl.cluster.wait import Waiter, settle
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.manifest import Identity
from aifctl.plan.change import Action

AT_ONCE = 16
"""Units that are applied at a time."""
TRIES = 3
TURNS = 10
"""Times that a unit is planned again because another applier was faster."""
SETTLE = 60.0
"""Seconds for a Namespace or CRD to be ready for what comes after it."""


async def apply(plan: Plan, records: Records, waiter: Waiter, options: Options, tell: Tell) -> list[Outcome]:
    """One outcome a unit, whatever became of the others. The environment's ground comes first."""
    ground = [unit for unit in plan.units if not unit.unit.model]
    models = [unit for unit in plan.units if unit.unit.model]
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(unit: UnitPlan) -> Outcome:
        async with slots:
            return await _Unit(plan, records, waiter, options, tell).run(unit)

    outcomes = [await one(unit) for unit in ground]
    return [*outcomes, *await asyncio.gather(*(one(unit) for unit in models))]


@dataclass
class _Unit:
    """The apply of one unit. What it has done is kept here, so that the inventory can be made exact after a fault."""

    plan: Plan
    records: Records
    waiter: Waiter
    options: Options
    tell: Tell
    done: list[Event] = field(default_factory=list)
    written: dict[Identity, Entry] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)
    record: Record | None = None
    lost: bool = False
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, unit: UnitPlan) -> Outcome:
        try:
            return await self._in_turn(unit)
        except Report as report:
            return self._outcome(unit, Result.REFUSED, *report.diagnostics)
        except (ApiError, Unreachable) as error:
            return self._broken(unit, error)

    async def _in_turn(self, unit: UnitPlan) -> Outcome:
        for _ in range(TURNS):
            self.lost, self.record = False, None
            self.findings.clear()
            if (early := self._nothing_to_do(unit)) is not None:
                return early
            try:
                return await self._run(unit)
            except Lost:
                if self.done:
                    break  # half-way: whoever has the lease now finishes it
            unit = await planning.again(self.plan, unit, self.records)
        hint = "plan again: it may be done already"
        problem = Diagnostic("AIF732", f"{unit.unit} was taken over by another applier", hint)
        return self._outcome(unit, Result.FAILED, problem)

    def _nothing_to_do(self, unit: UnitPlan) -> Outcome | None:
        if unit.wanted is not None and unit.inventory.holds(unit.wanted.tree) and not self.options.release_hold:
            hint = "commit a change of this model, or `--release-hold` to try the same again"
            problem = Diagnostic("AIF760", f"{unit.unit} is held: what Git has was rolled back", hint)
            return Outcome(unit=unit.unit, result=Result.HELD, findings=(problem,), tree=unit.wanted.tree)
        if unit.blocked:
            return Outcome(unit=unit.unit, result=Result.REFUSED, findings=unit.findings)
        if not self._is_settled(unit) or (self.options.wait and unit.wanted is not None):
            return None
        return Outcome(unit=unit.unit, result=Result.UNCHANGED, tree=unit.wanted.tree if unit.wanted else "")

    def _is_settled(self, unit: UnitPlan) -> bool:
        """Whether nothing is to be written, neither objects nor the inventory."""
        return not (unit.differs or unit.must_record or self.options.hold or self._revives(unit))

    def _revives(self, unit: UnitPlan) -> bool:
        """Whether the newest revision on record is of a failure, or of another tree with the same objects."""
        last = unit.inventory.revisions[-1] if unit.inventory.revisions else None
        if unit.wanted is None or last is None:
            return unit.wanted is None
        return last.outcome == "failed"

    async def _run(self, unit: UnitPlan) -> Outcome:
        if self._is_settled(unit):
            waited = await self._waited(unit)  # asked to wait, with nothing to write
            return self._outcome(unit, Result.FAILED if waited else Result.UNCHANGED, *waited)
        before = unit.inventory
        superset = {**{item.identity: writing.planned(item) for item in unit.items}, **before.by_identity}
        inventory = replace(before, platform=self.plan.request.platform).with_entries(superset.values())
        self.record = await self.records.take(unit.record, inventory, self.options.lock_timeout)
        renewal = asyncio.create_task(self._renew())
        try:
            result = await self._steps(unit)
        except (ApiError, Unreachable) as error:
            self.findings.append(_finding(error, str(unit.unit)))
            result = Result.FAILED
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
        return await self._recorded(unit, result)

    async def _steps(self, unit: UnitPlan) -> Result:
        if not await self._applied(unit):
            return Result.FAILED
        if waited := (await self._waited(unit) if self.options.wait else []):
            self.findings += waited
            return Result.FAILED
        return Result.APPLIED if await self._pruned(unit) else Result.PARTIAL

    # Stages

    async def _applied(self, unit: UnitPlan) -> bool:
        """Stage by stage; what comes after a stage that failed is not sent."""
        changing = [item for item in unit.items if item.action is not Action.UNCHANGED]
        for number in sorted({stage(item.identity.kind) for item in changing}):
            items = [item for item in changing if stage(item.identity.kind) == number]
            found = await self._all_sent(unit.unit, items) or await self._not_ready(items)
            self.findings += found
            if found:
                return False
        return True

    async def _all_sent(self, unit: Unit, items: list[Item]) -> list[Diagnostic]:
        """Problems of single objects. Raises Lost, Unreachable when all that was begun has ended, so that nothing is
        written after the inventory; what was not begun by then is not sent."""
        slots, stop = asyncio.Semaphore(CONNECTIONS), asyncio.Event()

        async def one(item: Item) -> Diagnostic | None:
            async with slots:
                if stop.is_set():
                    return None
                try:
                    return await self._sent(unit, item)
                except BaseException:
                    stop.set()
                    raise

        ended = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each
        return [each for each in ended if isinstance(each, Diagnostic)]

    async def _not_ready(self, items: list[Item]) -> list[Diagnostic]:
        """What the next stages lean on and is not ready in time."""
        waited = [(i.identity, i.resource) for i in items if i.identity.kind in LEANT_ON and i.resource is not None]
        late = await settle(self.plan.ground.client, waited, SETTLE) if waited else []
        hint = "see its conditions; what leans on it was not sent"
        return [Diagnostic("AIF750", f"{identity} is not ready after {SETTLE:.0f} s", hint) for identity in late]

    async def _sent(self, unit: Unit, item: Item) -> Diagnostic | None:
        await self._check_lease()
        if self.options.stopping():
            return _stopped(item.identity)
        client = self.plan.ground.client.acting_as(self.options.account(unit))
        try:
            what, found = await writing.write(client, item, force=self.plan.request.choices.force_conflicts)
        except ApiError as error:
            return _of_conflicts(item, error) or error.finding(str(item.identity))
        except Report as report:
            return report.diagnostics[0]
        self.written[item.identity] = writing.entry_of(item.object, found)
        self._tell(unit, what, item.identity)
        return None

    # Waiting and pruning

    async def _waited(self, unit: UnitPlan) -> list[Diagnostic]:
        awaited = [(item.identity, item.resource) for item in unit.items if item.resource is not None]
        if unmade := [item for item in unit.items if item.resource is None]:
            awaited += [
                (item.identity, await writing.now_known(self.plan.ground.client, item.object)) for item in unmade
            ]
        if not awaited:
            return []
        self._tell(unit.unit, "waiting")
        written = {identity: entry.resource_version for identity, entry in self.written.items()}
        found = await self.waiter.until_healthy(awaited, self.options.timeout, written)
        if not found:
            self._tell(unit.unit, "healthy")
        return found

    async def _pruned(self, unit: UnitPlan) -> bool:
        """Deletes in reverse apply order, kind by kind. What can't go, or is held by a finalizer, stays on record."""
        client = self.plan.ground.client.acting_as(self.options.account(unit.unit))
        going = [each for each in unit.removals if each.delete]
        leaving: list[Removal] = []
        clean = True
        for removal in going:
            await self._check_lease()
            stopped = _stopped(removal.entry.identity) if self.options.stopping() else None
            gone, problem = (False, stopped) if stopped else await prune.delete(client, removal)
            if problem is not None:
                self.findings.append(problem)
                clean = False
                continue
            self._tell(unit.unit, "deleted", removal.entry.identity)
            if not gone:
                leaving.append(removal)
        left = await self._until_gone(leaving)
        self._gone = {each.entry.identity for each in going if each.entry.identity in self._deleted()} - left
        return clean and not (left and self.options.wait)

    def _deleted(self) -> set[Identity]:
        return {event.identity for event in self.done if event.what == "deleted" and event.identity is not None}

    async def _until_gone(self, leaving: list[Removal]) -> set[Identity]:
        if not leaving:
            return set()
        if not self.options.wait:
            return {each.entry.identity for each in leaving}
        objects = [(each.entry.identity, each.resource) for each in leaving if each.resource is not None]
        limit = self.options.timeout or writing.GONE
        left = await self.waiter.until_gone(objects, limit)
        for identity in left:
            there = self.waiter.observer.objects.get(identity)
            subject = health.Subject(identity.kind, identity.name, identity.namespace)
            self.findings.append(health.never_deleted(subject, health.assess(there), limit))
        return set(left)

    _gone: set[Identity] = field(default_factory=set)

    # The record

    async def _recorded(self, unit: UnitPlan, result: Result) -> Outcome:
        """Writes what is there now, and gives the lease back."""
        if self.lost or self.record is None:
            raise Lost
        inventory = self._exact(unit, result)
        try:
            if unit.wanted is None and not inventory.entries and result is Result.APPLIED:
                await self.records.remove(self.record)
            else:
                self.record = await self.records.save(self.record, inventory, release=True)
        except (ApiError, Unreachable) as error:
            # The superset stands, and the lease runs out by itself: nothing is lost.
            self.findings.append(_finding(error, f"inventory of {unit.unit}"))
            result = Result.FAILED
        outcome = self._outcome(unit, result)
        return replace(outcome, inventory=inventory)

    def _exact(self, unit: UnitPlan, result: Result) -> Inventory:
        assert self.record is not None
        entries = dict(self.record.inventory.by_identity)
        for item in unit.items:
            if item.identity in self.written:
                entries[item.identity] = self.written[item.identity]
            elif (fresh := writing.known_anew(item)) is not None:
                entries[item.identity] = fresh
        if result in (Result.APPLIED, Result.PARTIAL):
            for removal in unit.removals:
                if removal.entry.identity in self._gone or not removal.remembered:
                    entries.pop(removal.entry.identity, None)
        inventory = self.record.inventory.with_entries(entries.values())
        return self._with_revision(unit, inventory, result)

    def _with_revision(self, unit: UnitPlan, inventory: Inventory, result: Result) -> Inventory:
        options = self.options
        if options.hold or options.release_hold:
            inventory = replace(inventory, held=options.hold)
        elif result is Result.APPLIED and unit.wanted is not None and inventory.held != unit.wanted.tree:
            inventory = replace(inventory, held="")
        tree = unit.wanted.tree if unit.wanted is not None else ""
        outcome = options.outcome if result in (Result.APPLIED, Result.PARTIAL) else "failed"
        last = inventory.revisions[-1] if inventory.revisions else None
        if last is not None and (last.tree, last.outcome) == (tree, outcome):
            return inventory  # drift was repaired: nothing new for the history
        if outcome == "failed" and options.stopping():
            return inventory  # who goes on with it says what becomes of it
        return inventory.with_revision(
            Revision(
                number=0,
                tree=tree,
                commit=options.commit,
                at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                by=options.by,
                outcome=outcome,
                message="; ".join(found.message for found in self.findings)[:500],
            )
        )

    async def _renew(self) -> None:
        """Until it is cancelled, or the lease is somebody else's."""
        while not self.lost:
            await asyncio.sleep(LEASE / 3)
            with contextlib.suppress(ApiError, Unreachable):  # while the lease lasts, the next time will do
                await self._hold()

    async def _hold(self) -> None:
        """Writes the lease anew, unless somebody else has taken it."""
        assert self.record is not None
        try:
            self.record = await self.records.save(self.record, self.record.inventory, release=False)
        except Lost:
            self.lost = True

    async def _check_lease(self) -> None:
        """Before each write. A lease that ran out (no answers, or this machine slept) is renewed first.

        Raises Lost.
        """
        async with self.renewing:
            if not self.lost and self.record is not None and not is_held(self.record):
                await self._hold()
        if self.lost:
            raise Lost

    def _tell(self, unit: Unit, what: str, identity: Identity | None = None) -> None:
        event = Event(unit=unit, what=what, identity=identity)
        self.done.append(event)
        self.tell(event)

    def _outcome(self, unit: UnitPlan, result: Result, *findings: Diagnostic) -> Outcome:
        done = tuple(event for event in self.done if event.identity is not None)
        found = (*(f for f in unit.findings if f.severity is not Severity.ERROR), *self.findings, *findings)
        tree = unit.wanted.tree if unit.wanted is not None else ""
        return Outcome(unit=unit.unit, result=result, done=done, findings=found, tree=tree)

    def _broken(self, unit: UnitPlan, error: ApiError | Unreachable) -> Outcome:
        return self._outcome(unit, Result.FAILED, _finding(error, str(unit.unit)))


def _of_conflicts(item: Item, error: ApiError) -> Diagnostic | None:
    """Somebody took a field between our look and our write."""
    if not error.conflicts:
        return None
    first = error.conflicts[0]
    return Diagnostic(
        "AIF720",
        f"{item.identity}: `{first.field.lstrip('.')}` is owned by {first.manager}",
        "it was taken since the plan was made; plan again",
    )


def _finding(error: ApiError | Unreachable, what: str) -> Diagnostic:
    return error.finding() if isinstance(error, Unreachable) else error.finding(what)


def _stopped(identity: Identity) -> Diagnostic:
    return Diagnostic("AIF774", f"{identity} was not written: aifctl was told to stop", "the next start goes on")
