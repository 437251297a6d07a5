"""What every check of a cluster is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aifctl import ir
from aifctl.cluster import discovery
from aifctl.cluster.client import Client
from aifctl.cluster.discovery import Discovery
from aifctl.cluster.errors import ApiError
from aifctl.cluster.greeting import Greeting, greet
from aifctl.cluster.records import Records
from aifctl.delivery.doctor.purpose import Purpose
from aifctl.pipeline import Compiled
from aifctl.spec.models.platform import AcceleratorFlavour, Environment, Platform

NAMES = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Of an object its metadata alone, so that the values of a Secret never come here."""


@dataclass(slots=True, kw_only=True)
class Subject:
    """An environment's cluster. What several checks ask is asked once."""

    client: Client
    records: Records
    environment: Environment
    compiled: Compiled
    purpose: Purpose
    _tasks: dict[str, asyncio.Future[Any]] = field(default_factory=dict)

    @property
    def platform(self) -> Platform | None:
        return self.compiled.repository.platform

    @property
    def flavours(self) -> tuple[AcceleratorFlavour, ...]:
        return self.platform.spec.hardware if self.platform is not None else ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Of the platform's tenants and of the models, in this environment."""
        tenants = self.platform.spec.tenants if self.platform is not None else ()
        named = {self.environment.namespace_of(tenant.name) for tenant in tenants}
        return tuple(sorted(named | {model.bundle.target.namespace for model in self.compiled.models}))

    async def greeting(self) -> Greeting:
        return await self._once("greeting", lambda: greet(self.client.access))  # type: ignore[no-any-return]

    async def discovery(self) -> Discovery:
        return await self._once("discovery", lambda: discovery.discover(self.client))  # type: ignore[no-any-return]

    async def nodes(self) -> list[dict[str, Any]]:
        return (await self._once("nodes", lambda: self.client.items("/api/v1/nodes")))[0]  # type: ignore[no-any-return]

    async def found(self, path: str, accept: str = NAMES) -> dict[str, Any] | None:
        """The object there; None where there is none."""
        try:
            return await self.client.get(path, accept=accept)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _once(self, name: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Shielded: a check that has no time left must not take the answer away from the others."""
        if name not in self._tasks:
            self._tasks[name] = asyncio.ensure_future(ask())
        return await asyncio.shield(self._tasks[name])


def places(bundle: ir.Bundle) -> Iterator[ir.Step | ir.Service]:
    """All that becomes pods of a model."""
    yield from bundle.run.steps if bundle.run is not None else ()
    if bundle.service is not None:
        yield bundle.service
