"""Who we are to an API server, and what we may do there: by asking it, not by trying.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from aifctl.cluster.client import Client

AUTHENTICATION = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
AUTHORIZATION = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
ANY = "*"


class Identity(NamedTuple):
    user: str
    groups: tuple[str, ...]


class Right(NamedTuple):
    """`resource` may have a subresource (`pods/log`). Without a namespace: in all of them, or of what is in none."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""

    @property
    def kind(self) -> str:
        """`deployments.apps`, as the API server names it."""
        named = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{named} `{self.name}`" if self.name else named


async def identity(client: Client) -> Identity:
    """Raises ApiError, Unreachable."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    found = (await client.create(AUTHENTICATION, body))["status"]["userInfo"]
    return Identity(str(found.get("username", "")), tuple(map(str, found.get("groups") or ())))


async def lacking(client: Client, rights: Iterable[Right]) -> list[Right]:
    """Those that we do not have. Who may do everything in a namespace is asked once. Raises ApiError, Unreachable."""
    asked = list(dict.fromkeys(rights))
    places = sorted({right.namespace for right in asked})
    whole = await asyncio.gather(*(may(client, Right(place, ANY, ANY, ANY)) for place in places))
    free = {place for place, allowed in zip(places, whole, strict=True) if allowed}
    left = [right for right in asked if right.namespace not in free]
    allowed = await asyncio.gather(*(may(client, right) for right in left))
    return [right for right, is_allowed in zip(left, allowed, strict=True) if not is_allowed]


async def may(client: Client, right: Right) -> bool:
    """Raises ApiError, Unreachable."""
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "namespace": right.namespace,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "verb": right.verb,
        "name": right.name,
    }
    spec = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    return (await client.create(AUTHORIZATION, body))["status"].get("allowed") is True
