"""Live objects as they change: one list and one watch a kind, kept up through cut connections and expired versions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aifctl.cluster.client import Client
from aifctl.cluster.discovery import Resource
from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.snapshot import Live, identity_of
from aifctl.manifest import Identity

SHORTEST, LONGEST = 0.2, 15.0
"""Seconds between two attempts when a watch can't be opened."""
STREAM = 290
"""Seconds after which the server ends a stream, so that it can spread its watchers."""
Listener = Callable[[Identity, Live | None], Any]
"""Called with each object that came or changed, and with None for one that went; what it returns is kept."""


class Observer:
    """Watches kinds, by one label selector. `objects` holds what `keep` made of each live object.

    Use as `async with`; `watch` returns when the first list is in. A kind that may only be listed a namespace at a time
    is watched so.
    """

    def __init__(
        self,
        client: Client,
        selector: str,
        keep: Listener | None = None,
        reader: Callable[[Resource, str], Client] | None = None,
    ) -> None:
        """`reader` says by whom a kind is read in a namespace, where that is not `client`."""
        self.client, self.selector = client, selector
        self.reader = reader or (lambda resource, namespace: client)
        self.keep: Listener = keep or (lambda _, live: stripped(live) if live is not None else None)
        self.objects: dict[Identity, Any] = {}
        self.lists = 0
        """Lists made so far: at rest it stands still."""
        self._tasks: dict[tuple[Resource, str], asyncio.Task[None]] = {}
        self._ready: dict[tuple[Resource, str], asyncio.Event] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Observer:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def watch(self, places: Iterable[tuple[Resource, str]]) -> None:
        """Starts what is not watched yet: (kind, namespace), the empty namespace for all of them."""
        for place in dict.fromkeys(places):
            if place not in self._tasks:
                self._ready[place] = asyncio.Event()
                self._tasks[place] = asyncio.create_task(self._follow(*place))
        for place in list(self._tasks):
            await self._until_ready(place)

    async def drop(self, resource: Resource, namespace: str = "") -> None:
        """Stops watching a kind, and forgets its objects."""
        task = self._tasks.pop((resource, namespace), None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._forget(self._known(resource, namespace))

    @property
    def watched(self) -> list[tuple[Resource, str]]:
        return list(self._tasks)

    async def changed(self, timeout: float) -> bool:
        """Waits for a change since the last call; whether one came in time."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def _until_ready(self, place: tuple[Resource, str]) -> None:
        """Raises what ended the watch before its first list was in."""
        ready = asyncio.ensure_future(self._ready[place].wait())
        task = self._tasks[place]
        await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _follow(self, resource: Resource, namespace: str) -> None:
        """Lists, watches from there, and lists again whenever the server no longer knows where we were."""
        version, pause = "", SHORTEST
        while True:
            begun = time.monotonic()
            try:
                if not version:
                    version = await self._list(resource, namespace)
                    self._ready[resource, namespace].set()
                version = await self._stream(resource, namespace, version)
            except ApiError as error:
                if error.status in (401, 403) and not self._ready[resource, namespace].is_set():
                    raise
                version = ""
            except (KeyError, TypeError, AttributeError):  # an object of an event that is none
                version = ""
            except Unreachable:
                pass
            if time.monotonic() - begun > pause:  # it went well for a while: a server that restarts, or rests
                pause = SHORTEST
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST)

    async def _list(self, resource: Resource, namespace: str) -> str:
        self.lists += 1
        try:
            found, version = await self.reader(resource, namespace).items(
                resource.path(namespace), {"labelSelector": self.selector}
            )
        except ApiError as error:
            if error.status != 404:
                raise
            found, version = [], ""
        there = {identity_of(live): live for live in found}
        self._forget(identity for identity in self._known(resource, namespace) if identity not in there)
        for identity, live in there.items():
            self._put(identity, live)
        return version

    async def _stream(self, resource: Resource, namespace: str, version: str) -> str:
        """Until the stream ends; the version to go on from, empty for a new list."""
        asked = {"labelSelector": self.selector, "resourceVersion": version, "timeoutSeconds": str(STREAM)}
        async for event in self.reader(resource, namespace).watch(resource.path(namespace), asked):
            found = event.get("object") or {}
            if event.get("type") == "ERROR":
                return ""
            version = str((found.get("metadata") or {}).get("resourceVersion") or version)
            if event.get("type") == "DELETED":
                self._forget([identity_of(found)])
            elif event.get("type") in ("ADDED", "MODIFIED"):
                self._put(identity_of(found), found)
        return version

    def _put(self, identity: Identity, live: Live) -> None:
        self.objects[identity] = self.keep(identity, live)
        self._changed.set()

    def _forget(self, identities: Iterable[Identity]) -> None:
        for identity in list(identities):
            if identity in self.objects:
                del self.objects[identity]
                self.keep(identity, None)
                self._changed.set()

    def _known(self, resource: Resource, namespace: str) -> list[Identity]:
        return [
            identity
            for identity in self.objects
            if (identity.group, identity.kind) == (resource.group, resource.kind)
            and (not namespace or identity.namespace == namespace)
        ]


def stripped(live: Live) -> dict[str, Any]:
    """Without managedFields, which are most of an object's size (KEP-555)."""
    metadata: Mapping[str, Any] = live["metadata"]
    return {**live, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
