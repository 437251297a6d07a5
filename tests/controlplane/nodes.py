"""Simulated nodes: two of CPUs, two of eight GPUs, one of four TPU chips. How pods fare on them: ./stages.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.controlplane.cluster import Cluster, Object

GPU = {"nvidia.com/gpu": "8"}
TPU = {"google.com/tpu": "4"}
_SIZE = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "500"}
_NOTHING: Mapping[str, str] = MappingProxyType({})


def node(
    name: str, capacity: Mapping[str, str] = _NOTHING, *, labels: Mapping[str, str] = _NOTHING, taint: str = ""
) -> Object:
    """A Node for kwok: 64 CPUs, 512 GiB and what `capacity` adds or changes; `taint` is a key tainted NoSchedule."""
    resources = {**_SIZE, **capacity}
    taints = [{"key": taint, "value": "present", "effect": "NoSchedule"}] if taint else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels},
        },
        "spec": {"taints": taints},
        "status": {"capacity": resources, "allocatable": resources},
    }


def simulated_nodes() -> list[Object]:
    """`cpu-0`, `cpu-1`; `gpu-0`, `gpu-1` (8 `nvidia.com/gpu` each) and `tpu-0` (4 `google.com/tpu`), tainted."""
    gpu: dict[str, Any] = {"labels": {"aif.dev/accelerator": "nvidia-h100"}, "taint": "nvidia.com/gpu"}
    tpu: dict[str, Any] = {"labels": {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite"}, "taint": "google.com/tpu"}
    cpus = [node(f"cpu-{number}") for number in range(2)]
    gpus = [node(f"gpu-{number}", GPU, **gpu) for number in range(2)]
    return [*cpus, *gpus, node("tpu-0", TPU, **tpu)]


def start_nodes(cluster: Cluster, nodes: list[Object]) -> None:
    """Create what is not there yet and wait until all of them take pods."""
    for each in nodes:
        if cluster.get(each) is None:
            cluster.create(each)
    for each in nodes:
        cluster.wait(each, _takes_pods)


def _takes_pods(live: Object) -> bool:
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in live["status"].get("conditions", []))
    # Kubernetes taints a new node until it has seen it ready.
    return ready and not any(each["key"].startswith("node.kubernetes.io/") for each in live["spec"].get("taints", []))
