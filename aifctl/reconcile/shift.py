"""One time of leading: looks at every unit once, then at those about which something comes in, each at its own pace.

A unit is looked at in memory first; only one that differs costs requests. Units that fail have a back-off and a few
places of their own, so that they never keep the others waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
import traceback

from aifctl.cluster import discovery, planning
from aifctl.cluster.client import OURSELVES, Account, Client
from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.inventory import Inventory, Unit
from aifctl.cluster.planning import Request
from aifctl.cluster.records import Record, Records
from aifctl.delivery import clusters, environments
from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Identity
from aifctl.reconcile.book import DRIFT, LAG, PRUNING, Book, Seen, State, Work
from aifctl.reconcile.compiling import Compilation
from aifctl.reconcile.deliver import Delivered, Deliverer
from aifctl.reconcile.settings import Settings
from aifctl.reconcile.telemetry import Events, Log, Metrics, told
from aifctl.reconcile.telling import LEFT_ALONE, Teller
from aifctl.reconcile.watching import Watching

AT_ONCE, FAILING_AT_ONCE = 8, 4
DEBOUNCE = 0.1
"""Seconds between a change and the look at its unit: changes come in bunches."""
FIRST, LONGEST, PASSING = 1.0, 300.0, 15.0
"""Seconds of back-off: the first, the longest, and the longest while the server is away."""
FIGHT, WINDOW = 5, 60.0
"""Repairs of one unit in so many seconds from which on somebody else is at it too."""
GROUND = 15.0
"""Seconds that models wait for the environment's ground, which they may need."""
GRACE = 8.0
"""Seconds that running applies get to end when we are told to stop."""
BLAMELESS = frozenset({State.SYNCED, State.SUSPENDED, State.SETTLING, State.HELD})


class Shift:
    """`run` goes on until it is cancelled; with `once` it ends with the exit code when all was looked at."""

    def __init__(
        self, settings: Settings, client: Client, compilation: Compilation, log: Log, metrics: Metrics
    ) -> None:
        self.settings, self.client, self.compilation = settings, client, compilation
        self.log, self.metrics = log, metrics
        self.book = Book(settings.environment)
        self.records = Records(client, settings.environment, settings.namespace)
        self.synced_once = False
        self.events = Events(client, settings.namespace, clusters.who())
        self.teller = Teller(log, metrics, self.events, quiet=settings.detect_only)
        self.watching = Watching(
            client, settings.environment, settings.namespace, self._live, self._inventory, self._unread, self._reader
        )
        self._blind = False
        self._nowhere: tuple[Diagnostic, ...] = ()
        """Models that never compiled: there is no unit that could say so."""
        self.deliverer: Deliverer | None = None
        self._due: dict[Unit, float] = {}
        self._running: dict[Unit, asyncio.Task[None]] = {}
        self._again: set[Unit] = set()
        self._wake = asyncio.Event()
        self._first: set[Unit] = set()
        self._ground_done = asyncio.Event()
        self._slots, self._slow = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(FAILING_AT_ONCE)
        self._stopping = False
        self._reads: set[asyncio.Task[None]] = set()
        self._begun = time.monotonic()

    async def run(self) -> int:
        """Raises ApiError, Unreachable, Report for what holds for the whole environment."""
        kinds = await discovery.discover(self.client)
        async with self.watching:
            self.deliverer = self._deliverer(self.compilation, kinds)
            known, damaged = await self.records.all()
            for problem in damaged:
                self.log.finding(problem)
            for unit, record in known.items():
                self.book.note_inventory(unit, record.inventory)
            await self.watching.watch_inventories(kinds)
            await self.adopt(self.compilation)
            sending = None if self.settings.detect_only else asyncio.create_task(self.events.send())
            try:
                return await self._dispatch()
            finally:
                for task in (*self._running.values(), *self._reads, *([sending] if sending else [])):
                    task.cancel()
                await asyncio.gather(*self._running.values(), *self._reads, return_exceptions=True)

    async def adopt(self, found: Compilation) -> None:
        """A commit to keep up from now on."""
        self.compilation = found
        if self.deliverer is None:
            return  # it is taken up when the cluster has been looked at
        self.deliverer.environment, self.deliverer.platform = found.environment, found.platform
        self.deliverer.policy, self.deliverer.idle = environments.policy(lambda: found.environment), found.idle
        self.book.adopt(found)
        self._tell_of_nowhere(found)
        self._refuse_many_gone()
        await self._watch()
        ground = Unit(self.settings.environment)
        self._ground_done.clear() if ground in self.book.works else self._ground_done.set()
        for work in list(self.book.works.values()):
            if work.frozen is not None:
                self.teller.say(work, State.FROZEN, (work.frozen,))
            self._first.add(work.unit)
            self.soon(work.unit, 0)
        self._wake.set()

    def look_again(self) -> None:
        """At every unit, in memory: should a watch have missed something."""
        for work in self.book.works.values():
            if work.state in (State.SYNCED, State.SETTLING, State.SUSPENDED, State.HELD):
                self.soon(work.unit)

    async def finish(self) -> None:
        """Lets what is being written be the last, and puts on record what was done."""
        self._stopping = True
        if self._running:
            await asyncio.wait(self._running.values(), timeout=GRACE)

    def code(self) -> int:
        """Exit code: 1 an error, 2 drift (which is what was looked for), 0 none."""
        states = self.book.count()
        if (
            self._nowhere
            or states[State.FAILED]
            or states[State.FROZEN]
            or (states[State.DRIFTED] and not self.settings.detect_only)
        ):
            return 1
        return 2 if states[State.DRIFTED] else 0

    def warn(self, found: Diagnostic) -> None:
        """Something about the environment as a whole."""
        self.teller.event(Unit(self.settings.environment), found.code, told([found]), warning=True)

    def measure(self) -> None:
        self.teller.measure(self.book, len(self._nowhere), len(self._due) + len(self._running))

    def soon(self, unit: Unit, delay: float = DEBOUNCE) -> None:
        """Looks at a unit, but not before its back-off is over."""
        if unit in self._running:
            self._again.add(unit)
            return
        work = self.book.work(unit)
        at = max(time.monotonic() + delay, work.not_before)
        if at < self._due.get(unit, at + 1):
            self._due[unit] = at
            self._wake.set()

    # What comes in

    def _live(self, identity: Identity, seen: Seen | None) -> None:
        unit = self.book.note_live(identity, seen)
        if unit is None:
            return
        work = self.book.work(unit)
        if work.failures and unit not in self._running:
            self._moved(work)
        self.soon(unit)

    def _moved(self, work: Work) -> None:
        """Somebody did something about a unit that fails: it is tried again at once, unless that goes on and on."""
        now = time.monotonic()
        work.moves = [at for at in work.moves if now - at < WINDOW]
        if len(work.moves) < FIGHT:
            work.moves.append(now)
            work.not_before = 0.0
            self._due.pop(work.unit, None)

    def _inventory(self, unit: Unit, inventory: Inventory | None) -> None:
        if self.book.note_inventory(unit, inventory):
            self.soon(unit)

    def _unread(self, name: str) -> None:
        for unit in list(self.book.works):
            if unit.key == name:
                task = asyncio.create_task(self._read(unit))
                self._reads.add(task)
                task.add_done_callback(self._reads.discard)

    async def _read(self, unit: Unit) -> None:
        with contextlib.suppress(ApiError, Unreachable, Report):  # what is wrong is told when the unit is planned
            record = await self.records.one(unit)
            self._inventory(unit, record.inventory if record.version else None)
        self.soon(unit)

    # What is done about it

    async def _dispatch(self) -> int:
        while True:
            now = time.monotonic()
            for unit in [unit for unit, at in self._due.items() if at <= now and unit not in self._running]:
                del self._due[unit]
                self._look(self.book.work(unit))
            self._note_first()
            if self.settings.once and self._is_idle():
                return self.code()
            following = min((at for at in self._due.values()), default=now + 60)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, following - time.monotonic())):
                    await self._wake.wait()

    def _look(self, work: Work) -> None:
        """Without a request: is there anything to do?"""
        if self._stopping:
            return
        standing = self.book.standing(work)
        self._note_drift(work, self.book.drifted(work) if standing and standing[0] in LEFT_ALONE else ())
        work.reason = "" if standing else self.book.differs(work)
        if standing is not None:
            self.teller.say(work, standing[0], (standing[1],) if standing[1] else ())
        elif not work.reason:
            work.failures, work.not_before = 0, 0.0
            self.teller.say(work, State.FROZEN if work.frozen else State.SYNCED, (work.frozen,) if work.frozen else ())
        elif not (work.reason == PRUNING and work.state is State.SETTLING and self.book.unhealthy(work)):
            self._running[work.unit] = asyncio.create_task(self._one(work))
            return
        self._done_once(work.unit)

    def _note_drift(self, work: Work, found: tuple[Identity, ...]) -> None:
        """Of what is left alone. A watch gets the time to catch up before it is told."""
        now = time.monotonic()
        if found != work.suspected:
            work.suspected, work.suspected_at = found, now
        if found and found != work.drifted and now - work.suspected_at < LAG:
            self.soon(work.unit, LAG)
            return
        news, work.drifted = found != work.drifted, found
        if news and found:
            self.teller.drifted(work, found)

    async def _one(self, work: Work) -> None:
        assert self.deliverer is not None
        if work.unit.model:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GROUND):
                    await self._ground_done.wait()
        begun = time.monotonic()
        try:
            async with self._slow if work.failures else self._slots:
                begun = time.monotonic()
                if (work.failures or self._blind) and await self.deliverer.refresh():
                    await self._watch()
                delivered = await self.deliverer.deliver(work)
        except Unreachable as error:
            delivered = Delivered(
                state=State.FAILED, findings=(error.finding(),), inventory=work.inventory, passing=True
            )
        except ApiError as error:
            found = error.finding(str(work.unit))
            delivered = Delivered(state=State.FAILED, findings=(found,), inventory=work.inventory)
        except Report as report:
            delivered = Delivered(state=State.FAILED, findings=report.diagnostics, inventory=work.inventory)
        except Exception as error:  # noqa: BLE001 - a fault of ours with one unit must not stop the others
            self.log("fault", "error", unit=str(work.unit), trace=traceback.format_exc())
            found = Diagnostic("AIF721", f"{work.unit}: {error!r}", "this is a fault of aifctl's: please report it")
            delivered = Delivered(state=State.FAILED, findings=(found,), inventory=work.inventory)
        finally:
            self._running.pop(work.unit, None)
        self._after(work, delivered, time.monotonic() - begun)

    def _after(self, work: Work, delivered: Delivered, seconds: float) -> None:
        now = time.monotonic()
        self.book.note_inventory(work.unit, delivered.inventory)
        work.done_at = now
        work.accepted = dict(delivered.accepted)
        work.drifted = delivered.differing if delivered.state is State.DRIFTED else ()
        inventory = work.inventory
        settled = delivered.settled and work.wanted is not None and inventory is not None
        work.settled = (work.wanted.tree, inventory.entries) if settled and work.wanted and inventory else None
        self.teller.measured(work, delivered, seconds)
        self._back_off(work, delivered, now)
        self.teller.say(work, delivered.state, delivered.findings, delivered)
        again = work.unit in self._again
        self._again.discard(work.unit)
        if delivered.state is State.FAILED:
            self.soon(work.unit, 0)
        elif again or (delivered.done and delivered.state is State.SETTLING) or work.reason == PRUNING:
            self.soon(work.unit, DEBOUNCE if not delivered.settled else LAG)
        elif delivered.done and not self.settings.once:
            self.soon(work.unit, LAG + DEBOUNCE)  # the watch has caught up by then
        self._done_once(work.unit)

    def _back_off(self, work: Work, delivered: Delivered, now: float) -> None:
        if delivered.state is State.FAILED:
            longest = PASSING if delivered.passing else LONGEST
            pause = min(longest, FIRST * 2.0 ** min(work.failures, 20))
            work.failures += 1
            work.not_before = now + pause * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            return
        work.failures, work.not_before = 0, 0.0
        if work.reason in DRIFT and delivered.done:
            work.moves = [*(at for at in work.moves if now - at < WINDOW), now]
            if len(work.moves) >= FIGHT:
                pause = min(LONGEST, 2.0 ** (len(work.moves) - FIGHT + 1))
                work.not_before = now + pause
                self.log("fight", "warning", unit=str(work.unit), repairs=len(work.moves), pause=pause)

    # When all was looked at

    def _done_once(self, unit: Unit) -> None:
        self._first.discard(unit)
        if not unit.model:
            self._ground_done.set()
        self._wake.set()

    def _note_first(self) -> None:
        if not self._first and not self.synced_once:
            self.synced_once = True
            self.log("synced", seconds=time.monotonic() - self._begun, units=len(self.book.works))
        if not self._running and all(work.state in BLAMELESS for work in self.book.works.values()):
            self.metrics.synced.set(time.time())

    def _is_idle(self) -> bool:
        """Whether nothing is left but what fails, and what waits for health longer than it may."""
        if self._running or self._first:
            return False
        assert self.deliverer is not None
        late = time.monotonic() - self._begun > self.compilation.environment.apply.timeout
        works = (self.book.work(unit) for unit in self._due)
        waits = not late and any(work.state is State.SETTLING for work in self.book.works.values())
        return not waits and all(work.failures for work in works)

    # The environment as a whole

    def _deliverer(self, found: Compilation, kinds: discovery.Discovery) -> Deliverer:
        return Deliverer(
            client=self.client,
            records=self.records,
            settings=self.settings,
            environment=found.environment,
            platform=found.platform,
            idle=found.idle,
            policy=environments.policy(lambda: found.environment),
            book=self.book,
            observer=self.watching.objects,
            kinds=kinds,
            salt=secrets.token_bytes(16),
            by=f"reconcile ({clusters.who()})",
            stopping=lambda: self._stopping,
        )

    async def _watch(self) -> None:
        assert self.deliverer is not None
        blind = await self.watching.watch_kinds(self.deliverer.kinds, self.book.kinds())
        self._blind, self.book.blind = bool(blind), frozenset(blind)
        if blind:
            self.teller.blind(blind)

    def _reader(self, namespace: str) -> Account:
        """Who may read a tenant's secrets: the account that applies there."""
        if not self.settings.impersonate:
            return OURSELVES
        return Account.of_account(namespace, self.compilation.environment.apply.account)

    def _tell_of_nowhere(self, found: Compilation) -> None:
        known = {work.unit.model for work in self.book.works.values()}
        before = self._nowhere
        self._nowhere = tuple(why for model, why in found.frozen.items() if model not in known)
        for why in self._nowhere:
            if why not in before:
                self.log.finding(why)
                self.warn(why)

    def _refuse_many_gone(self) -> None:
        """A wrong folder or branch must not empty an environment."""
        records = {unit: Record(inventory=inventory) for unit, inventory in self.book.known().items()}
        gone = self.book.gone()
        request = Request(environment=self.settings.environment, platform=self.compilation.platform, wanted=())
        problem = planning.too_many_gone(request, records, gone)
        for unit in gone:
            self.book.work(unit).problem = problem
