"""One reconciler an environment writes: a Lease of coordination.k8s.io says which. The others stand by.

As client-go does it (tools/leaderelection): clocks of machines are not compared. Who stands by takes a lease that it
has seen unchanged for the lease's own duration; who leads stops before that when it can't renew.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aifctl.cluster.client import Client
from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.records import is_dead

DURATION = 15.0
"""Seconds after which a lease that nobody renews is free."""
DEADLINE = 10.0
"""Seconds without a renewal after which the leader stops; less than `DURATION`."""
RENEW = 4.0
RETRY = 2.0
PATIENCE = 3.0
"""Seconds that one request of ours is tried again for."""


@dataclass(slots=True)
class _Observed:
    """A lease as it was seen first, and when by our clock."""

    holder: str
    renewed: str
    at: float


class Leader:
    """`acquire`, then `hold` until it returns, which says that somebody else may lead now; `release` when done."""

    def __init__(self, client: Client, namespace: str, environment: str, identity: str) -> None:
        self.client = client.acting_as(client.account)
        self.client.patience = PATIENCE
        self.name, self.namespace, self.identity = f"aifctl-reconcile-{environment}", namespace, identity
        self.other = ""
        """Who leads instead."""
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._lease: dict[str, Any] | None = None
        self._seen: _Observed | None = None
        self._renewed = 0.0

    async def acquire(self, patience: float | None = None) -> bool:
        """Waits until we lead; False when it took longer than `patience` seconds. Raises ApiError (no right to)."""
        until = None if patience is None else time.monotonic() + patience
        while not await self._try():
            if until is not None and time.monotonic() > until:
                return False
            await asyncio.sleep(RETRY * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        return True

    async def hold(self) -> None:
        """Renews until the lease is lost."""
        while True:
            await asyncio.sleep(RENEW)
            started = time.monotonic()
            try:
                async with asyncio.timeout(max(0.1, self._renewed + DEADLINE - started)):
                    if not await self._renew():
                        return
            except (ApiError, Unreachable, TimeoutError):
                if time.monotonic() - self._renewed > DEADLINE - RENEW / 2:
                    return

    async def release(self) -> None:
        """So that another need not wait for its end. A failure costs others that wait, and no more."""
        if self._lease is None:
            return
        lease, self._lease = self._lease, None
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            await self.client.replace(f"{self._path}/{self.name}", lease)
        except (ApiError, Unreachable):
            return

    async def _try(self) -> bool:
        try:
            found = await self._read()
            if found is None:
                return await self._create()
            return self._is_free(found) and await self._take(found)
        except Unreachable:
            return False
        except ApiError as error:
            if error.status in (401, 403):
                raise
            return False

    async def _read(self) -> dict[str, Any] | None:
        try:
            return await self.client.get(f"{self._path}/{self.name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _is_free(self, found: dict[str, Any]) -> bool:
        spec = found.get("spec") or {}
        holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
        self.other = holder
        if not holder or holder == self.identity or is_dead(holder):
            return True
        now = time.monotonic()
        if self._seen is None or (self._seen.holder, self._seen.renewed) != (holder, renewed):
            self._seen = _Observed(holder, renewed, now)
            return False
        return now - self._seen.at > float(spec.get("leaseDurationSeconds") or DURATION)

    async def _create(self) -> bool:
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": self.name, "namespace": self.namespace,
                             "labels": {"app.kubernetes.io/managed-by": "aifctl"}},
                "spec": self._spec(0)}  # fmt: skip
        try:
            return self._has(await self.client.create(self._path, body))
        except ApiError as error:
            if error.status != 404:  # the namespace is not there yet
                raise
        await self.client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                                        "metadata": {"name": self.namespace}})  # fmt: skip
        return self._has(await self.client.create(self._path, body))

    async def _take(self, found: dict[str, Any]) -> bool:
        transitions = int((found.get("spec") or {}).get("leaseTransitions") or 0)
        found["spec"] = self._spec(transitions + 1)
        return self._has(await self.client.replace(f"{self._path}/{self.name}", found))

    async def _renew(self) -> bool:
        """Only over the version that is ours: who writes in between leads."""
        assert self._lease is not None
        lease = {**self._lease, "spec": {**self._lease["spec"], "renewTime": _now()}}
        try:
            return self._has(await self.client.replace(f"{self._path}/{self.name}", lease))
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        found = await self._read()  # our own first try may have been written although its answer was lost
        if found is None or (found.get("spec") or {}).get("holderIdentity") != self.identity:
            return False
        return self._has(found)

    def _has(self, lease: dict[str, Any]) -> bool:
        self._lease, self._renewed, self.other = lease, time.monotonic(), ""
        return True

    def _spec(self, transitions: int) -> dict[str, Any]:
        return {"holderIdentity": self.identity, "leaseDurationSeconds": int(DURATION), "acquireTime": _now(),
                "renewTime": _now(), "leaseTransitions": transitions}  # fmt: skip


def _now() -> str:
    """MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
