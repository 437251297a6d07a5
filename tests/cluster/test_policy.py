"""Fields that are left to others: what rules and autoscalers and queues own, in plans and in what is sent."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl.cluster import policy
from aifctl.cluster.errors import Conflict
from aifctl.cluster.fields import HAND_OVER
from aifctl.cluster.outcome import Result
from aifctl.cluster.policy import Policy
from aifctl.manifest import Manifest
from tests.cluster.looking import changed, forget, live, managers, named, of, quiet
from tests.cluster.sets import KEYS, OBJECTS, some_of
from tests.cluster.world import Object, World, codes, config, deployment, job
from tests.controlplane.cluster import Cluster

LAW = settings(max_examples=80, deadline=None)
SERVER = "spec.template.spec.containers[server]"


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


# What is sent


def manifest_of(value: dict[str, Any], kind: str = "Thing", version: str = "example.com/v1") -> Manifest:
    kept = {key: item for key, item in value.items() if key not in ("apiVersion", "kind", "metadata")}
    return Manifest({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **kept})


RULES = st.lists(
    st.lists(KEYS | st.sampled_from(["*", "n", "m", "0", "1"]), min_size=1, max_size=4).map(tuple), max_size=3
).map(tuple)
CASES = st.tuples(OBJECTS, OBJECTS, RULES).flatmap(lambda case: st.tuples(*map(st.just, case), some_of(case[1])))


@LAW
@given(CASES)
def test_rules_only_take_away_or_adopt(case: tuple[Any, ...]) -> None:
    value, there, rules, theirs = case
    # Half of the live object is as the manifest wants it: else hardly a rule would meet anything.
    found = {"apiVersion": "example.com/v1", "kind": "Thing", **there, **dict(list(value.items())[::2])}
    found["metadata"] = {"name": "x", "managedFields": [{"manager": "other", "operation": "Apply", "fieldsV1": theirs}]}
    manifest = manifest_of(value)
    before, live_before = copy.deepcopy(manifest.object), copy.deepcopy(found)
    sent = policy.adapted(manifest, found, Policy(ignored=lambda kind, group, name: rules))
    assert (manifest.object, found) == (before, live_before)
    assert_part(sent, manifest.object, found)
    assert policy.adapted(manifest, None, Policy(ignored=lambda kind, group, name: rules)) == policy.normal(manifest)
    untouched = {key for key in manifest.object if not any(rule[0] in (key, "*") for rule in rules)}
    assert all(sent[key] == policy.normal(manifest)[key] for key in untouched if key in policy.normal(manifest))


def assert_part(sent: Any, manifest: Any, live: Any) -> None:
    """Everything that is sent is the manifest's or the live object's, at the same place."""
    if sent in (manifest, live):
        return
    assert type(sent) is type(manifest)
    if isinstance(sent, dict):
        assert sent.keys() <= manifest.keys()
        for key, item in sent.items():
            assert_part(item, manifest[key], live.get(key) if isinstance(live, dict) else None)
    else:
        assert isinstance(sent, list)
        assert len(sent) <= len(manifest)


@LAW
@given(OBJECTS)
def test_a_built_in_kind_is_sent_without_nulls_and_another_as_it_is(value: dict[str, Any]) -> None:
    def nulls(found: Any) -> bool:
        return any(item is None or nulls(item) for item in found.values()) if isinstance(found, dict) else False

    for version in ("v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"):
        assert not nulls(policy.normal(manifest_of(value, version=version)))
    for version in ("example.com/v1", "kueue.x-k8s.io/v1beta1", "argoproj.io/v1alpha1"):
        custom = manifest_of(value, version=version)
        assert policy.normal(custom) is custom.object


def test_a_secret_is_sent_as_it_will_be_kept() -> None:
    found = manifest_of(
        {"data": {"a": "b25l", "b": "dHdv"}, "stringData": {"b": "three", "c": 4}, "status": {"x": 1}}, "Secret", "v1"
    )
    sent = policy.normal(found)
    assert sent["data"] == {name: base64.b64encode(text).decode() for name, text in
                            (("a", b"one"), ("b", b"three"), ("c", b"4"))}  # fmt: skip
    assert sent.keys() == {"apiVersion", "kind", "metadata", "data"}
    sealed = manifest_of({"stringData": {"a": "b"}}, "Secret", "example.com/v1")
    assert policy.normal(sealed) is sealed.object


@pytest.mark.parametrize(
    ("field", "manager", "subresource", "left"),
    [
        (".spec.replicas", "kube-controller-manager", "scale", True),
        (".spec.replicas", "kube-controller-manager", "", False),
        (".spec.replicas", "kubectl", "scale", False),
        (".spec.template.replicas", "kube-controller-manager", "scale", False),
        (".spec.suspend", "kueue", "", True),
        (".spec.runPolicy.suspend", "kueue", "", True),
        (".spec.suspend", "kubectl-edit", "", False),
        (".metadata.labels.kueue.x-k8s.io/queue-name", "kueue", "", True),
        (".metadata.labels.team", "kueue", "", False),
        (".spec.template.spec.nodeSelector", "kueue", "", False),
    ],
)
def test_what_is_left_to_scalers_and_queues(field: str, manager: str, subresource: str, left: bool) -> None:
    assert policy.yielded(Conflict(field, manager, subresource)) is left


# Rules of a platform


def test_fields_under_a_rule_are_left_to_others(control_plane: Cluster, world: World) -> None:
    rules = {
        "Deployment": (
            ("spec", "template", "spec", "containers", "server", "image"),
            ("spec", "template", "spec", "containers", "*", "resources"),
            ("metadata", "annotations", "*"),
        ),
        "ConfigMap": (("data", "a"),),
    }
    world.policy = Policy(ignored=lambda kind, group, name: rules.get(kind, ()))
    pods = deployment("pods", resources={"requests": {"cpu": "1"}})
    pods["metadata"]["annotations"] = {"note": "ours"}
    wanted = world.wanted("digits", pods, config("settings", {"a": "1", "b": "1"}))
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED  # on a new object everything is sent
    container = {"name": "server", "image": "updated:2", "resources": {"requests": {"cpu": "3"}}}
    theirs = named(world, "Deployment", "pods", "apps/v1") | {
        "spec": {"template": {"spec": {"containers": [container]}}}
    }
    control_plane.apply(theirs, manager="image-updater", force=True)
    there = named(world, "Deployment", "pods", "apps/v1")
    control_plane.patch(there, {"metadata": {"annotations": {"note": "edited"}}}, manager="kubectl-edit")
    control_plane.patch(
        named(world, "ConfigMap", "settings"), {"data": {"a": "theirs", "b": "drift"}}, manager="kubectl-edit"
    )
    plan = world.plan(wanted)
    assert not plan.findings
    assert {(path, after) for path, _, after in changed(plan)["settings"]} == {("data.b", "1")}
    assert changed(plan).get("pods", set()) == set()
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    found = live(control_plane, world, "Deployment", "pods", "apps/v1")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "updated:2"
    assert container["resources"] == {"requests": {"cpu": "3"}}
    assert found["metadata"]["annotations"]["note"] == "edited"
    # Nobody else owns it, so it would go if it were left out: the live value is kept instead.
    assert live(control_plane, world, "ConfigMap", "settings")["data"] == {"a": "theirs", "b": "1"}
    assert quiet(world.plan(wanted))
    forget(control_plane, world)
    assert quiet(world.plan(wanted))
    world.policy = Policy()
    assert codes(world.plan(wanted)) == ["AIF720", "AIF720"]


# Autoscalers


def scale(plane: Cluster, world: World, replicas: int, manager: str = "kube-controller-manager") -> None:
    there = named(world, "Deployment", "pods", "apps/v1")
    plane.patch(there, {"spec": {"replicas": replicas}}, manager=manager, subresource="scale")


def replicas_since(plane: Cluster, world: World, version: str) -> set[int]:
    """What `spec.replicas` has been since a resourceVersion, by the events of a watch."""
    query = f"?watch=1&resourceVersion={version}&timeoutSeconds=1"
    answer = plane.client.get(f"/apis/apps/v1/namespaces/{world.namespace}/deployments{query}")
    return {json.loads(line)["object"]["spec"]["replicas"] for line in answer.text.splitlines()}


def test_replicas_that_something_scales_are_left_alone(control_plane: Cluster, world: World) -> None:
    """Although the manifest has them: whoever writes by the scale subresource owns them."""
    wanted = world.wanted("digits", deployment("pods", replicas=2))
    world.apply(wanted)
    scale(control_plane, world, 5)
    assert quiet(world.plan(wanted))
    newer = world.wanted("digits", deployment("pods", replicas=3, image="server:2"))
    assert changed(world.plan(newer)) == {"pods": {(f"{SERVER}.image", "server:1", "server:2")}}
    (outcome,) = world.apply(newer)
    assert outcome.result is Result.APPLIED, outcome.findings
    assert live(control_plane, world, "Deployment", "pods", "apps/v1")["spec"]["replicas"] == 5
    assert quiet(world.plan(newer))


def test_replicas_are_handed_over_without_a_dip(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", deployment("pods", replicas=5)))
    version = live(control_plane, world, "Deployment", "pods", "apps/v1")["metadata"]["resourceVersion"]
    wanted = world.wanted("digits", deployment("pods", replicas=None))
    change = of(world.plan(wanted), "pods")
    assert (change.fields, change.reason) == ((), "hands its 5 replicas over to whatever scales it")
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    assert replicas_since(control_plane, world, version) == {5}
    assert HAND_OVER in managers(live(control_plane, world, "Deployment", "pods", "apps/v1"))
    assert quiet(world.plan(wanted))
    scale(control_plane, world, 7)
    assert quiet(world.plan(wanted))
    assert HAND_OVER not in managers(live(control_plane, world, "Deployment", "pods", "apps/v1"))


def test_replicas_come_back_from_a_hand_over_that_nobody_took(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", deployment("pods", replicas=5)))
    world.apply(world.wanted("digits", deployment("pods", replicas=None)))
    wanted = world.wanted("digits", deployment("pods", replicas=2))
    plan = world.plan(wanted)
    assert not plan.findings
    assert changed(plan) == {"pods": {("spec.replicas", 5, 2)}}
    world.apply(wanted)
    found = live(control_plane, world, "Deployment", "pods", "apps/v1")
    assert found["spec"]["replicas"] == 2
    assert HAND_OVER not in managers(found)
    assert quiet(world.plan(wanted))


# Queues


def test_what_kueue_sets_is_no_drift_and_what_people_set_is(control_plane: Cluster, world: World) -> None:
    queued: Object = job("train")
    queued["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "ours"}
    queued["spec"]["suspend"] = True
    wanted = world.wanted("digits", queued)
    world.apply(wanted)
    there = named(world, "Job", "train", "batch/v1")
    control_plane.patch(there, {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "moved"}}}, manager="kueue")
    control_plane.patch(there, {"spec": {"suspend": False}}, manager="kueue")
    assert quiet(world.plan(wanted))
    forget(control_plane, world)
    assert quiet(world.plan(wanted))
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    found = live(control_plane, world, "Job", "train", "batch/v1")
    assert found["spec"]["suspend"] is False
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "moved"


def test_what_people_set_on_a_queued_job_is_drift(control_plane: Cluster, world: World) -> None:
    queued: Object = job("train")
    queued["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "ours"}
    queued["spec"]["suspend"] = True
    wanted = world.wanted("digits", queued)
    world.apply(wanted)
    theirs = {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "mine"}}, "spec": {"suspend": False}}
    control_plane.patch(named(world, "Job", "train", "batch/v1"), theirs, manager="kubectl-edit")
    queue = 'metadata.labels["kueue.x-k8s.io/queue-name"]'
    assert changed(world.plan(wanted)) == {"train": {(queue, "mine", "ours"), ("spec.suspend", False, True)}}
