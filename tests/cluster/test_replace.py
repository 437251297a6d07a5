"""Fields that can't change in place: each is named, replaced where that is allowed, and refused where it is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from aifctl.cluster.outcome import Result
from aifctl.cluster.policy import Policy
from aifctl.plan.change import Action
from tests.cluster.looking import live, named, of, quiet
from tests.cluster.world import Object, World, codes, deployment, job, service
from tests.controlplane.cluster import Cluster

RBAC = "rbac.authorization.k8s.io"


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


def stateful() -> Object:
    storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    templates = [{"metadata": {"name": "data"}, "spec": storage}]
    spec = {**deployment("x")["spec"], "serviceName": "x", "volumeClaimTemplates": templates}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "x"}, "spec": spec}


def claim() -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "x"}, "spec": spec}


def binding() -> Object:
    role = {"apiGroup": RBAC, "kind": "Role", "name": "old"}
    subjects = [{"kind": "ServiceAccount", "name": "x"}]
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "x"},
        "roleRef": role,
        "subjects": subjects,
    }


def frozen(kind: str) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "immutable": True, "data": {"a": "b25l"}}


def fixed_service() -> Object:
    found = service("x")
    found["spec"]["clusterIP"] = "None"
    return found


def cluster_scoped(version: str, kind: str, **rest: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **rest}


def _label(found: Object) -> None:
    found["spec"]["selector"]["matchLabels"]["app"] = found["spec"]["template"]["metadata"]["labels"]["app"] = "new"


def at(path: str, value: Any) -> Callable[[Object], None]:
    """Sets the field at a path, list items by position."""

    def change(found: Any) -> None:
        *head, last = path.split(".")
        for step in head:
            found = found[int(step)] if isinstance(found, list) else found[step]
        found[last] = value

    return change


# object, change, the path that is named, whether the test allows it and sees it replaced
CASES: list[tuple[str, Object, Callable[[Object], None], str, bool]] = [
    ("Deployment selector", deployment("x"), _label, "spec.selector", True),
    ("StatefulSet templates", stateful(), at("spec.volumeClaimTemplates.0.spec.resources.requests.storage", "2Gi"),
     "spec.volumeClaimTemplates", True),
    ("StatefulSet service", stateful(), at("spec.serviceName", "y"), "spec.serviceName", False),
    ("Job template", job("x"), at("spec.template.spec.containers.0.command", ["false"]), "spec.template", True),
    ("Service address", fixed_service(), at("spec.clusterIP", "10.0.250.250"), "spec.clusterIPs[0]", True),
    ("claim", claim(), at("spec.accessModes", ["ReadWriteMany"]), "spec.accessModes", False),
    ("RoleBinding", binding(), at("roleRef.name", "new"), "roleRef", True),
    ("ConfigMap", frozen("ConfigMap"), at("data.a", "dHdv"), "data", True),
    ("Secret", frozen("Secret"), at("data.a", "dHdv"), "data", True),
    ("StorageClass", cluster_scoped("storage.k8s.io/v1", "StorageClass", provisioner="a/b", parameters={"x": "1"}),
     at("parameters.x", "2"), "parameters", True),
    ("PriorityClass", cluster_scoped("scheduling.k8s.io/v1", "PriorityClass", value=5), at("value", 6), "value", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "change", "path", "allowed"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_can_not_change_in_place_is_named_and_replaced_only_where_allowed(
    control_plane: Cluster, world: World, found: Object, change: Callable[[Object], None], path: str, allowed: bool
) -> None:
    before, after = copy.deepcopy(found), copy.deepcopy(found)
    change(after)
    kind, name, version = found["kind"], f"x-{world.namespace}", found["apiVersion"]
    before["metadata"]["name"] = after["metadata"]["name"] = name
    (outcome,) = world.apply(world.wanted("digits", before))
    assert outcome.result is Result.APPLIED, outcome.findings
    uid = live(control_plane, world, kind, name, version)["metadata"]["uid"]
    wanted = world.wanted("digits", after)
    plan = world.plan(wanted)
    assert codes(plan) == ["AIF726"]
    assert of(plan, name).action is Action.REPLACE
    assert of(plan, name).reason == f"replace because {path} can't be changed in place"
    assert of(plan, name).fields
    (outcome,) = world.apply(wanted)
    assert (outcome.result, codes([outcome])) == (Result.REFUSED, ["AIF726"])
    assert live(control_plane, world, kind, name, version)["metadata"]["uid"] == uid
    if allowed:
        world.policy = Policy(may_replace=lambda kind, group: True)
        (outcome,) = world.apply(wanted, confirm_replace=True)
        assert outcome.result is Result.APPLIED, outcome.findings
        assert live(control_plane, world, kind, name, version)["metadata"]["uid"] != uid
        assert quiet(world.plan(wanted))
    control_plane.delete(named(world, kind, name, version))


@pytest.mark.parametrize(
    "change",
    [
        at("spec.template.spec.containers.0.image", ""),
        at("spec.template.spec.containers.0.imagePullPolicy", "Sometimes"),
        at("spec.selector.matchLabels.app", "selects-nothing-of-its-own"),
        at("spec.replicas", -1),
        at("spec.template.spec.containers.0.name", "Field is immutable"),
    ],
    ids=["no image", "bad word", "selector without labels", "negative", "a lie"],
)
def test_an_invalid_spec_never_deletes_the_live_object(
    control_plane: Cluster, world: World, change: Callable[[Object], None]
) -> None:
    world.policy = Policy(may_replace=lambda kind, group: True)
    world.apply(world.wanted("digits", deployment("x")))
    uid = live(control_plane, world, "Deployment", "x", "apps/v1")["metadata"]["uid"]
    bad = deployment("x")
    change(bad)
    wanted = world.wanted("digits", bad)
    assert codes(world.plan(wanted)) == ["AIF721"]
    (outcome,) = world.apply(wanted)
    assert codes([outcome]) == ["AIF721"]
    assert live(control_plane, world, "Deployment", "x", "apps/v1")["metadata"]["uid"] == uid


def test_what_could_not_be_made_again_is_not_deleted(control_plane: Cluster, world: World) -> None:
    """The server names the immutable field alone; that its successor would be refused is found by asking for it."""
    world.policy = Policy(may_replace=lambda kind, group: True)
    world.apply(world.wanted("digits", frozen("ConfigMap")))
    quota = named(world, "ResourceQuota", "q") | {"spec": {"hard": {"count/configmaps": "1"}}}
    control_plane.create(quota)
    control_plane.wait(quota, lambda found: "used" in found.get("status", {}))
    uid = live(control_plane, world, "ConfigMap", "x")["metadata"]["uid"]
    changed = frozen("ConfigMap")
    changed["data"] = {"a": "dHdv"}
    assert codes(world.plan(world.wanted("digits", changed))) == ["AIF722"]
    assert codes(world.apply(world.wanted("digits", changed))) == ["AIF722"]
    assert live(control_plane, world, "ConfigMap", "x")["metadata"]["uid"] == uid
