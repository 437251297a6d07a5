"""One apply as a process of its own, to be killed: `python -m tests.cluster.applier KUBECONFIG NAMESPACE VERSION`.

Between version `first` and `second` of model `digits` objects of each stage come, change, stay and go. `replaced` is
`second` with a Deployment that must be deleted and made again; with `gone` the model is out of Git.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from aifctl.cluster.policy import Policy
from aifctl.cluster.wanted import Wanted
from tests.cluster.world import World, config, deployment, job, service

Object = dict[str, Any]


def budget(name: str) -> Object:
    """Of the last stage."""
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


def run(name: str) -> Object:
    """A run's driver: made once, never patched. Suspended: its end would be one more thing to record."""
    made = job(name)
    made["spec"]["suspend"] = True
    made["metadata"]["labels"] = {"app.kubernetes.io/component": "run"}
    return made


def version(world: World, name: str) -> Wanted:
    stays = [service("digits"), config("stays")]
    if name == "first":
        goes = [config("goes-1"), config("goes-2"), deployment("goes-3", replicas=0)]
        return world.wanted("digits", *stays, *goes, config("moves"), deployment("digits", replicas=0))
    server = deployment("digits", replicas=0, image="server:2")
    if name == "replaced":
        spec = server["spec"]
        spec["selector"]["matchLabels"]["app"] = spec["template"]["metadata"]["labels"]["app"] = "other"
    new = [config("comes-1"), config("comes-2"), run("train-2"), budget("digits")]
    return world.wanted("digits", *stays, *new, config("moves", {"a": "2"}), server)


def world(kubeconfig: Path, namespace: str) -> World:
    return World(kubeconfig, namespace, policy=Policy(may_replace=lambda kind, group: kind == "Deployment"))


if __name__ == "__main__":
    here = world(Path(sys.argv[1]), sys.argv[2])
    wanted = [] if sys.argv[3] == "gone" else [version(here, sys.argv[3])]
    for outcome in here.apply(*wanted, allow_prune=not wanted):
        print(outcome.unit, outcome.result, *outcome.findings)
