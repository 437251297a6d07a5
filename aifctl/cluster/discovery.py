"""Which kinds the server knows, and under which path: two requests, by aggregated discovery (KEP-3352)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aifctl.cluster.client import Client
from aifctl.cluster.errors import ApiError

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Resource:
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """URL path of one object, or of all (in a namespace, or everywhere)."""
        start = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{start}{inside}/{self.plural}{'/' + quote(name, safe='') if name else ''}"


@dataclass(frozen=True, slots=True)
class Discovery:
    resources: Mapping[tuple[str, str], Resource]
    """(apiVersion, kind) → resource."""
    preferred: Mapping[tuple[str, str], Resource]
    """(group, kind) → resource in the version that the server prefers."""
    failed: frozenset[str] = frozenset()
    """Groups whose own server does not answer: what is in them is unknown, not absent."""

    def find(self, api_version: str, kind: str) -> Resource | None:
        return self.resources.get((api_version, kind))

    def of_kind(self, group: str, kind: str, version: str = "") -> Resource | None:
        """In this version where it is served, else in the preferred one: what was applied under v1beta1 is still it."""
        api_version = f"{group}/{version}" if group else version
        return self.resources.get((api_version, kind)) or self.preferred.get((group, kind))


async def discover(client: Client) -> Discovery:
    """Raises ApiError, Unreachable."""
    groups = [group for answer in await asyncio.gather(*(_groups(client, path) for path in ("/api", "/apis")))
              for group in answer]  # fmt: skip
    found: dict[tuple[str, str], Resource] = {}
    preferred: dict[tuple[str, str], Resource] = {}
    failed = set()
    for group in groups:
        name = (group.get("metadata") or {}).get("name", "")
        for version in group.get("versions") or ():
            if version.get("freshness") == "Stale":
                failed.add(name)
            for resource in _resources(name, version):
                found[resource.api_version, resource.kind] = resource
                preferred.setdefault((name, resource.kind), resource)
    return Discovery(found, preferred, frozenset(failed))


async def _groups(client: Client, path: str) -> list[Mapping[str, Any]]:
    answer = await client.get(path, accept=AGGREGATED)
    if answer.get("kind") == "APIGroupDiscoveryList":
        return list(answer.get("items") or ())
    raise ApiError(
        406, "NotAcceptable", "the API server has no aggregated discovery: Kubernetes 1.30 or newer is needed"
    )


def _resources(group: str, version: Mapping[str, Any]) -> Iterator[Resource]:
    for entry in version.get("resources") or ():
        kind = (entry.get("responseKind") or {}).get("kind")
        if kind:
            yield Resource(
                group,
                version["version"],
                kind,
                entry["resource"],
                entry.get("scope") == "Namespaced",
                frozenset(entry.get("verbs") or ()),
            )
