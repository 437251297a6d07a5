"""A wait after a write: what a watch still has from before the write says nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from aifctl.cluster.client import Client
from aifctl.cluster.discovery import Resource
from aifctl.cluster.wait import Waiter
from aifctl.cluster.watch import Observer
from aifctl.manifest import Identity
from tests.cluster.world import Object

SERVER = Identity("apps", "Deployment", "vision", "digits")
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments", True, frozenset({"watch"}))


def deployment(version: int, generation: int, *, fails: bool) -> Object:
    """As its controller has seen it."""
    reason = "ProgressDeadlineExceeded" if fails else "NewReplicaSetAvailable"
    conditions = [
        {"type": "Available", "status": "True"},
        {"type": "Progressing", "status": str(not fails), "reason": reason},
    ]
    metadata = {"name": "digits", "namespace": "vision", "generation": generation, "resourceVersion": str(version)}
    counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), 1)
    status = {"observedGeneration": generation, "conditions": conditions, **counts}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"replicas": 1},
        "status": status,
    }


class Late(Observer):
    """Has the object of before the write, and tells of the one after it when it is asked for changes."""

    def __init__(self, before: Object, after: Object) -> None:
        self.objects, self._after = {SERVER: before}, after

    async def watch(self, places: Any) -> None:
        pass

    async def changed(self, timeout: float) -> bool:
        await asyncio.sleep(0.01)
        self.objects[SERVER] = self._after
        return True


class Podless(Client):
    def __init__(self) -> None:
        pass

    async def items(self, *asked: Any, **more: Any) -> tuple[list[Object], str]:
        return [], "1"


def codes(written: dict[Identity, str], fails: bool = True) -> list[str]:
    observer = Late(deployment(5, 1, fails=False), deployment(9, 2, fails=fails))
    found = asyncio.run(Waiter(Podless(), observer).until_healthy([(SERVER, DEPLOYMENTS)], 0.2, written))
    return [each.code for each in found]


def test_a_server_that_was_healthy_before_the_write_is_waited_for_again() -> None:
    assert codes({SERVER: "8"}) == ["AIF751"]
    assert codes({SERVER: "9"}, fails=False) == []


def test_what_was_not_written_is_taken_as_it_is() -> None:
    assert codes({}) == []
