"""What must hold after any fault, however it ended: nothing lost, nothing foreign touched, the next run finishes."""

from __future__ import annotations

from typing import Any

from aifctl.cluster.outcome import Options, Outcome, Result
from aifctl.cluster.wanted import Wanted
from aifctl.manifest import Identity
from aifctl.plan.change import Action
from aifctl.render.ownership import ENVIRONMENT, MODEL, TENANT
from tests.cluster.world import World, config
from tests.controlplane.cluster import Cluster

KINDS = (
    ("", "v1", "ConfigMap"), ("", "v1", "Service"), ("", "v1", "Secret"), ("apps", "apps/v1", "Deployment"),
    ("batch", "batch/v1", "Job"), ("policy", "policy/v1", "PodDisruptionBudget"),
)  # fmt: skip
AT_ONCE = Options(lock_timeout=0)
"""Refused where somebody holds the lease: a dead holder must not be waited for."""


def strangers(plane: Cluster, world: World) -> dict[str, Any]:
    """Makes objects that are not ours: one of no label, one that claims to be ours. Name → the live object."""
    metadata = {"namespace": world.namespace}
    claims = {ENVIRONMENT: world.environment, TENANT: "vision", MODEL: "digits"}
    plain = {**config("stranger"), "metadata": {**metadata, "name": "stranger"}}
    alike = {**config("looks-alike"), "metadata": {**metadata, "name": "looks-alike", "labels": claims}}
    return {each["metadata"]["name"]: plane.create(each) for each in (plain, alike)}


def ours(plane: Cluster, world: World) -> dict[Identity, str]:
    """What is there of this environment: identity → uid. Without the stranger that claims to be."""
    found = {}
    for group, version, kind in KINDS:
        for live in plane.list(version, kind, world.namespace, labelSelector=f"{ENVIRONMENT}={world.environment}"):
            metadata = live["metadata"]
            if metadata["name"] != "looks-alike":
                found[Identity(group, kind, metadata["namespace"], metadata["name"])] = metadata["uid"]
    return found


def covered(plane: Cluster, world: World) -> None:
    """The inventories have everything that is there: nothing is lost, wherever the run was ended."""
    on_record = {entry.identity for record in world.inventories().values() for entry in record.inventory.entries}
    assert set(ours(plane, world)) <= on_record


def finished(
    plane: Cluster, world: World, wanted: Wanted, foreign: dict[str, Any], options: Options = AT_ONCE
) -> list[Outcome]:
    """The next run finishes, the inventory is exact, and the run after it has nothing to do."""
    outcomes = world.apply(wanted, options=options)
    assert {outcome.result for outcome in outcomes} <= {Result.APPLIED, Result.UNCHANGED}, outcomes
    exact(plane, world, wanted, foreign)
    return outcomes


def exact(plane: Cluster, world: World, wanted: Wanted, foreign: dict[str, Any]) -> None:
    there = ours(plane, world)
    assert set(there) == {manifest.identity for manifest in wanted.manifests}
    record = world.record(wanted.unit.model)
    assert {entry.identity: entry.uid for entry in record.inventory.entries} == there
    assert not record.holder
    numbers = [revision.number for revision in record.inventory.revisions]
    assert numbers == sorted(set(numbers))
    assert [each.tree for each in record.inventory.revisions if each.outcome != "failed"][-1] == wanted.tree
    assert [each for each in world.plan(wanted).changes if each.action is not Action.UNCHANGED] == []
    again = world.apply(wanted)
    assert [outcome.result for outcome in again] == [Result.UNCHANGED], again
    assert world.record(wanted.unit.model) == record
    for live in foreign.values():
        assert plane.get(live) == live
