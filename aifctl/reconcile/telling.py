"""What people, Kubernetes and Prometheus are told of the units: a line in the log, an Event, a figure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aifctl.cluster.inventory import Unit
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.manifest import Identity
from aifctl.reconcile.book import DRIFT, Book, State, Work
from aifctl.reconcile.deliver import Delivered
from aifctl.reconcile.telemetry import Events, Log, Metrics, told

LEFT_ALONE = (State.HELD, State.SUSPENDED)
NAMED = 5
"""Objects that a message names; of the others it says how many there are."""


@dataclass(frozen=True, slots=True)
class Teller:
    """`quiet`: no Events, whose writing would be a change of the cluster."""

    log: Log
    metrics: Metrics
    events: Events
    quiet: bool

    def say(
        self, work: Work, state: State, findings: tuple[Diagnostic, ...], delivered: Delivered | None = None
    ) -> None:
        """A line when something is new; an Event for what people should see."""
        news = (work.state, work.findings) != (state, findings)
        work.state, work.findings = state, findings
        unit = str(work.unit)
        if delivered is not None and (delivered.done or delivered.differing):
            counts = _counted(delivered)
            went_well = "repaired" if work.reason in DRIFT else "applied"
            what = went_well if delivered.done and state in (State.SYNCED, State.SETTLING) else str(state)
            self.log(what, "info", unit=unit, why=work.reason, commit=work.commit[:10] or None, **counts)
            if delivered.done and state is not State.FAILED:
                reason = "DriftRepaired" if what == "repaired" else "Applied"
                self.event(work.unit, reason, f"{work.reason}: {_listed(delivered)} (commit {work.commit[:10]})")
        elif news and state is not State.SYNCED:
            self.log(str(state), unit=unit, why=work.reason or None)
        if news:
            for found in findings:
                self.log.finding(found, unit=unit)
        wrong = [found for found in findings if found.severity is Severity.ERROR]
        if news and (wrong or state in (State.FROZEN, State.SUSPENDED, State.HELD)):
            conflict = any(found.code == "AIF720" for found in wrong)
            reason = "Conflict" if conflict else str(state).capitalize()
            self.event(work.unit, reason, told(findings), warning=state is not State.SUSPENDED)

    def drifted(self, work: Work, found: Iterable[Identity]) -> None:
        """Of a unit that is left alone."""
        named = _named(map(str, found))
        self.log("drifted", "warning", unit=str(work.unit), objects=named)
        message = f"not as applied, and not repaired while {work.unit} is held or suspended: {named}"
        self.event(work.unit, "Drifted", message, warning=True)

    def blind(self, kinds: Iterable[str]) -> None:
        """Of kinds that can't be watched."""
        listed = ", ".join(sorted(kinds))
        self.log("blind", "warning", kinds=listed, message="can't be watched: drift is found late")

    def event(self, unit: Unit, reason: str, message: str, *, warning: bool = False) -> None:
        if not self.quiet:
            self.events.tell(unit, reason, message, warning=warning)

    def measured(self, work: Work, delivered: Delivered, seconds: float) -> None:
        self.metrics.apply_seconds.observe(seconds)
        if delivered.result:
            self.metrics.applies.labels(delivered.result).inc()
        for event in delivered.done:
            self.metrics.written.labels(event.what).inc()
        if work.reason in DRIFT:
            self.metrics.repairs.inc(len(delivered.done))

    def measure(self, book: Book, nowhere: int, waiting: int) -> None:
        """`nowhere`: models that never compiled; `waiting`: units that are looked at now or soon."""
        for state, count in book.count().items():
            self.metrics.units.labels(str(state)).set(count + (nowhere if state is State.FROZEN else 0))
        for state in (*LEFT_ALONE, State.DRIFTED):
            drifted = sum(len(work.drifted) for work in book.works.values() if work.state is state)
            self.metrics.drifted.labels(str(state)).set(drifted)
        self.metrics.queue.set(waiting)


def _counted(delivered: Delivered) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for event in delivered.done:
        counts[event.what] = counts.get(event.what, 0) + 1
    return counts | ({"differing": len(delivered.differing)} if delivered.differing else {})


def _listed(delivered: Delivered) -> str:
    return _named(f"{event.what} {event.identity}" for event in delivered.done)


def _named(each: Iterable[str]) -> str:
    names = list(each)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
