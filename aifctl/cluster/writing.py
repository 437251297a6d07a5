"""Sends one object to the API server, as its item says, and says what the inventory keeps of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from aifctl.cluster import discovery, fields, health, snapshot
from aifctl.cluster.client import APPLY, JSON_PATCH, Client
from aifctl.cluster.discovery import Resource
from aifctl.cluster.errors import ApiError
from aifctl.cluster.ground import Item, unit_of
from aifctl.cluster.inventory import ENDED, Entry
from aifctl.cluster.live import not_our_run
from aifctl.cluster.snapshot import Live
from aifctl.cluster.wanted import Object
from aifctl.diagnostics import Diagnostic, Report
from aifctl.plan.change import Action

TRIES = 3
SERVED = 10.0
"""Seconds between a definition that is ready and its kind's being known."""
GONE = 60.0
"""Seconds for an object to go that is to be replaced."""


async def write(client: Client, item: Item, *, force: bool) -> tuple[str, Live]:
    """Sends one object; what was done (created, changed, replaced) and the object as it is now.

    Raises ApiError, Unreachable, and Report: AIF725 for an object that is to be replaced and does not go, AIF728 for a
    run that somebody else has made meanwhile.
    """
    resource = item.resource or await now_known(client, item.object)
    path = resource.path(item.identity.namespace, item.identity.name)
    if item.object.run:
        return "created", await _created(client, resource, item)
    if item.action is Action.REPLACE:
        await _removed(client, path, item)
        return "replaced", await client.patch(path, APPLY, item.body, _applying(force=False))
    if item.managed is not None:
        await _migrate(client, path)
    if item.keep_replicas is not None:
        await client.patch(path, APPLY, _replicas(item), {"fieldManager": fields.HAND_OVER, "force": "true"})
    what = "created" if item.action is Action.CREATE else "changed"
    return what, await client.patch(path, APPLY, item.body, _applying(force=force or item.force))


async def now_known(client: Client, wanted: Object) -> Resource:
    """A kind whose definition this very apply has brought."""
    until = asyncio.get_running_loop().time() + SERVED
    while True:
        found = await discovery.discover(client)
        resource = found.find(wanted.api_version, wanted.identity.kind)
        if resource is not None:
            return resource
        if asyncio.get_running_loop().time() > until:
            raise ApiError(404, "NotFound", f"the cluster has no {wanted.api_version} {wanted.identity.kind} yet")
        await asyncio.sleep(0.2)


async def _removed(client: Client, path: str, item: Item) -> None:
    """Deletes just the object that was planned for, and waits until its name is free."""
    assert item.live is not None
    assert item.resource is not None
    uid = item.live["metadata"]["uid"]
    with _gone_is_fine():
        await client.delete(path, uid, "Foreground")
    until = asyncio.get_running_loop().time() + GONE
    while True:
        there = await snapshot.one(client, item.resource, item.identity)
        if there is None or there["metadata"]["uid"] != uid:
            return
        if asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(0.2)
    finalizers = ", ".join(there["metadata"].get("finalizers") or ()) or "none"
    hint = "what holds it must let it go; then apply again: it will be made anew"
    late = f"{item.identity} is still there {GONE:.0f} s after it was deleted (finalizers: {finalizers})"
    raise Report(Diagnostic("AIF725", late, hint))


def entry_of(wanted: Object, found: Live) -> Entry:
    """What the inventory keeps of an object as the server answered it."""
    metadata = found["metadata"]
    return Entry(
        wanted.identity,
        wanted.version,
        str(metadata["uid"]),
        wanted.intent,
        ENDED if wanted.run and health.ended(found) else fields.observed(found),
        str(metadata["resourceVersion"]),
    )


def planned(item: Item) -> Entry:
    return Entry(item.identity, item.object.version)


def known_anew(item: Item) -> Entry | None:
    """The entry of an object that needed no write, where it differs from the one on record."""
    if item.action is not Action.UNCHANGED or item.live is None:
        return None
    if item.object.run and item.entry is not None and item.entry.uid == item.live["metadata"]["uid"]:
        return item.entry._replace(observed=ENDED) if health.ended(item.live) else item.entry
    return entry_of(item.object, item.live)


def _applying(*, force: bool) -> Mapping[str, str]:
    return {"fieldManager": fields.MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}


def _replicas(item: Item) -> Mapping[str, Any]:
    metadata = {"name": item.identity.name, "namespace": item.identity.namespace}
    return {"apiVersion": item.object.api_version, "kind": item.identity.kind, "metadata": metadata,
            "spec": {"replicas": item.keep_replicas}}  # fmt: skip


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    """Our own first try may have been done although its answer was lost."""
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise


async def _created(client: Client, resource: Resource, item: Item) -> Live:
    """A run: made once, and if it is there already it stays as it is."""
    identity = item.identity
    try:
        return await client.create(resource.path(identity.namespace), item.manifest.object,
                                   {"fieldManager": fields.MANAGER, "fieldValidation": "Strict"})  # fmt: skip
    except ApiError as error:
        if error.status != 409 or error.reason != "AlreadyExists":
            raise
    there = await client.get(resource.path(identity.namespace, identity.name))
    if unit_of(there, item.wanted.unit.environment) is None:
        raise Report(not_our_run(item))
    return there


async def _migrate(client: Client, path: str) -> None:
    """Makes people's fields ours. Only over the very version that was read: managedFields have no merge."""
    for attempt in range(TRIES):
        found = await client.get(path)
        managed = fields.migrated(found)
        if managed is None:
            return
        version = found["metadata"]["resourceVersion"]
        body = [
            {"op": "replace", "path": "/metadata/managedFields", "value": managed},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        ]
        try:
            await client.patch(path, JSON_PATCH, body, {"fieldManager": fields.MANAGER})
        except ApiError as error:
            if error.status != 409 or attempt == TRIES - 1:
                raise
        else:
            return
