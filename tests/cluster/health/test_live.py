"""Statuses that a real API server, its controllers and its scheduler write, as they write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from aifctl.cluster import health
from aifctl.cluster.health import Health, State, Trouble
from tests.controlplane.cluster import Cluster
from tests.controlplane.stages import simulate

Object = dict[str, Any]


def deployment(namespace: str, outcome: str, **container: Any) -> Object:
    pod = {"containers": [{"name": "server", "image": "registry.example/server:1", **container}]}
    template = {"metadata": {"labels": {"app": outcome}, "annotations": simulate(outcome)}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": outcome, "namespace": namespace},
        "spec": {
            "replicas": 2,
            "progressDeadlineSeconds": 3,
            "selector": {"matchLabels": {"app": outcome}},
            "template": template,
        },
    }


def job(namespace: str, outcome: str, **spec: Any) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example/train:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": outcome, "namespace": namespace, **spec.pop("metadata", {})},
        "spec": {
            "backoffLimit": 0,
            "template": {"metadata": {"annotations": simulate(outcome)}, "spec": pod},
            **spec,
        },
    }


def judge(live: Object | None) -> Health:
    return health.assess(live, datetime.now(UTC))


def wait(cluster: Cluster, wanted: Object, until: Callable[[Health], object]) -> tuple[Object, Health]:
    live = cluster.wait(wanted, lambda found: until(judge(found)), seconds=30)
    assert live is not None
    return live, judge(live)


def trouble_of(cluster: Cluster, live: Object) -> Trouble | None:
    labels = health.selector(live)
    assert labels
    query = ",".join(f"{key}={value}" for key, value in labels.items())
    return health.stuck(cluster.list("v1", "Pod", live["metadata"]["namespace"], labelSelector=query))


def test_a_deployment_from_nothing_to_healthy_to_gone(nodes: Cluster, namespace: str) -> None:
    wanted = deployment(namespace, "ready")
    assert judge(None).state is State.MISSING
    assert judge(nodes.create(wanted)).state is State.PENDING
    live, judged = wait(nodes, wanted, lambda each: each.state is State.HEALTHY)
    assert judged.message == "2 replicas available"
    assert health.settled(live, judged)
    assert trouble_of(nodes, live) is None


@pytest.mark.parametrize(("outcome", "phase"), [("bad-image", "ImagePullBackOff"), ("unready", "Starting")])
def test_a_deployment_that_does_not_come_up_fails_by_its_deadline(
    nodes: Cluster, namespace: str, outcome: str, phase: str
) -> None:
    wanted = deployment(namespace, outcome)
    nodes.create(wanted)
    live, judged = wait(nodes, wanted, lambda each: each.state is State.FAILED)
    assert judged.phase == "ProgressDeadlineExceeded"
    trouble = trouble_of(nodes, live)
    assert trouble is not None
    assert (trouble.phase, trouble.container, trouble.pods) == (phase, "server", 2)


@pytest.mark.parametrize(("outcome", "phase"), [("oom", "OOMKilled"), ("fail", "CrashLoopBackOff")])
def test_a_deployment_whose_pods_crash_is_never_healthy(
    nodes: Cluster, namespace: str, outcome: str, phase: str
) -> None:
    """Pods that were ready for a moment stop the deadline's clock: only they tell what goes on."""
    wanted = deployment(namespace, outcome)
    nodes.create(wanted)

    def suffers(live: Object | None) -> bool:
        trouble = trouble_of(nodes, live) if live else None
        return trouble is not None and (trouble.phase, trouble.pods) == (phase, 2)

    nodes.wait(wanted, suffers, seconds=30)
    live, judged = wait(nodes, wanted, lambda each: each.state is not State.HEALTHY)
    blamed = health.blame(judged, trouble_of(nodes, live))
    assert blamed.phase == phase
    assert not health.settled(live, blamed)


def test_a_deployment_without_room_is_unschedulable(nodes: Cluster, namespace: str) -> None:
    wanted = deployment(namespace, "stuck", resources={"limits": {"nvidia.com/gpu": "9"}})
    nodes.create(wanted)
    live, _ = wait(nodes, wanted, lambda each: each.state is State.FAILED)
    trouble = trouble_of(nodes, live)
    assert trouble is not None
    assert trouble.phase == "Unschedulable"
    assert "nodes are available" in trouble.message


def test_a_quota_that_refuses_the_pods_is_a_failure(nodes: Cluster, namespace: str) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": namespace}}
    nodes.create({**quota, "spec": {"hard": {"pods": "0"}}})
    wanted = deployment(namespace, "ready")
    nodes.create(wanted)
    _, judged = wait(nodes, wanted, lambda each: each.phase == "FailedCreate")
    assert judged.state is State.FAILED
    assert "exceeded quota" in judged.message


@pytest.mark.parametrize(("outcome", "state"), [("complete", State.HEALTHY), ("fail", State.FAILED)])
def test_a_job_runs_and_ends(nodes: Cluster, namespace: str, outcome: str, state: State) -> None:
    wanted = job(namespace, outcome)
    created = nodes.create(wanted)
    assert not health.ended(created)
    live, judged = wait(nodes, wanted, lambda each: each.state in (State.HEALTHY, State.FAILED))
    assert judged.state is state
    ended = nodes.wait(wanted, health.ended, seconds=30)
    assert judge(ended).state is state
    assert health.selector(live)


def test_a_suspended_job_is_queued_where_it_has_a_queue(nodes: Cluster, namespace: str) -> None:
    queue = {"labels": {"kueue.x-k8s.io/queue-name": "vision"}}
    waiting, held = job(namespace, "complete", suspend=True, metadata=queue), job(namespace, "ready", suspend=True)
    for wanted, state in ((waiting, State.QUEUED), (held, State.SUSPENDED)):
        nodes.create(wanted)
        live, judged = wait(nodes, wanted, lambda each: each.state is not State.PENDING)
        assert judged.state is state
        assert health.settled(live, judged)
    nodes.patch(waiting, {"spec": {"suspend": False}})
    wait(nodes, waiting, lambda each: each.state is State.HEALTHY)


def test_a_claim_of_a_late_binding_class_does_not_hold_up_a_wait(nodes: Cluster, namespace: str) -> None:
    expected = {"WaitForFirstConsumer": ("WaitForFirstConsumer", True), "Immediate": ("Provisioning", False)}
    claims = {mode: claim(nodes, namespace, mode) for mode in expected}
    for mode, (phase, settled) in expected.items():
        live, judged = wait(nodes, claims[mode], lambda each: each.state is not State.PENDING)
        assert judged.phase == phase
        assert health.settled(live, judged) is settled


def claim(cluster: Cluster, namespace: str, mode: str) -> Object:
    name = f"{namespace}-{mode.lower()}"
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    cluster.create({**storage, "provisioner": "nowhere.example.org", "volumeBindingMode": mode})
    spec = {"storageClassName": name, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": namespace}
    wanted = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    cluster.create(wanted)
    return wanted


def test_what_holds_a_namespace_is_named(nodes: Cluster) -> None:
    name = nodes.create_namespace()
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    held = {"name": "held", "namespace": name, "finalizers": ["example.org/hold"]}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": held}
    nodes.create(config)
    assert judge(nodes.get(space)).state is State.HEALTHY
    nodes.delete(space)
    try:
        _, judged = wait(nodes, space, lambda each: "example.org/hold" in each.message)
        assert judged.state is State.TERMINATING
        assert "example.org/hold" in judge(nodes.get(config)).message
    finally:
        nodes.patch(config, {"metadata": {"finalizers": None}})


def test_a_definition_and_an_object_that_no_controller_serves(control_plane: Cluster, namespace: str) -> None:
    group = f"{namespace}.example.org"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [version],
        },
    }
    assert judge(control_plane.create(definition)).state in (State.PENDING, State.PROGRESSING)
    wait(control_plane, definition, lambda each: each.state is State.HEALTHY)
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": namespace}}
    control_plane.wait(definition, lambda _: control_plane.answers(f"/apis/{group}/v1/widgets"))
    assert judge(control_plane.create(widget)).state is State.PENDING
    wait(control_plane, widget, lambda each: each.state is State.HEALTHY)
