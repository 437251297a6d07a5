"""What tests look at: live objects, what a plan says of each, and the same cluster by eyes that may only read."""

from __future__ import annotations

import json
import subprocess
import uuid
from dataclasses import replace
from typing import Any

from aifctl.cluster import apply, planning
from aifctl.cluster.client import Client
from aifctl.cluster.inventory import OF_ENVIRONMENT, SYSTEM
from aifctl.cluster.outcome import Options, Outcome
from aifctl.cluster.planning import Plan
from aifctl.cluster.records import Records
from aifctl.cluster.wait import Waiter
from aifctl.cluster.wanted import Wanted
from aifctl.cluster.watch import Observer
from aifctl.manifest import Manifest
from aifctl.plan.change import Action, Change
from aifctl.render.ownership import ENVIRONMENT
from tests.cluster.world import Object, World
from tests.controlplane.binaries import binaries
from tests.controlplane.cluster import Cluster

READS = ("get", "list", "watch")


def named(world: World, kind: str, name: str, version: str = "v1") -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": world.namespace}}


def live(plane: Cluster, world: World, kind: str, name: str, version: str = "v1") -> Object:
    found = plane.get(named(world, kind, name, version))
    assert found is not None, f"no {kind} {name}"
    return found


def changed(plan: Plan) -> dict[str, set[tuple[str, Any, Any]]]:
    """Name → (path, before, after) of each changed field, mappings and lists as JSON; what stays has no entry."""
    return {
        change.identity.name: {(field.shown_path, plain(field.before), plain(field.after)) for field in change.fields}
        for change in plan.changes
        if change.action is not Action.UNCHANGED
    }


def plain(value: Any) -> Any:
    return json.dumps(value, default=str, sort_keys=True) if isinstance(value, dict | list) else value


def of(plan: Plan, name: str) -> Change:
    (found,) = (change for change in plan.changes if change.identity.name == name)
    return found


def quiet(plan: Plan) -> bool:
    """Whether a plan changes nothing, says nothing and refuses nothing."""
    assert not plan.findings, plan.findings
    assert not changed(plan), [
        (change.identity.name, change.reason, change.fields) for change in plan.changes.effective
    ]
    return all(not change.reason for change in plan.changes)


def forget(plane: Cluster, world: World) -> None:
    """Takes the inventory away: whatever is planned next is held against the server, with no short cut."""
    for each in plane.list("v1", "ConfigMap", SYSTEM, labelSelector=f"{OF_ENVIRONMENT}={world.environment}"):
        plane.delete({"apiVersion": "v1", "kind": "ConfigMap", **each})


def seen_by(plane: Cluster, world: World, *verbs: str, also: tuple[str, ...] = ()) -> World:
    """The same world to a user with these verbs in its namespace (and others), who may read inventories besides."""
    name = f"reader-{uuid.uuid4().hex[:6]}"
    token = plane.account(world.namespace, name)
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": list(verbs or READS)}
    records = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
    for space, rule in (*((each, everything) for each in (world.namespace, *also)), (SYSTEM, records)):
        _grant(
            plane,
            space,
            f"{world.namespace}-{name}",
            rule,
            {"kind": "ServiceAccount", "name": name, "namespace": world.namespace},
        )
    return replace(world, kubeconfig=plane.write_kubeconfig(name, {"token": token}))


def _grant(plane: Cluster, namespace: str, name: str, rule: Object, subject: Object) -> None:
    group, where = "rbac.authorization.k8s.io", {"name": name, "namespace": namespace}
    role = {"apiGroup": group, "kind": "Role", "name": name}
    plane.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": where, "rules": [rule]})
    plane.create(
        {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": where, "roleRef": role, "subjects": [subject]}
    )


def kubectl(plane: Cluster, world: World, *words: str, given: str = "") -> str:
    command = [str(binaries() / "kubectl"), "--kubeconfig", str(plane.kubeconfig), "-n", world.namespace, *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


def managers(found: Object) -> set[str]:
    return {entry["manager"] for entry in found["metadata"].get("managedFields", ())}


def moved(world: World, model: str, namespace: str, *objects: Object) -> tuple[Manifest, ...]:
    """Manifests of a model in another namespace than the world's own."""
    found = (each.object for each in world.wanted(model, *objects).manifests)
    return tuple(Manifest({**each, "metadata": {**each["metadata"], "namespace": namespace}}) for each in found)


def apply_one(world: World, model: str, *wanted: Wanted) -> list[Outcome]:
    """Plans all of them and applies one: as when two apply at a time, each of whom knows the whole repository."""

    async def act(client: Client, records: Records) -> list[Outcome]:
        found = await planning.plan(client, records, world.request(*wanted))
        alone = replace(found, units=tuple(each for each in found.units if each.unit.model == model))
        async with Observer(client, f"{ENVIRONMENT}={world.environment}") as observer:
            return await apply.apply(alone, records, Waiter(client, observer), Options(), lambda event: None)

    found: list[Outcome] = world.with_client(act)
    return found
