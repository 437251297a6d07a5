"""The live objects of an environment, by one list a kind; single reads only for what a list did not show."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aifctl.cluster.client import Client
from aifctl.cluster.discovery import Discovery, Resource
from aifctl.cluster.errors import ApiError
from aifctl.cluster.inventory import Entry
from aifctl.cluster.wanted import Object
from aifctl.manifest import Identity
from aifctl.render.ownership import ENVIRONMENT

Live = Mapping[str, Any]
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
LONG = frozenset({("argoproj.io", "Workflow")})
"""Runs whose status tells of every step, megabytes at times; their metadata says that they are there and have ended."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was found; an identity that is not here was not there."""

    discovery: Discovery
    objects: Mapping[Identity, Live] = field(default_factory=dict)

    def resource(self, api_version: str, kind: str) -> Resource | None:
        return self.discovery.find(api_version, kind)

    def resource_of(self, entry: Entry) -> Resource | None:
        return self.discovery.of_kind(entry.identity.group, entry.identity.kind, entry.version)


async def take(
    client: Client,
    discovery: Discovery,
    environment: str,
    wanted: Iterable[Object],
    entries: Iterable[Entry],
    *,
    brief: bool = False,
) -> Snapshot:
    """Everything that is wanted or on record, as far as it is there; `brief`: of `LONG` runs their metadata.

    Raises ApiError, Unreachable.
    """
    places: dict[Identity, Resource] = {}
    for each in wanted:
        if (resource := discovery.find(each.api_version, each.identity.kind)) is not None:
            places[each.identity] = resource
    known = set()
    for entry in entries:
        if (resource := discovery.of_kind(entry.identity.group, entry.identity.kind, entry.version)) is not None:
            places.setdefault(entry.identity, resource)
            known.add(entry.identity)
    found = await _listed(client, places, environment, brief=brief)
    missing = [identity for identity in places if identity not in found]
    strangers = await _strangers(client, {i: places[i] for i in missing if i not in known})
    lost = [identity for identity in missing if identity in known or identity in strangers]
    for identity, live in zip(lost, await _each(client, lost, places), strict=True):
        if live is not None:
            found[identity] = live
    return Snapshot(discovery, found)


async def single(client: Client, discovery: Discovery, wanted: Iterable[Object], entries: Iterable[Entry]) -> Snapshot:
    """As `take`, by a read an object: for the few objects of one unit. Raises ApiError, Unreachable."""
    places = dict(_places(discovery, wanted, entries))
    found = await _each(client, list(places), places)
    there = {identity: live for identity, live in zip(places, found, strict=True) if live is not None}
    return Snapshot(discovery, there)


def _places(
    discovery: Discovery, wanted: Iterable[Object], entries: Iterable[Entry]
) -> Iterator[tuple[Identity, Resource]]:
    """What is wanted comes last: its version counts."""
    for entry in entries:
        if (resource := discovery.of_kind(entry.identity.group, entry.identity.kind, entry.version)) is not None:
            yield entry.identity, resource
    for each in wanted:
        if (resource := discovery.find(each.api_version, each.identity.kind)) is not None:
            yield each.identity, resource


def identity_of(live: Live) -> Identity:
    group, slash, _ = str(live.get("apiVersion", "")).partition("/")
    metadata = live["metadata"]
    return Identity(group if slash else "", str(live["kind"]), metadata.get("namespace") or "", metadata["name"])


async def one(client: Client, resource: Resource, identity: Identity) -> dict[str, Any] | None:
    try:
        return await client.get(resource.path(identity.namespace, identity.name))
    except ApiError as error:
        if error.status == 404:
            return None
        raise


async def _listed(
    client: Client, places: Mapping[Identity, Resource], environment: str, *, brief: bool
) -> dict[Identity, Live]:
    spaces: dict[Resource, set[str]] = {}
    for identity, resource in places.items():
        spaces.setdefault(resource, set()).add(identity.namespace)
    selector = {"labelSelector": f"{ENVIRONMENT}={environment}"}
    kinds = spaces.items()
    pages = await asyncio.gather(*(_of_kind(client, each, names, selector, brief=brief) for each, names in kinds))
    return {identity_of(live): live for page in pages for live in page}


async def _of_kind(
    client: Client, resource: Resource, spaces: set[str], params: Mapping[str, str], *, brief: bool
) -> list[Live]:
    """Of all namespaces at once; where that is not allowed, of each."""

    async def listed(path: str) -> list[Live]:
        if not brief or (resource.group, resource.kind) not in LONG:
            return list((await client.items(path, params))[0])
        found, _ = await client.items(path, params, METADATA)
        return [{**each, "apiVersion": resource.api_version, "kind": resource.kind} for each in found]

    try:
        if len(spaces) > 1 or not resource.namespaced:
            return await listed(resource.path())
    except ApiError as error:
        if error.status == 404:
            return []
        if error.status != 403 or not resource.namespaced:
            raise
    pages = await asyncio.gather(*(listed(resource.path(space)) for space in sorted(spaces)))
    return [live for page in pages for live in page]


async def _strangers(client: Client, places: Mapping[Identity, Resource]) -> set[Identity]:
    """Of names that no list of ours showed, those that are taken all the same. Names only, a list a kind and space."""
    spaces = {(resource, identity.namespace) for identity, resource in places.items()}
    asked = sorted(spaces, key=lambda each: (each[0].plural, each[1]))
    pages = await asyncio.gather(*(_names(client, resource, space) for resource, space in asked))
    taken = {(resource, space): names for (resource, space), names in zip(asked, pages, strict=True)}
    return {i for i, resource in places.items() if i.name in taken[resource, i.namespace]}


async def _names(client: Client, resource: Resource, space: str) -> set[str]:
    try:
        found, _ = await client.items(resource.path(space), accept=METADATA)
    except ApiError as error:
        if error.status == 404:
            return set()
        raise
    return {each["metadata"]["name"] for each in found}


async def _each(client: Client, identities: list[Identity], places: Mapping[Identity, Resource]) -> list[Live | None]:
    return list(await asyncio.gather(*(one(client, places[identity], identity) for identity in identities)))
