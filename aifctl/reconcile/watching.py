"""What lives in the cluster, as it changes: one watch a kind for an environment's objects, one for its inventories.

Of an object only `Seen` is kept; managedFields are read once for the digest of our fields, and dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aifctl.cluster import fields, health
from aifctl.cluster import inventory as inventories
from aifctl.cluster.client import Account, Client
from aifctl.cluster.discovery import Discovery, Resource
from aifctl.cluster.errors import ApiError
from aifctl.cluster.inventory import HEAD, KIND, OF_ENVIRONMENT, SHARD, Inventory, Unit
from aifctl.cluster.snapshot import Live
from aifctl.cluster.watch import Observer
from aifctl.diagnostics import Report
from aifctl.manifest import Identity
from aifctl.reconcile.book import Seen
from aifctl.render.ownership import ENVIRONMENT

PRIVATE = frozenset({("", "Secret")})
"""(group, kind) that is read a namespace at a time, as the account that may write there: no right of ours reaches
secrets of the whole cluster."""
LIST = 20.0
"""Seconds for a kind's first list; one that takes longer is watched all the same, and not waited for."""


def seen(live: Live) -> Seen:
    metadata = live["metadata"]
    version = str(metadata.get("resourceVersion") or "")
    return Seen(
        str(metadata.get("uid") or ""),
        int(version) if version.isdigit() else 0,
        fields.observed(live),
        health.settled(live, health.assess(live)),
        health.ended(live),
        bool(metadata.get("deletionTimestamp")),
    )


@dataclass
class Watching:
    """`tell_live` and `tell_inventory` are called with each change, from the loop. A unit whose inventory can't be read
    from the watch alone is told to `unread`. Use as `async with`."""

    client: Client
    environment: str
    namespace: str
    tell_live: Callable[[Identity, Seen | None], Any]
    tell_inventory: Callable[[Unit, Inventory | None], Any]
    unread: Callable[[str], Any]
    account: Callable[[str], Account]
    """Namespace → who may read `PRIVATE` kinds there."""
    _shards: dict[str, str] = field(default_factory=dict)
    _heads: dict[str, Unit] = field(default_factory=dict)

    async def __aenter__(self) -> Watching:
        self.objects = Observer(self.client, f"{ENVIRONMENT}={self.environment}", self._live, self._reader)
        self.inventories = Observer(self.client, f"{OF_ENVIRONMENT}={self.environment}", self._inventory)
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.objects.__aexit__(*details)
        await self.inventories.__aexit__(*details)

    async def watch_inventories(self, discovery: Discovery) -> None:
        """Raises ApiError (no right to), Unreachable."""
        resource = discovery.find("v1", "ConfigMap")
        assert resource is not None
        await self.inventories.watch([(resource, self.namespace)])

    async def watch_kinds(self, discovery: Discovery, kinds: Iterable[tuple[str, str, str, str]]) -> list[str]:
        """Watches what is not watched yet, kind by kind: lists of all kinds at once would need memory for all. Returns
        kinds that may not be watched, or whose server does not answer."""
        wanted: dict[Resource, set[str]] = {}
        for group, version, kind, namespace in kinds:
            if (resource := discovery.of_kind(group, kind, version)) is not None:
                wanted.setdefault(resource, set()).add(namespace)
        return [r.kind for r, spaces in wanted.items() if not await self._watched(r, spaces)]

    async def _watched(self, resource: Resource, spaces: set[str]) -> bool:
        if (resource.group, resource.kind) in PRIVATE:
            return all([await self._watched_alone(resource, space) for space in sorted(spaces)])
        try:
            async with asyncio.timeout(LIST):
                try:
                    if (resource.group, resource.kind) not in PRIVATE and not any(
                        (resource, space) in self.objects.watched for space in spaces
                    ):
                        await self.objects.watch([(resource, "")])
                        return True
                except ApiError:
                    await self.objects.drop(resource)
                    if not resource.namespaced:
                        return False
                if (resource, "") not in self.objects.watched:
                    await self.objects.watch((resource, space) for space in sorted(spaces))
        except TimeoutError:
            return False
        except ApiError:
            for space in spaces:
                await self.objects.drop(resource, space)
            return False
        return True

    async def _watched_alone(self, resource: Resource, space: str) -> bool:
        """An account that is not there yet costs its own namespace's watch and no other's."""
        try:
            async with asyncio.timeout(LIST):
                await self.objects.watch([(resource, space)])
        except TimeoutError:
            return False
        except ApiError:
            await self.objects.drop(resource, space)
            return False
        return True

    def _reader(self, resource: Resource, namespace: str) -> Client:
        private = (resource.group, resource.kind) in PRIVATE
        return self.client.acting_as(self.account(namespace)) if private else self.client

    def _live(self, identity: Identity, live: Live | None) -> None:
        self.tell_live(identity, seen(live) if live is not None else None)

    def _inventory(self, identity: Identity, live: Live | None) -> None:
        name = identity.name
        if live is None:
            self._shards.pop(name, None)
            if (unit := self._heads.pop(name, None)) is not None:
                self.tell_inventory(unit, None)
            return
        kind = (live["metadata"].get("labels") or {}).get(KIND)
        data = live.get("data") or {}
        if kind == SHARD:
            self._shards[name] = str(data.get("objects.json", ""))
        elif kind == HEAD:
            self._head(name, live, data)

    def _head(self, name: str, live: Live, data: Any) -> None:
        try:
            found = inventories.read(data, self._shards, name)
        except Report:  # a shard that comes later, or damage: a read of its own tells which
            self.unread(name)
            return
        if found.unit.environment == self.environment and found.unit.key == name:
            self._heads[name] = found.unit
            self.tell_inventory(found.unit, found)
