"""The tests' control plane itself."""

from __future__ import annotations

from tests.controlplane.cluster import Cluster
from tests.controlplane.stages import simulate


def deployment(namespace: str, name: str, pod: dict, *, replicas: int = 2, annotations: dict | None = None) -> dict:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": annotations or {}}, "spec": pod},
        },
    }


def container(image: str = "registry.example/server:1", **limits: str) -> dict:
    return {"name": "main", "image": image, "resources": {"limits": limits}}


def test_a_deployment_becomes_available_on_simulated_nodes(nodes: Cluster, namespace: str) -> None:
    wanted = deployment(namespace, "server", {"containers": [container()]})
    nodes.create(wanted)
    nodes.wait(wanted, lambda live: live["status"].get("availableReplicas") == 2)
    assert all(pod["status"]["podIP"] for pod in nodes.list("v1", "Pod", namespace))
