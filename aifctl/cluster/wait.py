"""Waits until objects are healthy, each as long as its kind may take, and says in which phase one is stuck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from aifctl.cluster import health
from aifctl.cluster.client import Client
from aifctl.cluster.discovery import Resource
from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.health import Health, State, Streak, Subject, Trouble
from aifctl.cluster.snapshot import Live
from aifctl.cluster.watch import Observer
from aifctl.diagnostics import Diagnostic
from aifctl.manifest import Identity, Manifest
from aifctl.plan.diff import is_run

TICK = 1.0
LOG_LINES = 20
UNSEEN = Health(state=State.PENDING, phase="Unseen", message="the watch has not told of the last write yet")
LOOK = 5.0
"""Seconds between two looks at the pods of a workload that is not healthy."""
PATIENCE = 60.0
"""Seconds that pods may be in what they hardly come out of: a registry has its moments, a neighbour may start later."""


@dataclass(slots=True)
class _Awaited:
    identity: Identity
    resource: Resource
    left: float
    """Seconds it may still take; time in a queue does not count."""
    allowed: float
    written: str = ""
    """resourceVersion of our write; empty where we wrote nothing."""
    seen: bool = False
    failing_since: float | None = None
    streak: Streak = field(default_factory=Streak)
    looked: float = float("-inf")
    trouble: Trouble | None = None
    health: Health = field(default_factory=lambda: health.assess(None))


class Waiter:
    """One watch a kind for all units that wait. `client` is who watches; pods are read by the same identity."""

    def __init__(self, client: Client, observer: Observer) -> None:
        self.client, self.observer = client, observer

    async def until_healthy(
        self,
        objects: Iterable[tuple[Identity, Resource]],
        timeout: float | None = None,
        written: Mapping[Identity, str] = MappingProxyType({}),
    ) -> list[Diagnostic]:
        """Findings for those that failed or took too long: none when all is well. Returns at the first failure.

        `written`: resourceVersions of what was just written. What a watch still has from before says nothing.
        """
        awaited = [_Awaited(i, resource, 0.0, 0.0, written=written.get(i, "")) for i, resource in objects]
        await self.observer.watch((each.resource, each.identity.namespace) for each in awaited)
        for each in awaited:
            live = self.observer.objects.get(each.identity)
            kind = health.timeout(each.identity.group, each.identity.kind) if live is None else health.timeout_of(live)
            each.left = each.allowed = kind if timeout is None else timeout
        last = time.monotonic()
        while awaited:
            now = time.monotonic()
            settled = await asyncio.gather(*(self._is_settled(each, now, now - last) for each in awaited))
            awaited = [each for each, done in zip(awaited, settled, strict=True) if not done]
            last = now
            bad = [(each, verdict) for each in awaited if (verdict := _verdict(each, now)) is not None]
            if bad:
                return [await self._explained(each, verdict) for each, verdict in bad]
            if awaited:
                await self.observer.changed(TICK)
        return []

    async def until_gone(self, objects: Iterable[tuple[Identity, Resource]], timeout: float) -> list[Identity]:
        """Those that are still there after so many seconds."""
        left = dict(objects)
        await self.observer.watch((resource, identity.namespace) for identity, resource in left.items())
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            left = {i: resource for i, resource in left.items() if i in self.observer.objects}
            if not left:
                return []
            await self.observer.changed(TICK)
        return list(left)

    async def _is_settled(self, each: _Awaited, now: float, passed: float) -> bool:
        live = self.observer.objects.get(each.identity)
        if live is not None and _is_older(live, each.written):
            each.health, each.left = UNSEEN, each.left - passed
            return False
        verdict = health.assess(live, datetime.now(UTC))
        each.seen = each.seen or live is not None
        if verdict.state is not State.QUEUED:
            each.left -= passed
        settled = health.settled(live, verdict)
        run = health.is_run(each.identity.group, each.identity.kind)
        if live is not None and not run and (settled or now - each.looked >= LOOK):
            # A workload's own status may call it well while its pods crash.
            each.trouble, each.looked = await pods_trouble(self.client, live), now
            each.streak.note(each.trouble, now)
        each.health = health.blame(verdict, each.trouble)
        return settled and health.settled(live, each.health)

    async def _explained(self, each: _Awaited, verdict: str) -> Diagnostic:
        subject = Subject(each.identity.kind, each.identity.name, each.identity.namespace)
        if verdict == "gone":
            return health.vanished(subject)
        trouble, lines = await trouble_of(self.client, self.observer.objects.get(each.identity))
        if verdict == "hopeless":  # whatever they are in at this very moment
            found = health.given_up(subject, each.health, PATIENCE, each.trouble)
        elif verdict == "late":
            found = health.timed_out(subject, each.health, each.allowed, trouble)
        elif health.is_run(each.identity.group, each.identity.kind):
            found = health.ended_badly(subject, each.health, trouble)
        else:
            found = health.failed(subject, each.health, trouble)
        return with_log(found, lines)


async def trouble_of(client: Client, live: Live | None) -> tuple[Trouble | None, list[str]]:
    """What ails a workload's pods, and the last lines of the worst container, as far as we may read them."""
    trouble = await pods_trouble(client, live) if live is not None else None
    if live is None or trouble is None or not trouble.container:
        return trouble, []
    return trouble, await _log(client, f"{_pods(live)}/{trouble.pod}/log", trouble)


async def pods_trouble(client: Client, live: Live) -> Trouble | None:
    """The worst that ails a workload's pods; None where nothing does, it has no pods, or we may not read them.

    Of a run that goes on its steps' pods count too; why one has ended, its driver says. Pods of an earlier template do
    not count: they stay until the new ones are ready.
    """
    from aifctl.contract import RUN  # a plan, and an apply that waits for nothing, go without

    labels = health.selector(live)
    if not labels:
        return None
    selectors = [",".join(f"{key}={value}" for key, value in sorted(labels.items()))]
    if is_run(Manifest(live)) and not health.ended(live):
        selectors.append(f"{RUN}={live['metadata']['name']}")
    try:
        pages = [await client.items(_pods(live), {"labelSelector": each}) for each in selectors]
    except (ApiError, Unreachable):
        return None
    pods = [pod for found, _ in pages for pod in found]
    if health.stuck(pods) is None:
        return None
    sets = await _sets(client, live, selectors[0]) if health.has_sets(pods) else []
    return health.stuck(health.newest(live, pods, sets))


async def _sets(client: Client, live: Live, selector: str) -> Sequence[Live]:
    """A workload's ReplicaSets; none where we may not read them."""
    path = f"/apis/apps/v1/namespaces/{live['metadata'].get('namespace', '')}/replicasets"
    try:
        return (await client.items(path, {"labelSelector": selector}))[0]
    except (ApiError, Unreachable):
        return []


def _pods(live: Live) -> str:
    return f"/api/v1/namespaces/{live['metadata'].get('namespace', '')}/pods"


def with_log(found: Diagnostic, lines: list[str]) -> Diagnostic:
    from dataclasses import replace

    return replace(found, notes=(*found.notes, *(f"log: {line}" for line in lines))) if lines else found


async def _log(client: Client, path: str, trouble: Trouble) -> list[str]:
    """Of the container's last life when it has ended and was started again."""
    asked: Mapping[str, Any] = {"container": trouble.container, "tailLines": str(LOG_LINES)}
    for previous in ("true", "false") if trouble.restarts else ("false",):
        try:
            text = await client.text(path, {**asked, "previous": previous})
        except (ApiError, Unreachable):
            continue
        if text.strip():
            return text.rstrip().splitlines()[-LOG_LINES:]
    return []


def _is_older(live: Live, written: str) -> bool:
    """Versions of one kind are numbers that grow (KEP-5504); where they are none, nothing is known."""
    version = str(live["metadata"].get("resourceVersion") or "")
    return version.isdecimal() and written.isdecimal() and int(version) < int(written)


def _verdict(each: _Awaited, now: float) -> str | None:
    state = each.health.state
    if state is State.MISSING:
        return "gone" if each.seen else "late" if each.left <= 0 else None
    if state is State.FAILED:
        each.failing_since = each.failing_since or now
        patience = health.grace(each.identity.group, each.identity.kind)
        if now - each.failing_since >= min(patience, max(0.0, each.left)):
            return "failed"
        return None
    each.failing_since = None
    if each.streak.lasts(now) >= PATIENCE:
        return "hopeless"
    return "late" if each.left <= 0 else None


async def settle(client: Client, objects: list[tuple[Identity, Resource]], timeout: float) -> list[Identity]:
    """Polls a few objects that others lean on (CRDs, Namespaces) until they are ready; those that are not in time."""
    until = time.monotonic() + timeout
    left = dict(objects)
    while left:
        for identity, resource in list(left.items()):
            try:
                live = await client.get(resource.path(identity.namespace, identity.name))
            except ApiError:
                continue
            if health.settled(live, health.assess(live)):
                del left[identity]
        if not left or time.monotonic() > until:
            break
        await asyncio.sleep(0.1)
    return list(left)
