"""`aifctl status`, `history`, `wait`: how an environment's models stand, read from its cluster. Writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from aifctl.cluster import discovery, health, snapshot, standing
from aifctl.cluster.client import Client
from aifctl.cluster.health import Health, State, Subject, Trouble
from aifctl.cluster.inventory import ENDED, Inventory, Unit
from aifctl.cluster.records import Record, Records
from aifctl.cluster.snapshot import Live, Snapshot
from aifctl.cluster.standing import Git, Standing
from aifctl.cluster.wait import Waiter, trouble_of, with_log
from aifctl.cluster.watch import Observer
from aifctl.delivery.desired import Desired
from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Identity, Manifest
from aifctl.plan.diff import is_run
from aifctl.render.ownership import ENVIRONMENT
from aifctl.spec.schema import did_you_mean

TROUBLED = (State.FAILED, State.PROGRESSING, State.PENDING)
"""Whose pods are asked what ails them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """`troubles` are the pods' own words, with the last lines of the container, by object."""

    environment: str
    standings: tuple[Standing, ...]
    troubles: dict[Identity, tuple[Trouble, tuple[str, ...]]]
    problems: tuple[Diagnostic, ...] = ()

    @property
    def healthy(self) -> bool:
        """A model whose newest run failed is not, whatever else of it is well."""
        states = [each.health.state for each in self.standings]
        runs = [each.run_health.state for each in self.standings if each.run_health is not None]
        well = all(state in (State.HEALTHY, State.SUSPENDED) for state in states)
        return not self.problems and well and State.FAILED not in runs


def git_of(desired: Desired) -> Git:
    """What Git has, for the comparison with what was applied."""
    trees = {wanted.unit: wanted.tree for wanted in desired.wanted}
    return Git(trees=trees, broken=desired.frozen, complete=desired.complete)


async def status(client: Client, records: Records, git: Git | None, names: Sequence[str] = ()) -> Status:
    """Of the models of these names, of all where there are none. Raises Report (AIF746) for one that is nowhere."""
    known, problems = await records.all()
    chosen = _chosen(known, names, git)
    seen = await _seen(client, records.environment, chosen)
    wanted = git if not names or git is None else _only(git, names)
    found = standing.standings(chosen, seen, wanted, datetime.now(UTC))
    ailing = [each for one in found for each in one.ailing if each.live is not None and each.health.state in TROUBLED]
    words = await asyncio.gather(*(trouble_of(client, each.live) for each in ailing))
    troubles = {
        each.identity: (trouble, tuple(lines))
        for each, (trouble, lines) in zip(ailing, words, strict=True)
        if trouble is not None
    }
    blamed = tuple(_blamed(each, troubles) for each in found)
    return Status(environment=records.environment, standings=blamed, troubles=troubles, problems=tuple(problems))


async def repeated(
    client: Client, records: Records, git: Git | None, names: Sequence[str], every: float
) -> AsyncIterator[Status]:
    """Again and again, without end."""
    while True:
        yield await status(client, records, git, names)
        await asyncio.sleep(every)


async def history(records: Records, name: str) -> Inventory:
    """The record of one model. Raises Report (AIF746)."""
    known, problems = await records.all()
    return one(known, name, problems).inventory


def one(known: dict[Unit, Record], name: str, problems: Iterable[Diagnostic] = ()) -> Record:
    """The record of a model by its name; `platform` is the environment's ground. Raises Report (AIF746)."""
    found = [record for unit, record in known.items() if (unit.model or "platform") == name]
    if found:
        return found[0]
    hint = did_you_mean(name, (unit.model or "platform" for unit in known), "on record are")
    raise Report(*problems, Diagnostic("AIF746", f"no model `{name}` is on record in this environment", hint))


async def ended(client: Client, records: Records, name: str, timeout: float) -> tuple[Identity, Health]:
    """Waits for the end of a model's newest run, well or badly. Raises Report (AIF746, AIF750, AIF752)."""
    until = asyncio.get_running_loop().time() + timeout
    while True:
        run = await _newest_run(client, records, name)
        if run is None:
            raise Report(Diagnostic("AIF747", f"model `{name}` has no run in environment `{records.environment}`",
                                    "`aifctl apply` starts one where the environment trains"))  # fmt: skip
        identity, live = run
        verdict = health.assess(live, datetime.now(UTC))
        subject = Subject(identity.kind, identity.name, identity.namespace)
        if health.ended(live):
            if verdict.state is State.HEALTHY:
                return identity, verdict
            trouble, lines = await trouble_of(client, live)
            raise Report(with_log(health.ended_badly(subject, verdict, trouble), lines))
        if asyncio.get_running_loop().time() > until:
            trouble, lines = await trouble_of(client, live)
            raise Report(with_log(health.timed_out(subject, verdict, timeout, trouble), lines))
        await asyncio.sleep(1.0)


async def healthy(client: Client, records: Records, name: str, timeout: float) -> str:
    """Waits until all objects of a model are healthy. Raises Report (AIF746, AIF750 to AIF753)."""
    known, problems = await records.all()
    record = one(known, name, problems)
    seen = await _seen(client, records.environment, [record])
    pairs = ((entry, seen.resource_of(entry)) for entry in record.inventory.entries)
    objects = [(entry.identity, kind) for entry, kind in pairs if kind is not None and entry.observed != ENDED]
    async with Observer(client, f"{ENVIRONMENT}={records.environment}") as observer:
        found = await Waiter(client, observer).until_healthy(objects, timeout)
    if found:
        raise Report(*found)
    return f"{record.inventory.unit}: healthy ({len(objects)} objects)"


def as_json(found: Status) -> dict[str, Any]:
    return {
        "environment": found.environment,
        "healthy": found.healthy,
        "models": [_json(each, found) for each in found.standings],
        "findings": [{"code": d.code, "message": d.message} for d in found.problems],
    }


def history_as_json(inventory: Inventory) -> dict[str, Any]:
    return {
        "environment": inventory.unit.environment,
        "tenant": inventory.unit.tenant,
        "model": inventory.unit.model,
        "held": inventory.held,
        "suspended": inventory.suspended,
        "objects": len(inventory.entries),
        "revisions": [{name: getattr(r, name) for name in r.__slots__} for r in inventory.revisions],
    }


def _json(each: Standing, found: Status) -> dict[str, Any]:
    return {
        **each.unit._asdict(),
        "sync": str(each.sync),
        "health": _health(each.health),
        "run": each.run,
        "run_health": _health(each.run_health) if each.run_health else None,
        "serving": each.serving,
        "since": each.since,
        "revision": each.revision,
        "commit": each.commit,
        "objects": each.objects,
        "note": each.note,
        "drifted": [identity._asdict() for identity in each.drifted],
        "ailing": [
            {**one.identity._asdict(), "health": _health(one.health), **_trouble(found, one.identity)}
            for one in each.ailing
        ],
    }


def _health(health_: Health) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(health_).items()}


def _trouble(found: Status, identity: Identity) -> dict[str, Any]:
    if identity not in found.troubles:
        return {}
    trouble, lines = found.troubles[identity]
    return {"trouble": asdict(trouble), "log": list(lines)}


def _blamed(each: Standing, troubles: Mapping[Identity, tuple[Trouble, tuple[str, ...]]]) -> Standing:
    """With the phase that its pods are stuck in, not the workload's: that only counts them."""
    if not each.ailing or each.ailing[0].identity not in troubles:
        return each
    trouble, _ = troubles[each.ailing[0].identity]
    return replace(each, health=replace(each.health, phase=trouble.phase))


def _chosen(known: dict[Unit, Record], names: Sequence[str], git: Git | None) -> list[Record]:
    if not names:
        return list(known.values())
    new = {unit.model for unit in git.trees} if git is not None else set()
    return [one(known, name) for name in names if name not in new or any(unit.model == name for unit in known)]


def _only(git: Git, names: Sequence[str]) -> Git:
    trees = {unit: tree for unit, tree in git.trees.items() if (unit.model or "platform") in names}
    return Git(trees=trees, broken=git.broken, complete=git.complete)


async def _seen(client: Client, environment: str, records: Iterable[Record]) -> Snapshot:
    known = await discovery.discover(client)
    entries = chain.from_iterable(record.inventory.entries for record in records)
    return await snapshot.take(client, known, environment, (), entries)


async def _newest_run(client: Client, records: Records, name: str) -> tuple[Identity, Live] | None:
    known, problems = await records.all()
    record = one(known, name, problems)
    seen = await _seen(client, records.environment, [record])
    ours = {entry.identity: seen.objects.get(entry.identity) for entry in record.inventory.entries}
    runs = [(identity, live) for identity, live in ours.items() if live is not None and is_run(Manifest(live))]
    return max(runs, key=lambda each: str(each[1]["metadata"].get("creationTimestamp", "")), default=None)
