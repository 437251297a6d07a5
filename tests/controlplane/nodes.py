"""Simulated nodes: two of CPUs, two of eight GPUs, one of four TPU chips. How pods fare on them: ./stages.py."""

from __future__ import annotations

from typing import Any

from tests.controlplane.cluster import Cluster, Object

GPU = {"nvidia.com/gpu": "8"}
TPU = {"google.com/tpu": "4"}
_SIZE = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "500"}


def node(name: str, *, labels: dict[str, str] | None = None, taint: str | None = None, **capacity: str) -> Object:
    """A Node for kwok: 64 CPUs, 512 GiB and what `capacity` adds or changes; `taint` is a key tainted NoSchedule."""
    resources = {**_SIZE, **capacity}
    taints = [{"key": taint, "value": "present", "effect": "NoSchedule"}] if taint else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **(labels or {})},
        },
        "spec": {"taints": taints},
        "status": {"capacity": resources, "allocatable": resources},
    }


def simulated_nodes() -> list[Object]:
    """`cpu-0`, `cpu-1`; `gpu-0`, `gpu-1` (8 `nvidia.com/gpu` each) and `tpu-0` (4 `google.com/tpu`), tainted."""
    gpu: dict[str, Any] = {"labels": {"aif.dev/accelerator": "nvidia-h100"}, "taint": "nvidia.com/gpu"}
    tpu: dict[str, Any] = {"labels": {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite"}, "taint": "google.com/tpu"}
    cpus = [node(f"cpu-{number}") for number in range(2)]
    gpus = [node(f"gpu-{number}", **gpu, **GPU) for number in range(2)]
    return [*cpus, *gpus, node("tpu-0", **tpu, **TPU)]


def start_nodes(cluster: Cluster, nodes: list[Object]) -> None:
    """Create what is not there yet and wait until all of them take pods."""
    for each in nodes:
        if cluster.get(each) is None:
            cluster.create(each)
    for each in nodes:
        wanted = {taint["key"] for taint in each["spec"]["taints"]}
        cluster.wait(each, lambda live, wanted=wanted: _takes_pods(live, wanted))


def _takes_pods(live: Object | None, taints: set[str]) -> bool:
    conditions = (live or {}).get("status", {}).get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and {taint["key"] for taint in (live or {})["spec"].get("taints", [])} <= taints
