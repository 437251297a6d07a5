"""`aifctl rollback` and `aifctl destroy`: back to a former revision, or out of the cluster."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from aifctl.cluster import discovery, prune, snapshot
from aifctl.cluster.client import Client
from aifctl.cluster.ground import Choices, Ground
from aifctl.cluster.inventory import Revision
from aifctl.cluster.outcome import Options, Outcome, Tell, failed
from aifctl.cluster.planning import Plan, Request, UnitPlan
from aifctl.cluster.prune import Pruning
from aifctl.cluster.records import Record, Records
from aifctl.delivery import applying, clusters, environments, status
from aifctl.delivery.applying import Cluster
from aifctl.delivery.clusters import Door
from aifctl.diagnostics import Diagnostic, Report
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment

PLATFORM = "platform"
"""What the environment's own ground is called where models are."""


def rollback(
    repository: Repository,
    environment: Environment,
    door: Door,
    how: tuple[str, int | None, bool],
    options: Options,
    tell: Tell,
) -> tuple[Outcome, Revision]:
    """Applies a former revision of one model again; `how` is its name, the revision's number (the newest good one when
    None), and whether a tree that this aifctl compiles otherwise will do. Raises Report (AIF746, AIF761 to AIF763)."""
    environments.refuse_others(environments.address(environment))
    name, number, any_tree = how

    async def act(client: Client, records: Records) -> tuple[Outcome, Revision]:
        inventory = await status.history(records, name)
        revision = inventory.former(number)
        if revision is None:
            hint = f"`aifctl history {name} --env {environment.name}` lists what there is"
            what = "no other good revision" if number is None else f"no revision {number}"
            raise Report(Diagnostic("AIF761", f"{inventory.unit} has {what} to go back to", hint))
        cluster = Cluster(
            repository=repository,
            client=client,
            records=records,
            tell=tell,
            options=replace(options, by=clusters.who()),
        )
        asked = _request(repository, environment)
        return await applying.restore(cluster, asked, inventory, revision, any_tree=any_tree), revision

    return clusters.run(environments.address(environment), door, act)


def doomed(environment: Environment, door: Door, names: Sequence[str], *, data: bool) -> Plan:
    """What `destroy` would delete of these models, of all where there are none. Raises Report (AIF744, AIF746)."""

    async def act(client: Client, records: Records) -> Plan:
        return await _plan(environment, client, records, (names, data))

    _refuse_protected(environment)
    environments.refuse_others(environments.address(environment))
    return clusters.run(environments.address(environment), door, act)


def destroy(
    environment: Environment, door: Door, names: Sequence[str], options: Options, tell: Tell, *, data: bool
) -> list[Outcome]:
    """Deletes what the inventories of these models have, runs too, and with `data` what holds data. Raises Report.

    What models stand on goes after them, and stays where one of them could not go.
    """
    _refuse_protected(environment)
    environments.refuse_others(environments.address(environment))

    async def act(client: Client, records: Records) -> list[Outcome]:
        found = await _plan(environment, client, records, (names, data))
        outcomes: list[Outcome] = []
        for units in ([u for u in found.units if u.unit.model], [u for u in found.units if not u.unit.model]):
            if units and not failed(outcomes):
                part = replace(found, units=tuple(units))
                outcomes += await applying.carried_out(client, records, part, options, tell)
        return outcomes

    return clusters.run(environments.address(environment), door, act)


async def _plan(environment: Environment, client: Client, records: Records, what: tuple[Sequence[str], bool]) -> Plan:
    names, data = what
    known, problems = await records.all()
    chosen = [status.one(known, name, problems) for name in names] if names else list(known.values())
    entries = [entry for record in chosen for entry in record.inventory.entries]
    seen = await snapshot.take(client, await discovery.discover(client), environment.name, (), entries)
    request = _request(None, environment)
    ground = Ground(client, seen, request.policy, request.choices, (), secrets.token_bytes(16))
    units = tuple(_unit(ground, record, data) for record in sorted(chosen, key=lambda each: each.inventory.unit))
    return Plan(request=request, ground=ground, units=units, problems=tuple(problems))


def _unit(ground: Ground, record: Record, data: bool) -> UnitPlan:
    unit = record.inventory.unit
    rules = Pruning(unit=unit, snapshot=ground.snapshot, homes={}, masks=lambda: ground.masks, runs=True, holders=data)
    removed = prune.removals(rules, record.inventory, frozenset())
    return UnitPlan(unit=unit, wanted=None, record=record, removals=tuple(removed))


def _request(repository: Repository | None, environment: Environment) -> Request:
    platform = repository.platform.metadata.name if repository is not None and repository.platform is not None else ""
    return Request(
        environment=environment.name,
        platform=platform,
        wanted=(),
        policy=environments.policy(lambda: environment),
        choices=Choices(),
        allow_prune=True,
    )


def _refuse_protected(environment: Environment) -> None:
    if environment.apply.protect:
        hint = "take `apply: {protect: true}` out of the platform file, by a commit that is reviewed"
        raise Report(Diagnostic("AIF744", f"environment `{environment.name}` is protected", hint))


def running(plan: Plan) -> list[str]:
    """Runs that a destroy would kill."""
    from aifctl.cluster import health

    removals = [each for unit in plan.units for each in unit.removals if each.delete and each.live is not None]
    return [
        str(each.entry.identity)
        for each in removals
        if health.is_run(each.entry.identity.group, each.entry.identity.kind) and not health.ended(each.live)
    ]
