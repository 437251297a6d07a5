"""`aifctl plan --against cluster` and `aifctl apply`: what an environment should hold, and its cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl.cluster import apply as engine
from aifctl.cluster import planning as live_planning
from aifctl.cluster.client import Client
from aifctl.cluster.ground import Choices
from aifctl.cluster.inventory import Inventory, Revision, Unit
from aifctl.cluster.outcome import Options, Outcome, Result, Tell, failed
from aifctl.cluster.planning import Plan, Request
from aifctl.cluster.records import Records
from aifctl.cluster.wait import Waiter
from aifctl.cluster.wanted import Wanted
from aifctl.cluster.watch import Observer
from aifctl.delivery import clusters, environments, saved
from aifctl.delivery.clusters import Door
from aifctl.delivery.desired import Desired
from aifctl.delivery.saved import Saved
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.diagnostics.model import errors
from aifctl.manifest import Manifest
from aifctl.plan.diff import is_run
from aifctl.render.ownership import ENVIRONMENT

if TYPE_CHECKING:
    from aifctl.delivery.planning import Planned
    from aifctl.spec.load import Repository

WRITES = ("created", "changed", "replaced", "deleted")
"""What an event may say of an object, in the order in which it is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What whoever applies has chosen."""

    choices: Choices = field(default_factory=Choices)
    options: Options = field(default_factory=Options)
    allow_prune: bool = False
    rollback_on_failure: bool = False
    approved: Saved | None = None
    """The plan that this apply must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A rollback, and the revision it went back to; None where there was none to go back to."""

    outcome: Outcome
    revision: Revision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """`diagnostics` are the compile's, the plan's and those of all outcomes."""

    outcomes: tuple[Outcome, ...]
    restored: tuple[Restored, ...]
    diagnostics: tuple[Diagnostic, ...]
    plan: Plan

    @property
    def failed(self) -> bool:
        return failed(self.outcomes) or bool(errors(self.diagnostics))


def plan(desired: Desired, door: Door, how: How, save: Path | None = None, paths: Sequence[Path] = ()) -> Planned:
    """The live plan of an environment, kept in a file if one is named. Raises Report."""
    asked = _asked(desired, replace(how.choices, dry_run=True), how)

    async def act(client: Client, records: Records) -> Plan:
        return await live_planning.plan(client, records, asked)

    found = clusters.run(desired.address, door, act)
    _refuse_moved(how.approved, found)
    if save is not None:
        saved.save(found, save, desired.root, clusters.commit_of(desired.root), paths)
    return _planned(desired, found)


def apply(desired: Desired, door: Door, how: How, tell: Tell) -> Applied:
    """Applies an environment. Raises Report where nothing could be begun."""
    environments.refuse_others(desired.address)
    asked = _asked(desired, how.choices, how)
    commit = clusters.commit_of(desired.root)
    options = replace(how.options, commit=commit, by=clusters.who())
    if options.wait:
        options = replace(options, timeout=environments.timeout(desired.environment, options.timeout))

    async def act(client: Client, records: Records) -> Applied:
        found = await live_planning.plan(client, records, asked)
        _refuse_moved(how.approved, found)
        outcomes = await carried_out(client, records, found, options, tell)
        restored = []
        if how.rollback_on_failure:
            cluster = Cluster(repository=desired.repository, client=client, records=records, options=options, tell=tell)
            restored = await _rolled_back(cluster, asked, outcomes)
        told = [d for outcome in (*outcomes, *(each.outcome for each in restored)) for d in outcome.findings]
        every = dict.fromkeys((*desired.diagnostics, *found.problems, *told))
        return Applied(outcomes=tuple(outcomes), restored=tuple(restored), diagnostics=tuple(every), plan=found)

    return clusters.run(desired.address, door, act)


async def carried_out(client: Client, records: Records, plan: Plan, options: Options, tell: Tell) -> list[Outcome]:
    """Applies a plan, with one set of watches for all that waits."""
    async with Observer(client, f"{ENVIRONMENT}={plan.request.environment}") as observer:
        return await engine.apply(plan, records, Waiter(client, observer), options, tell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that is being worked on: what an apply needs besides its plan."""

    repository: Repository
    client: Client
    records: Records
    options: Options
    tell: Tell


async def restore(
    cluster: Cluster, asked: Request, inventory: Inventory, revision: Revision, *, any_tree: bool = False
) -> Outcome:
    """Applies a former revision of one unit again, and holds the tree that is there now. Raises Report.

    Whoever names a revision that is held itself wants it all the same.
    """
    wanted = former_wanted(cluster.repository, inventory.unit, revision, any_tree=any_tree)
    newest = inventory.revisions[-1].tree if inventory.revisions else ""
    hold = next((tree for tree in (newest, inventory.held) if tree != revision.tree), "")
    fixed = replace(asked, wanted=(wanted,), complete=False, allow_prune=True)
    found = await live_planning.plan(cluster.client, cluster.records, fixed)
    again = replace(cluster.options, outcome="rolled-back", hold=hold, commit=revision.commit, release_hold=True)
    (outcome,) = await carried_out(cluster.client, cluster.records, found, again, cluster.tell)
    return outcome


def former_wanted(repository: Repository, unit: Unit, revision: Revision, *, any_tree: bool) -> Wanted:
    """A unit as it was compiled at a revision. Raises Report (AIF762, AIF763)."""
    from aifctl.delivery import former

    if not revision.commit:
        hint = "only what was applied from a clean commit can be brought back; `aifctl history` shows which"
        raise Report(Diagnostic("AIF762", f"{unit}: revision {revision.number} has no commit on record", hint))
    try:
        then = former.compiled(repository, revision.commit, [unit.environment])
    except Report as report:
        message = f"{unit}: commit {revision.commit[:10]} can't be had: {report.diagnostics[0].message}"
        raise Report(Diagnostic("AIF762", message, report.diagnostics[0].hint)) from None
    found = next((each for compiled in then for each in environments.wanted(compiled) if each.unit == unit), None)
    if found is None:
        raise Report(Diagnostic("AIF762", f"{unit} does not compile at commit {revision.commit[:10]}"))
    if found.tree != revision.tree and not any_tree:
        hint = "use the aifctl of that time, or `--any-tree` to accept what this one makes of that commit"
        raise Report(Diagnostic("AIF763", f"{unit}: revision {revision.number} compiles to another tree now", hint))
    return found


async def _rolled_back(cluster: Cluster, asked: Request, outcomes: list[Outcome]) -> list[Restored]:
    """Every unit that failed and has a former good revision."""
    found = []
    for outcome in outcomes:
        inventory = outcome.inventory
        if outcome.result is not Result.FAILED or inventory is None:
            continue
        revision = inventory.former()
        try:
            if revision is None:
                raise Report(Diagnostic("AIF761", f"{outcome.unit}: there is no good revision to go back to"))
            found.append(Restored(outcome=await restore(cluster, asked, inventory, revision), revision=revision))
        except Report as report:
            failed = Outcome(unit=outcome.unit, result=Result.FAILED, findings=tuple(report.diagnostics))
            found.append(Restored(outcome=failed))
    return found


def _asked(desired: Desired, choices: Choices, how: How) -> Request:
    """A plan that must be the approved one asks the server of everything, as that one did, under the same salt."""
    return Request(
        environment=desired.address.name,
        platform=desired.platform,
        wanted=desired.wanted,
        frozen=desired.frozen,
        complete=desired.complete,
        policy=environments.policy(lambda: desired.environment),
        choices=choices if how.approved is None else replace(choices, dry_run=True),
        is_idle=environments.idle(desired.root, desired.specs),
        allow_prune=how.allow_prune,
        salt=how.approved.salt if how.approved is not None else b"",
    )


def _refuse_moved(approved: Saved | None, found: Plan) -> None:
    """Raises Report (AIF734)."""
    if approved is not None and (moved := saved.moved(approved, found)):
        raise Report(*moved)


def _planned(desired: Desired, found: Plan) -> Planned:
    from aifctl.delivery.planning import Planned
    from aifctl.plan.steps import plan_steps

    runs = [Manifest(live) for live in found.ground.snapshot.objects.values() if is_run(Manifest(live))]
    steps = plan_steps(runs, _compiled(found), desired.address.name)
    told = (*desired.diagnostics, *found.findings, *_held(found), *steps.diagnostics)
    return Planned(found.changes, steps.runs, told)


def _compiled(found: Plan) -> Iterable[Manifest]:
    """What was compiled; of a unit that is as it should be, what lives."""
    differing = {each.unit for each in found.ground.differing}
    for item in (item for unit in found.units for item in unit.items):
        if item.wanted.unit in differing or item.live is None:
            yield item.manifest
        else:
            yield Manifest(item.live)


def _held(found: Plan) -> Iterable[Diagnostic]:
    """Units whose changes an apply would not make."""
    hint = "commit a change of this model, or `aifctl apply --release-hold` to try the same again"
    for each in found.units:
        if each.wanted is not None and each.inventory.holds(each.wanted.tree):
            message = f"{each.unit} is held: what Git has was rolled back, an apply leaves it alone"
            yield Diagnostic("AIF760", message, hint, severity=Severity.WARNING)


def as_json(applied: Applied) -> dict[str, Any]:
    return {
        "environment": applied.plan.request.environment,
        "failed": applied.failed,
        "frozen": _frozen(applied),
        "units": [_unit_as_json(outcome) for outcome in applied.outcomes],
        "rollbacks": [
            {**_unit_as_json(each.outcome), "revision": each.revision.number if each.revision else None}
            for each in applied.restored
        ],
    }


def _unit_as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "tenant": outcome.unit.tenant,
        "model": outcome.unit.model,
        "result": str(outcome.result),
        "tree": outcome.tree,
        "objects": [{"action": event.what, **event.identity._asdict()} for event in outcome.done if event.identity],
        "findings": [
            {"code": d.code, "severity": str(d.severity), "message": d.message, "hint": d.hint, "notes": list(d.notes)}
            for d in outcome.findings
        ],
    }


def as_text(applied: Applied) -> str:
    """A line for the whole: what became of how many models and objects; then a line a rollback."""
    outcomes = (*applied.outcomes, *(each.outcome for each in applied.restored))
    counts = {result: sum(outcome.result is result for outcome in applied.outcomes) for result in Result}
    units = [f"{count} {result}" for result, count in counts.items() if count]
    frozen = [f"{len(names)} left as it is" for names in [_frozen(applied)] if names]
    told = f"{', '.join([*units, *frozen]) or 'no models'}; {written(outcomes)}"
    return "\n".join([f"{applied.plan.request.environment}: {told}", *map(_restored_line, applied.restored)])


def written(outcomes: Iterable[Outcome]) -> str:
    """`2 created, 1 deleted`."""
    counts = Counter(event.what for outcome in outcomes for event in outcome.done)
    return ", ".join(f"{counts[what]} {what}" for what in WRITES if counts[what]) or "nothing written"


def _restored_line(restored: Restored) -> str:
    unit, revision = restored.outcome.unit, restored.revision
    if revision is None or restored.outcome.failed:
        return f"{unit}: not rolled back"
    return f"{unit}: rolled back to revision {revision.number} (commit {revision.commit[:10]})"


def _frozen(applied: Applied) -> list[str]:
    """Models that do not compile: nothing of theirs was changed."""
    return sorted(name for name in applied.plan.request.frozen if name)
