"""The live plan against a real API server: what is drift, what is none, and what is said of either."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from aifctl.cluster import wanted as units
from aifctl.cluster.outcome import Result
from aifctl.plan.change import Action
from aifctl.plan.views.text import text
from tests.cluster.looking import changed, forget, live, managers, moved, named, of, quiet, seen_by
from tests.cluster.world import Object, World, actions, claim, codes, config, deployment, job, service
from tests.controlplane.cluster import Cluster
from tests.controlplane.proxy import FaultProxy
from tests.controlplane.webhooks import Webhooks


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


def sparse() -> list[Object]:
    """Objects of many kinds, written as people write them: what has a default is left out, or written otherwise."""
    pods = deployment("sparse", replicas=None, env=[], resources={"requests": {"cpu": "1000m", "memory": "1024Mi"}})
    pods["metadata"] |= {"creationTimestamp": None, "annotations": None}
    template = pods["spec"]["template"]
    template["metadata"]["creationTimestamp"] = None
    template["spec"] |= {
        "nodeSelector": None,
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "shm", "emptyDir": {"sizeLimit": "0.5Gi"}}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    }
    del template["spec"]["containers"][0]["ports"][0]["protocol"]
    template["spec"]["containers"][0]["resources"]["limits"] = {"cpu": 2, "memory": "2.0Gi"}
    bare = service("sparse")
    del bare["spec"]["ports"][0]["protocol"]
    scaler = {
        "minReplicas": 1,
        "maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
    }
    batch = job("x")["spec"]["template"]
    rules = {"podSelector": {}, "ingress": [{"ports": [{"port": 80}], "from": [{"podSelector": {}}]}]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    return [
        pods,
        bare,
        config("sparse"),
        claim("sparse"),
        one("v1", "Secret", "sparse", stringData={"token": "s3cret-value"}),
        one("v1", "ServiceAccount", "sparse", secrets=[]),
        one("autoscaling/v2", "HorizontalPodAutoscaler", "sparse", spec=scaler),
        one(
            "batch/v1",
            "CronJob",
            "sparse",
            spec={"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": batch}}},
        ),
        one(
            "policy/v1",
            "PodDisruptionBudget",
            "sparse",
            spec={"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}},
        ),
        one("networking.k8s.io/v1", "NetworkPolicy", "sparse", spec=rules),
        one(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            "sparse",
            roleRef=role,
            subjects=[{"kind": "Group", "name": "g"}],
        ),
        one("v1", "ResourceQuota", "sparse", spec={"hard": {"requests.cpu": "4000m", "requests.memory": "1024Gi"}}),
    ]


def one(version: str, kind: str, name: str, **rest: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}


def definition(group: str, spec: Object | None = None, kind: str = "Thing") -> Object:
    """A CRD whose spec takes whatever it is given."""
    plural = f"{kind.lower()}s"
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": spec or free, "status": free}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


# What is no drift


def test_what_the_server_fills_in_is_no_drift_to_whoever_looks(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", *sparse())
    assert [o.result for o in world.apply(wanted)] == [Result.APPLIED]
    assert quiet(world.plan(wanted))
    reader = seen_by(control_plane, world)
    assert quiet(reader.plan(wanted))
    forget(control_plane, world)
    assert quiet(world.plan(wanted))
    plan = reader.plan(wanted)
    assert codes(plan) == ["AIF731"]
    assert f"{len(wanted.manifests)} objects are compared" in plan.findings[0].message
    assert not changed(plan)


def test_what_webhooks_add_is_no_drift(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", deployment("digits"), config("digits"))
    sidecar = {"name": "proxy", "image": "proxy:1"}
    with Webhooks(control_plane, world.namespace) as webhooks:
        webhooks.mutate(kind="Deployment", change=[
            {"op": "add", "path": "/spec/template/spec/containers/1", "value": sidecar},
            {"op": "add", "path": "/metadata/labels/injected", "value": "true"},
        ])  # fmt: skip
        webhooks.mutate(kind="ConfigMap", change=[{"op": "add", "path": "/data/added", "value": "x"}])
        assert [o.result for o in world.apply(wanted)] == [Result.APPLIED]
        assert (
            len(live(control_plane, world, "Deployment", "digits", "apps/v1")["spec"]["template"]["spec"]["containers"])
            == 2
        )
        assert quiet(world.plan(wanted))
        forget(control_plane, world)
        assert quiet(world.plan(wanted))
        assert quiet(world.plan(wanted))
    # Without the webhook what it has added is still not ours to remove.
    assert quiet(world.plan(wanted))


def test_a_webhook_that_overrides_our_field_or_stamps_its_own_is_not_reported_for_ever(
    control_plane: Cluster, world: World
) -> None:
    wanted = world.wanted("digits", config("digits", {"a": "ours", "b": "1"}))
    with Webhooks(control_plane, world.namespace) as webhooks:
        webhooks.mutate(kind="ConfigMap", change=stamped("add", "first"))
        world.apply(wanted)
        webhooks.clear()
        webhooks.mutate(kind="ConfigMap", change=stamped("replace", "second"))
        assert live(control_plane, world, "ConfigMap", "digits")["data"]["a"] == "theirs"
        assert quiet(world.plan(wanted))
        forget(control_plane, world)
        assert quiet(world.plan(wanted))
        version = live(control_plane, world, "ConfigMap", "digits")["metadata"]["resourceVersion"]
        world.apply(wanted)
        assert [o.result for o in world.apply(wanted)] == [Result.UNCHANGED]
        there = live(control_plane, world, "ConfigMap", "digits")
        assert there["metadata"]["resourceVersion"] == version
        # A change beside it is told alone.
        plan = world.plan(world.wanted("digits", config("digits", {"a": "ours", "b": "2"})))
        assert changed(plan) == {"digits": {("data.b", "1", "2")}}


def stamped(op: str, value: str) -> list[Object]:
    ours = {"op": "replace", "path": "/data/a", "value": "theirs"}
    return [ours, {"op": op, "path": "/data/stamp", "value": value}]


def test_what_others_add_to_our_lists_and_mappings_is_theirs(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", deployment("digits", env=[{"name": "OURS", "value": "1"}]))
    world.apply(wanted)
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "digits",
            "namespace": world.namespace,
            "labels": {"team": "x"},
            "finalizers": ["x.example/y"],
        },
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "server",
                            "env": [{"name": "THEIRS", "value": "2"}],
                            "ports": [{"containerPort": 9090, "protocol": "TCP"}],
                        },
                        {"name": "sidecar", "image": "sidecar:1"},
                    ],
                    "tolerations": [{"key": "x", "operator": "Exists"}],
                }
            }
        },
    }
    control_plane.apply(theirs, manager="mesh")
    assert quiet(world.plan(wanted))
    forget(control_plane, world)
    assert quiet(world.plan(wanted))
    assert not changed(seen_by(control_plane, world).plan(wanted))
    control_plane.patch(theirs, {"metadata": {"finalizers": None}})


def test_status_is_never_compared(control_plane: Cluster, world: World) -> None:
    group = f"{world.namespace}.example.com"
    crd = definition(group)
    control_plane.create(crd)
    try:
        control_plane.wait(crd, lambda found: found and "Established" in json.dumps(found.get("status", {})))
        thing = one(
            f"{group}/v1", "Thing", "digits", spec={"deep": {"image": "a"}}, status={"phase": "Written by hand"}
        )
        wanted = world.wanted("digits", thing)
        (outcome,) = world.apply(wanted)
        assert outcome.result is Result.APPLIED, outcome.findings
        there = live(control_plane, world, "Thing", "digits", f"{group}/v1")
        assert "status" not in there
        control_plane.patch(there, {"status": {"phase": "Running"}}, manager="controller")
        assert quiet(world.plan(wanted))
        # An owned change in a field that the schema does not know is seen (argo-cd#27625).
        control_plane.patch(there, {"spec": {"deep": {"image": "b"}}}, manager="kubectl-edit")
        plan = world.plan(wanted)
        assert changed(plan) == {"digits": {("spec.deep.image", "b", "a")}}
        # One that we do not own is not.
        world.apply(wanted)
        control_plane.patch(there, {"spec": {"deep": {"more": {"x": [1]}}}}, manager="controller")
        assert quiet(world.plan(wanted))
    finally:
        control_plane.delete(crd)


# What is


def test_what_a_manifest_no_longer_has_is_seen_and_goes(control_plane: Cluster, world: World) -> None:
    full = deployment(
        "digits",
        env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        livenessProbe={"exec": {"command": ["x"]}},
    )
    full["metadata"]["labels"] = {"stage": "one", "team": "two"}
    full["spec"]["template"]["spec"]["tolerations"] = [
        {"key": "gpu", "operator": "Exists"},
        {"key": "x", "operator": "Exists"},
    ]
    full["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "s:1"})
    world.apply(world.wanted("digits", full))
    less = deployment("digits", env=[{"name": "A", "value": "1"}])
    less["metadata"]["labels"] = {"stage": "one"}
    less["spec"]["template"]["spec"]["tolerations"] = [{"key": "gpu", "operator": "Exists"}]
    wanted = world.wanted("digits", less)
    pod = "spec.template.spec"
    expected = {
        "metadata.labels.team",
        f"{pod}.containers[server].env[B]",
        f"{pod}.containers[server].livenessProbe",
        f"{pod}.containers[sidecar]",
        f"{pod}.tolerations[1]",
    }
    for who in (world, seen_by(control_plane, world)):
        found = changed(who.plan(wanted))["digits"]
        assert {path for path, _, _ in found} == expected
        assert all(after is None for _, _, after in found)
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    there = live(control_plane, world, "Deployment", "digits", "apps/v1")
    assert "team" not in there["metadata"]["labels"]
    spec = there["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert [each["name"] for each in container["env"]] == ["A"]
    assert "livenessProbe" not in container
    assert [each["key"] for each in spec["tolerations"]] == ["gpu"]
    assert quiet(world.plan(wanted))


def test_a_change_of_whoever_holds_a_field_has_a_reason(control_plane: Cluster, world: World) -> None:
    """Shared and handed back fields: nothing looks different, and yet it is told (argo-cd#21434)."""
    both = {"a": "1", "b": "2"}
    world.apply(world.wanted("digits", config("digits", both)))
    theirs = {**named(world, "ConfigMap", "digits"), "data": {"b": "2"}}
    control_plane.apply(theirs, manager="partner")
    assert quiet(world.plan(world.wanted("digits", config("digits", both))))
    # We let go of what they hold too: the value stays.
    wanted = world.wanted("digits", config("digits", {"a": "1"}))
    change = of(world.plan(wanted), "digits")
    assert (change.action, change.fields, change.reason) == (Action.CHANGE, (), "leaves data.b to others")
    world.apply(wanted)
    assert live(control_plane, world, "ConfigMap", "digits")["data"] == both
    assert quiet(world.plan(wanted))
    # They let go of what is theirs alone: no business of ours.
    control_plane.apply({**named(world, "ConfigMap", "digits"), "data": {}}, manager="partner")
    assert quiet(world.plan(wanted))
    # Somebody changed our field and changed it back: it is theirs now, at our value.
    for value in ("x", "1"):
        control_plane.patch(theirs, {"data": {"a": value}}, manager="robot")
    change = of(world.plan(wanted), "digits")
    assert (change.action, change.fields, change.reason) == (Action.CHANGE, (), "owns data.a from now on")
    world.apply(wanted)
    assert quiet(world.plan(wanted))
    control_plane.apply({**named(world, "ConfigMap", "digits"), "data": {"a": "1"}}, manager="robot", force=True)
    assert quiet(world.plan(wanted))


def test_drift_is_found_by_whoever_may_only_read(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", *sparse())
    world.apply(wanted)
    there = named(world, "Deployment", "sparse", "apps/v1")
    container: Object = {"name": "server", "image": "hacked:1", "resources": {"requests": {"cpu": "7"}}}
    control_plane.patch(there, {"spec": {"template": {"spec": {"containers": [container]}}}}, manager="robot")
    reader = seen_by(control_plane, world)
    control_plane.patch(named(world, "ConfigMap", "sparse"), {"data": {"a": None}}, manager="robot")
    plan = reader.plan(wanted)
    assert codes(plan) == ["AIF731"]
    assert plan.read_only
    found = changed(plan)
    at = "spec.template.spec.containers[server]"
    assert {(f"{at}.image", "hacked:1", "server:1"), (f"{at}.resources.requests.cpu", "7", "1000m")} <= found["sparse"]
    # What is new in the manifest is told as well, at any depth.
    more = world.wanted("digits", deployment("more"), config("digits", {"a": "1"}))
    world.apply(more, allow_prune=True)
    grown = deployment("more", env=[{"name": "NEW", "value": "1"}])
    grown["metadata"]["labels"] = {"new": "label"}
    plan = reader.plan(world.wanted("digits", grown, config("digits", {"a": "1"}), config("fresh")))
    assert {path for path, _, _ in changed(plan)["more"]} == {f"{at}.env", "metadata.labels.new"}
    assert of(plan, "fresh").action is Action.CREATE
    (outcome,) = reader.apply(more)
    assert outcome.result is Result.UNCHANGED


def test_rights_in_its_namespaces_are_enough(control_plane: Cluster, world: World) -> None:
    """No list over the cluster is needed, with objects in one namespace or in two."""
    second = control_plane.create_namespace()
    here = world.wanted("digits", config("a"), deployment("digits"))
    wanted = units.wanted(here.unit, (*here.manifests, *moved(world, "digits", second, config("b"))))
    world.apply(wanted)
    user = seen_by(control_plane, world, "get", "list", "patch", also=(second,))
    assert quiet(user.plan(wanted))
    control_plane.patch(live(control_plane, replace(world, namespace=second), "ConfigMap", "b"), {"data": {"a": "x"}})
    newer = world.wanted("digits", config("a", {"a": "2"}), deployment("digits"))
    plan = user.plan(
        units.wanted(newer.unit, (*newer.manifests, *moved(world, "digits", second, config("b")))), force_conflicts=True
    )
    assert not plan.findings
    assert not plan.read_only
    assert changed(plan) == {"a": {("data.a", "1", "2")}, "b": {("data.a", "x", "1")}}
    control_plane.delete(one("v1", "Namespace", second))


# Objects and kinds that are not there


def test_a_kind_and_its_objects_may_come_together(control_plane: Cluster, world: World) -> None:
    group = f"{world.namespace}.example.com"
    crd, thing = definition(group), one(f"{group}/v1", "Thing", "digits", spec={"a": 1})
    wanted = world.wanted("digits", crd, thing)
    try:
        plan = world.plan(wanted)
        assert not plan.findings
        assert of(plan, "digits").reason == "new; known to the server once its Thing definition is there"
        (outcome,) = world.apply(wanted)
        assert outcome.result is Result.APPLIED, outcome.findings
        assert quiet(world.plan(wanted))
    finally:
        control_plane.delete(crd)


def test_a_kind_or_a_namespace_that_nobody_brings_is_an_error(control_plane: Cluster, world: World) -> None:
    thing = one("nowhere.example.com/v1", "Thing", "digits", spec={"a": 1})
    plan = world.plan(world.wanted("digits", thing, config("a")))
    assert codes(plan) == ["AIF724"]
    assert "nowhere.example.com/v1 Thing" in plan.findings[0].message
    wanted = world.wanted("digits", config("a"))
    away = units.wanted(wanted.unit, moved(world, "digits", "no-such-namespace", config("a")))
    plan = world.plan(away)
    assert codes(plan) == ["AIF723"]
    assert "no-such-namespace" in plan.findings[0].message
    (outcome,) = world.apply(away)
    assert codes([outcome]) == ["AIF723"]


def test_an_object_that_is_being_deleted_is_waited_for_by_whoever_applies(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", config("held"), config("free"))
    world.apply(wanted)
    there = named(world, "ConfigMap", "held")
    control_plane.patch(there, {"metadata": {"finalizers": ["example.com/hold"]}}, manager="somebody")
    control_plane.delete(there)
    plan = world.plan(wanted)
    assert codes(plan) == ["AIF725"]
    assert "example.com/hold" in plan.findings[0].message
    control_plane.patch(there, {"metadata": {"finalizers": None}}, manager="somebody")
    assert of(world.plan(wanted), "held").reason == "was deleted, not by aifctl"
    control_plane.create(world.wanted("digits", config("held")).manifests[0].object)
    plan = world.plan(wanted)  # a namesake with our labels: nobody's, so it becomes ours
    assert of(plan, "held").action is Action.CHANGE
    assert not plan.findings
    assert [o.result for o in world.apply(wanted)] == [Result.APPLIED]
    assert quiet(world.plan(wanted))


# Secrets


def secret(name: str, **values: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return one("v1", "Secret", name, data=data)


def test_secrets_are_masked_wherever_they_turn_up(control_plane: Cluster, world: World) -> None:
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}]
    world.apply(
        world.wanted("digits", secret("keys", a="first-secret"), deployment("digits", env=env), config("settings"))
    )
    plain = [{"name": "TOKEN", "value": "typed-by-hand"}, {"name": "URL", "value": "http://u:next-secret@host"}]
    wanted = world.wanted(
        "digits",
        one("v1", "Secret", "keys", stringData={"a": "next-secret", "b": "more-secret"}),
        deployment("digits", env=plain),
        config("settings", {"a": "holds first-secret inside", "b": "harmless"}),
    )
    words = ("first-secret", "next-secret", "more-secret", "typed-by-hand")
    words += tuple(base64.b64encode(word.encode()).decode() for word in words)
    texts = []
    for who in (world, seen_by(control_plane, world)):
        plan = who.plan(wanted, salt=b"one")
        texts.append(text(plan.changes))
        assert {path for path, _, _ in changed(plan)["keys"]} == {"data.a", "data.b"}
        assert "harmless" in texts[-1]
        assert not [word for word in words if word in texts[-1] or word in repr(plan.changes)]
    digest = {str(after) for path, _, after in changed(world.plan(wanted, salt=b"one"))["keys"] if path == "data.a"}
    other = {str(after) for path, _, after in changed(world.plan(wanted, salt=b"two"))["keys"] if path == "data.a"}
    assert digest
    assert digest.isdisjoint(other)


def test_drift_in_a_secret_written_as_string_data_is_seen_and_its_removed_keys_go(
    control_plane: Cluster, world: World
) -> None:
    before = one("v1", "Secret", "keys", stringData={"a": "alpha", "b": "beta"})
    world.apply(world.wanted("digits", before))
    there = named(world, "Secret", "keys")
    control_plane.patch(there, {"data": {"a": "aGFja2Vk"}}, manager="kubectl-edit")
    wanted = world.wanted("digits", one("v1", "Secret", "keys", stringData={"a": "alpha"}))
    assert {path for path, _, _ in changed(world.plan(wanted))["keys"]} == {"data.a", "data.b"}
    world.apply(wanted)
    assert live(control_plane, world, "Secret", "keys")["data"] == {"a": base64.b64encode(b"alpha").decode()}


# Others' objects


@pytest.mark.parametrize(
    ("notes", "tool"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "app:/ConfigMap:ns/theirs"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "app"}}, "Flux"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "app"}}, "Flux"),
        ({"labels": {"aif.dev/environment": "another"}}, "environment another"),
    ],
)
def test_what_somebody_else_delivers_is_refused(control_plane: Cluster, world: World, notes: Object, tool: str) -> None:
    control_plane.create({**config("theirs"), "metadata": {"name": "theirs", "namespace": world.namespace, **notes}})
    plan = world.plan(world.wanted("digits", config("theirs", {"a": "2"}), config("ours")))
    assert codes(plan) == ["AIF728"]
    assert tool in plan.findings[0].message
    (outcome,) = world.apply(world.wanted("digits", config("theirs", {"a": "2"}), config("ours")))
    assert outcome.result is Result.REFUSED
    assert live(control_plane, world, "ConfigMap", "theirs")["data"] == {"a": "1"}


def test_a_list_with_a_key_twice_is_refused_at_once_and_by_name(control_plane: Cluster, world: World) -> None:
    """kubernetes#113482: the server answers 500, which must not be tried again until patience ends."""
    twice = deployment("digits")
    twice["spec"]["template"]["spec"]["containers"][0]["ports"] *= 2
    env = deployment("env", env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])
    with FaultProxy(control_plane) as proxy:
        through = World(proxy.kubeconfig, world.namespace)
        plan = through.plan(through.wanted("digits", twice, env))
        assert codes(plan) == ["AIF721", "AIF721"]
        assert "ports: duplicate entries" in plan.findings[0].message + plan.findings[1].message
        assert proxy.count("apply") == 2
    # In a live object they are no fault of ours: somebody's update may have made them.
    world.apply(world.wanted("digits", deployment("digits")))
    ports = [{"containerPort": 8080, "protocol": "TCP"}]
    twice = [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}]
    container = {"name": "server", "image": "server:1", "ports": ports, "env": twice}
    there = named(world, "Deployment", "digits", "apps/v1")
    control_plane.patch(there, {"spec": {"template": {"spec": {"containers": [container]}}}}, manager="robot")
    plan = world.plan(world.wanted("digits", deployment("digits", image="server:2")))
    assert not plan.findings
    assert changed(plan) == {"digits": {("spec.template.spec.containers[server].image", "server:1", "server:2")}}


# Looking changes nothing


def test_a_plan_writes_nothing(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("a"), config("gone"), deployment("digits"), job("train")))
    old = world.wanted("wine", config("old")).manifests[0].object
    control_plane.create({**old, "metadata": {**old["metadata"], "labels": {}}})
    control_plane.patch(named(world, "ConfigMap", "old"), {"data": {"a": "2"}}, manager="kubectl-client-side-apply")
    control_plane.patch(named(world, "ConfigMap", "a"), {"data": {"a": "drift"}}, manager="kubectl-edit")
    other = deployment("digits")
    other["spec"]["selector"]["matchLabels"]["app"] = other["spec"]["template"]["metadata"]["labels"]["app"] = "new"
    space = one("v1", "Namespace", f"{world.namespace}-new")
    wanted = [
        world.wanted("digits", config("a"), other, job("train", "false"), space),
        world.wanted("wine", config("old")),
    ]
    before = everything(control_plane, world)
    with FaultProxy(control_plane) as proxy:
        through = World(proxy.kubeconfig, world.namespace)
        plan = through.plan(*wanted)
        assert proxy.writes() == []
        assert proxy.count("apply|create|patch") > 3  # it did ask
    assert {Action.CREATE, Action.CHANGE, Action.REPLACE, Action.DELETE} <= set(actions(plan).values())
    assert everything(control_plane, world) == before
    assert control_plane.get(space) is None


def everything(plane: Cluster, world: World) -> dict[str, str]:
    kinds = (("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("batch/v1", "Job"))
    found = [each for version, kind in kinds for each in plane.list(version, kind, world.namespace)]
    found += plane.list(
        "v1", "ConfigMap", "aif-system", labelSelector=f"aif.dev/inventory-environment={world.environment}"
    )
    return {each["metadata"]["uid"]: json.dumps(spec(each), sort_keys=True) for each in found}


def spec(found: Object) -> Object:
    """Without what controllers write meanwhile."""
    metadata = {key: found["metadata"].get(key) for key in ("name", "labels", "annotations", "ownerReferences")}
    ours = sorted(managers(found) - {"kube-controller-manager"})
    return {"metadata": metadata, "spec": found.get("spec"), "data": found.get("data"), "managers": ours}
