"""One unit, planned and applied: by the account of its tenant, on its own inventory, for its commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from aifctl.cluster import apply as engine
from aifctl.cluster import discovery, fields, planning
from aifctl.cluster.client import OURSELVES, Account, Client
from aifctl.cluster.discovery import Discovery
from aifctl.cluster.ground import Choices, Ground
from aifctl.cluster.inventory import Inventory, Unit
from aifctl.cluster.outcome import Event, Options, Outcome, Result
from aifctl.cluster.planning import Plan, Request, UnitPlan
from aifctl.cluster.policy import Policy
from aifctl.cluster.records import Records
from aifctl.cluster.snapshot import Snapshot
from aifctl.cluster.wait import Waiter
from aifctl.cluster.wanted import Wanted
from aifctl.cluster.watch import Observer
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.manifest import Identity
from aifctl.plan.change import Action
from aifctl.reconcile.book import Book, State, Work
from aifctl.reconcile.settings import ADMIN, Settings
from aifctl.spec.models.platform import Environment

LOCK = 10.0
"""Seconds to wait for another applier of the same unit; then it is another try."""
STALE = 5.0
"""Seconds after which the kinds of the server are asked for again when a unit fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of a unit. `done` are the objects written; `differing` those that would be, and may not."""

    state: State
    findings: tuple[Diagnostic, ...] = ()
    done: tuple[Event, ...] = ()
    differing: tuple[Identity, ...] = ()
    inventory: Inventory | None = None
    """As it is on record now; None where there is none."""
    accepted: Mapping[Identity, tuple[str, str]] = field(default_factory=dict)
    settled: bool = False
    """The plan found nothing to do."""
    result: str = ""
    passing: bool = False
    """The server was away or busy: it is not the unit's fault."""


@dataclass(kw_only=True)
class Deliverer:
    """For one environment as one commit has it."""

    client: Client
    records: Records
    settings: Settings
    environment: Environment
    platform: str
    idle: frozenset[str]
    policy: Policy
    book: Book
    observer: Observer
    kinds: Discovery
    salt: bytes
    by: str
    stopping: Callable[[], bool]
    _asked: float = 0.0

    async def refresh(self) -> bool:
        """Asks for the kinds of the server anew, unless it was asked just now."""
        if time.monotonic() - self._asked < STALE:
            return False
        self.kinds, self._asked = await discovery.discover(self.client), time.monotonic()
        return True

    async def deliver(self, work: Work) -> Delivered:
        """Raises ApiError, Unreachable, Report."""
        record = await self.records.one(work.unit)
        inventory = record.inventory
        if inventory.suspended or (work.wanted is not None and inventory.holds(work.wanted.tree)):
            state = State.SUSPENDED if inventory.suspended else State.HELD
            return Delivered(state=state, inventory=inventory)
        if work.wanted is None and not record.version:
            return Delivered(state=State.SYNCED, settled=True)
        wanted = work.wanted.unpacked() if work.wanted is not None else None
        ground = self._ground(work.unit, wanted)
        found = await planning.alone(ground, self._request(), record, wanted)
        if self.settings.detect_only or not self.may_write(work.unit):
            return self._compared(found)
        return await self._applied(work, ground, found)

    def may_write(self, unit: Unit) -> bool:
        return bool(unit.model) or self.settings.admin or not self.settings.impersonate

    def account(self, unit: Unit) -> Account:
        """Never taken from what lies in the cluster: a forged inventory must lend nobody's rights."""
        if not self.settings.impersonate or (not unit.model and not self.settings.admin):
            return OURSELVES
        if not unit.model:
            return Account.of_account(self.settings.namespace, ADMIN)
        return Account.of_account(self.environment.namespace_of(unit.tenant), self.environment.apply.account)

    def _ground(self, unit: Unit, wanted: Wanted | None) -> Ground:
        return Ground(
            client=self.client.acting_as(self.account(unit)),
            snapshot=Snapshot(self.kinds),
            policy=self.policy,
            choices=Choices(force_conflicts=self.settings.force_conflicts),
            wanted=(wanted,) if wanted is not None else (),
            salt=self.salt,
            elsewhere=self.book.homes,
        )

    def _request(self) -> Request:
        return Request(
            environment=self.environment.name,
            platform=self.platform,
            wanted=(),
            policy=self.policy,
            choices=Choices(force_conflicts=self.settings.force_conflicts),
            is_idle=self.idle.__contains__,
            salt=self.salt,
        )

    def _compared(self, found: UnitPlan) -> Delivered:
        differing = tuple(change.identity for change in found.changes if change.action is not Action.UNCHANGED)
        findings = tuple(found.findings)
        if found.blocked:
            return Delivered(state=State.FAILED, findings=findings, differing=differing, inventory=_on_record(found))
        if not differing:
            return replace(_nothing(found), findings=findings)
        if not found.unit.model and not self.settings.detect_only:
            message = f"{found.unit}: {len(differing)} objects differ and are not written without `--admin`"
            hint = "`aifctl apply` by an administrator, or `aifctl init --reconciler --admin`"
            findings = (*findings, Diagnostic("AIF776", message, hint))
        return Delivered(state=State.DRIFTED, findings=findings, differing=differing, inventory=_on_record(found))

    async def _applied(self, work: Work, ground: Ground, found: UnitPlan) -> Delivered:
        """What is no longer wanted goes when what replaces it is healthy: pods must not lose what they still use."""
        waits = (
            found.wanted is not None and any(each.delete for each in found.removals) and self._unhealthy(work, found)
        )
        chosen = replace(found, removals=()) if waits else found
        plan = Plan(request=self._request(), ground=ground, units=(chosen,))
        options = Options(
            lock_timeout=LOCK, commit=work.commit, by=self.by, account=self.account, stopping=self.stopping
        )
        waiter = Waiter(self.client, self.observer)
        (outcome,) = await engine.apply(plan, self.records, waiter, options, lambda event: None)
        inventory = outcome.inventory if outcome.inventory is not None else _on_record(found)
        if (
            found.wanted is None
            and outcome.result is Result.APPLIED
            and inventory is not None
            and not inventory.entries
        ):
            inventory = None
        return Delivered(
            state=State.SETTLING if waits and not outcome.failed else _state(outcome),
            findings=outcome.findings,
            done=outcome.done,
            inventory=inventory,
            accepted=_accepted(found),
            settled=outcome.result is Result.UNCHANGED and not waits,
            result=str(outcome.result),
            passing=_is_passing(outcome),
        )

    def _unhealthy(self, work: Work, found: UnitPlan) -> bool:
        new = any(item.action is not Action.UNCHANGED for item in found.items)
        return new or bool(self.book.unhealthy(work))


def _state(outcome: Outcome) -> State:
    if outcome.result is Result.HELD:
        return State.HELD
    return State.FAILED if outcome.failed else State.SYNCED


def _is_passing(outcome: Outcome) -> bool:
    found = [each for each in outcome.findings if each.severity is Severity.ERROR]
    return bool(found) and all(each.code in ("AIF703", "AIF730", "AIF732", "AIF774") for each in found)


def _nothing(found: UnitPlan) -> Delivered:
    return Delivered(state=State.SYNCED, inventory=_on_record(found), accepted=_accepted(found), settled=True)


def _on_record(found: UnitPlan) -> Inventory | None:
    return found.inventory if found.record.version else None


def _accepted(found: UnitPlan) -> dict[Identity, tuple[str, str]]:
    """Objects that the server says are right although they are not as they were left: a default that came, say."""
    right = {}
    for item in found.items:
        if item.action is Action.UNCHANGED and item.live is not None:
            observed = fields.observed(item.live)
            if item.entry is None or item.entry.observed != observed:
                right[item.identity] = (str(item.live["metadata"]["uid"]), observed)
    return right
