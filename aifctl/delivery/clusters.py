"""An environment's cluster: how it is reached, and who reaches for it."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aifctl.cluster import access
from aifctl.cluster.client import PATIENCE, Client
from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.records import Records
from aifctl.delivery.environments import Address
from aifctl.diagnostics import Report
from aifctl.spec import git

if TYPE_CHECKING:
    pass

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How to reach a cluster where the platform file does not say it right: another context, another kubeconfig."""

    context: str | None = None
    kubeconfig: str | None = None
    patience: float = PATIENCE


def run(place: Address, door: Door, act: Callable[[Client, Records], Awaitable[Result]]) -> Result:
    """Does something with an environment's cluster. Raises Report for all that can go wrong on the way there."""

    result: list[Result] = []

    async def whole() -> None:
        # Not as the task's own result: when the loop is closed Python 3.11 writes that out in full, and drops the text.
        async with connected(place, door) as (client, records):
            result.append(await act(client, records))

    try:
        asyncio.run(whole())
    except Unreachable as error:
        raise Report(error.finding()) from None
    except ApiError as error:
        raise Report(error.finding(f"environment {place.name}")) from None
    return result[0]


@asynccontextmanager
async def connected(place: Address, door: Door) -> AsyncIterator[tuple[Client, Records]]:
    """A client of the environment's cluster, and its inventories. Raises Report (AIF700 to AIF702)."""
    context = door.context or place.context

    def find() -> access.Access:
        return access.find(context, door.kubeconfig)

    async with Client(find(), patience=door.patience, reload=find) as client:
        yield client, Records(client, place.name)


def commit_of(root: Path) -> str:
    """The commit that is applied; empty where the folder differs from it, or is in no Git repository."""
    try:
        found = git.commit(root)
    except Report:
        return ""
    return "" if found.dirty else found.sha


def who() -> str:
    """For the history: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
