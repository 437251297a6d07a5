"""The reconciler as a process: follows Git, leads or stands by, and ends well when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
import traceback
from collections.abc import Awaitable

from aifctl.cluster.client import Client
from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.records import Records
from aifctl.delivery import clusters, environments
from aifctl.diagnostics import Diagnostic, Report
from aifctl.reconcile import compiling
from aifctl.reconcile.compiling import TOO_OFTEN, Compilation, Lost
from aifctl.reconcile.leader import Leader
from aifctl.reconcile.server import Page, Pages, serve
from aifctl.reconcile.settings import Settings
from aifctl.reconcile.shift import Shift
from aifctl.reconcile.source import Source
from aifctl.reconcile.telemetry import Log, Metrics
from aifctl.reconcile.tries import Tries

SOONEST, LONGEST = 1.0, 300.0
"""Seconds between two tries, at least and at most."""
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
ONCE = 20.0
"""Seconds that `once` waits to lead."""
RETRY = 5.0
"""Seconds before the cluster is tried again."""


class Reconciler:
    """`run` ends with the exit code: of `once`, 0 all is as it should be, 1 an error, 2 drift (detect only)."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self.settings, self.log, self.metrics = settings, log, Metrics()
        self.source = Source(settings.repository, settings.ref, settings.state)
        self.compilation: Compilation | None = None
        self.stop = asyncio.Event()
        self.standing_by = False
        self.shift: Shift | None = None
        self._failures = 0
        self._tries = Tries()
        self._told: dict[str, str] = {}

    async def run(self) -> int:
        """Raises Report for what can't be begun."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        self.settings.state.mkdir(parents=True, exist_ok=True)
        async with contextlib.AsyncExitStack() as stack:
            for server in await self._servers():
                stack.callback(server.close)
            self.log("start", environment=self.settings.environment, repository=self.settings.repository,
                     ref=self.settings.ref, detect_only=self.settings.detect_only or None)  # fmt: skip
            code = await self._followed()
        self.log("end", code=code)
        return code

    async def _followed(self) -> int:
        while not await self.news():
            if self.settings.once and not (self._tries.suspect and self._tries.count <= TOO_OFTEN):
                return 1
            if await self._stopped(self._pause()):
                return 0
        assert self.compilation is not None
        address = environments.address(self.compilation.environment)
        async with clusters.connected(address, self.settings.door) as (client, _):
            return await self._led(client)

    # Git

    async def news(self) -> bool:
        """Fetches, and compiles what is new. Whether there is a commit to keep up."""
        commit: str | None
        try:
            commit = await self.source.fetch()
        except Report as report:
            self._failures += 1
            self.metrics.git_up.set(0)
            self._tell("git", report)
            commit = await self.source.last()
        else:
            self._failures = 0
            self._told.pop("git", None)
            self.metrics.git_up.set(1)
            self.metrics.fetched.set(time.time())
        return await self._compiled(commit) if commit is not None else self.compilation is not None

    async def _compiled(self, commit: str) -> bool:
        known = self.compilation if self.compilation is not None and self.compilation.commit == commit else None
        if known is not None and not known.passing:
            # What a commit before it was refused for is over: neither tried again nor told of any more.
            self._tries.went_well(commit)
            self._told.pop("commit", None)
            self.metrics.compile_up.set(1)
            return True
        begun = time.monotonic()
        if not self._tries.is_due(commit, begun):
            return self.compilation is not None
        limit, without = self.settings.compile_timeout, self._tries.without(commit)
        try:
            found = await compiling.compiled(self.source.mirror, commit, self.settings.environment, limit, without)
        except Report as report:
            self._refused(commit, report)
            return self.compilation is not None
        self._went_well(found, time.monotonic() - begun)
        if known is None or (found.frozen.keys(), found.passing) != (known.frozen.keys(), known.passing):
            self._adopted(found, time.monotonic() - begun)
        return True

    def _refused(self, commit: str, report: Report) -> None:
        lost = isinstance(report, Lost)
        pause = self._tries.failed(commit, time.monotonic(), report.model if isinstance(report, Lost) else "")
        self.metrics.compiles.labels("lost" if lost else "refused").inc()
        self.metrics.compile_up.set(0)
        self._tell("commit", report, commit=commit[:10])
        if lost:
            self.log("again", "warning", commit=commit[:10], tries=self._tries.count, seconds=pause)

    def _went_well(self, found: Compilation, seconds: float) -> None:
        self._told.pop("commit", None)
        self.metrics.compiles.labels("compiled").inc()
        self.metrics.compile_up.set(1)
        self.metrics.compile_seconds.observe(seconds)
        self.metrics.compiled.set(time.time())
        if not found.passing:
            self._tries.went_well(found.commit)
            return
        pause = self._tries.failed(found.commit, time.monotonic())
        models = ", ".join(sorted(found.passing))
        self.log("again", "warning", commit=found.commit[:10], models=models, tries=self._tries.count, seconds=pause)

    def _adopted(self, found: Compilation, seconds: float) -> None:
        self.compilation = found
        self.metrics.commit.clear()
        self.metrics.commit.labels(found.commit).set(1)
        units, frozen = len(found.units), len(found.frozen)
        self.log("commit", commit=found.commit[:10], units=units, frozen=frozen, seconds=seconds)
        if not found.complete:
            self.log("incomplete", "warning", message="some spec has no readable name, so no model counts as gone")

    async def follow(self) -> None:
        """News at each interval, until it is cancelled; less often while there are none to be had."""
        while True:
            await asyncio.sleep(self._pause())
            try:
                await self._follow_once()
            except Exception:  # noqa: BLE001 - a fault of ours must not end the news for ever
                self._failures += 1
                self.log("fault", "error", trace=traceback.format_exc())

    async def _follow_once(self) -> None:
        before = self.compilation
        await self.news()
        if self.shift is None or self.compilation is None:
            return
        if self.compilation is not before:
            await self.shift.adopt(self.compilation)
        else:
            self.shift.look_again()

    def _pause(self) -> float:
        """Until the next fetch, or until a commit is due that came to nothing, if that is sooner."""
        longer = min(max(LONGEST, self.settings.interval), self.settings.interval * 2.0 ** min(self._failures, 10))
        pause = longer * random.uniform(0.9, 1.1) if self._failures else self.settings.interval  # noqa: S311 - jitter
        return min(pause, max(SOONEST, self._tries.not_before - time.monotonic())) if self._tries.count else pause

    def _tell(self, about: str, report: Report, **values: str) -> None:
        """Once, as long as it stays the same."""
        if str(report) != self._told.get(about):
            self._told[about] = str(report)
            for found in report.diagnostics:
                self.log.finding(found, **values)
                if self.shift is not None:
                    self.shift.warn(found)

    # Leading

    async def _led(self, client: Client) -> int:
        identity = Records(client, self.settings.environment).holder
        leader = Leader(client, self.settings.namespace, self.settings.environment, identity)
        following = None if self.settings.once else asyncio.create_task(self.follow())
        try:
            while not self.stop.is_set():
                try:
                    if not self.settings.detect_only and not await self._leads(leader):
                        if self.settings.once and not self.stop.is_set():
                            raise Report(_led_by(leader, self.settings))
                        continue
                    code = await self._shift(client, leader)
                    if self.settings.once or self.stop.is_set():
                        return code
                except (ApiError, Unreachable) as error:
                    found = error.finding() if isinstance(error, Unreachable) else error.finding("reconcile")
                    self.log.finding(found)
                    if self.settings.once:
                        return 1
                    await self._stopped(RETRY)
            return 0
        finally:
            await _ended(following)

    async def _leads(self, leader: Leader) -> bool:
        self.standing_by = True
        self.log("standby", lease=f"{leader.namespace}/{leader.name}")
        waiting = asyncio.ensure_future(leader.acquire(ONCE if self.settings.once else None))
        try:
            return bool(await self._unless_stopped(waiting))
        finally:
            self.standing_by = False

    async def _shift(self, client: Client, leader: Leader) -> int:
        """One time of leading."""
        assert self.compilation is not None
        self.metrics.leader.set(1)
        self.log("lead", identity=leader.identity)
        self.shift = Shift(self.settings, client, self.compilation, self.log, self.metrics)
        holding = None if self.settings.detect_only else asyncio.create_task(leader.hold())
        stopping = asyncio.create_task(self.stop.wait())
        working = asyncio.create_task(self.shift.run())
        try:
            watched = {each for each in (holding, stopping, working) if each is not None}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if stopping.done():
                self.log("stop")
                await self.shift.finish()
                return self.shift.code()
            self.log("lost", "warning", lease=f"{leader.namespace}/{leader.name}")
            return 1
        finally:
            await _ended(working)
            await _ended(stopping)
            await _ended(holding)
            self.metrics.leader.set(0)
            self.shift = None
            await leader.release()

    async def _unless_stopped(self, waiting: Awaitable[bool]) -> bool:
        stopping = asyncio.create_task(self.stop.wait())
        task = asyncio.ensure_future(waiting)
        await asyncio.wait({stopping, task}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if task.done():
            return task.result()
        await _ended(task)
        return False

    async def _stopped(self, seconds: float) -> bool:
        """Waits; whether it was told to stop meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            return False
        return True

    # Pages

    async def _servers(self) -> list[asyncio.Server]:
        probes: Pages = {"/healthz": lambda: Page(200, b"ok\n"), "/readyz": self._ready}
        numbers: Pages = {"/metrics": lambda: Page(200, self._numbers(), PROMETHEUS)}
        listen, metrics = self.settings.listen, self.settings.metrics
        if listen == metrics:
            return [await serve(listen, {**probes, **numbers})] if listen else []
        return [await serve(at, pages) for at, pages in ((listen, probes), (metrics, numbers)) if at]

    def _ready(self) -> Page:
        if self.standing_by:
            return Page(200, b"standing by\n")
        if self.shift is not None and self.shift.synced_once:
            return Page(200, b"ok\n")
        return Page(503, b"not everything was looked at yet\n")

    def _numbers(self) -> bytes:
        if self.shift is not None:
            self.shift.measure()
        return self.metrics.page()


def _led_by(leader: Leader, settings: Settings) -> Diagnostic:
    lease = f"lease {leader.namespace}/{leader.name}"
    message = f"environment {settings.environment} is reconciled by {leader.other or 'another'} ({lease})"
    return Diagnostic("AIF773", message, "stop it, or wait; `--detect-only` needs no lease")


async def _ended(task: asyncio.Future[object] | asyncio.Task[object] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ApiError, Unreachable, Report):
            await task
