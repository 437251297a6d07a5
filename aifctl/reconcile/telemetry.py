"""What a reconciler tells: lines for a log, numbers for Prometheus, Events for whoever looks into the cluster."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.cluster.inventory import Unit
from aifctl.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from aifctl.cluster.client import Client

PLAIN = re.compile(r"[\w./:@+-]+")
SAME = 600.0
"""Seconds in which an Event is not repeated."""
WAITING = 200
"""Events that may wait to be sent; more are dropped."""
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
LONGEST = 1000
"""Characters of an Event's message: the API server takes 1024."""

Write = Callable[[str], Any]


class Log:
    """A line an event: `time=… level=… event=… key=value`, or the same as JSON."""

    def __init__(self, write: Write, *, as_json: bool = False) -> None:
        self.write, self.as_json = write, as_json

    def __call__(self, event: str, level: str = "info", **values: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "level": level, "event": event, **{key: v for key, v in values.items() if v is not None}}
        if self.as_json:
            self.write(json.dumps(line, default=str, ensure_ascii=False))
        else:
            self.write(" ".join(f"{key}={_value(value)}" for key, value in line.items()))

    def finding(self, found: Diagnostic, **values: Any) -> None:
        level = "error" if found.severity is Severity.ERROR else "warning"
        notes = "; ".join(found.notes) or None
        self("finding", level, code=found.code, **values, message=found.message, hint=found.hint, notes=notes)


def _value(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class Metrics:
    """Named `aifctl_reconcile_…`; the environment is a label of the scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.units = self._gauge("units", "Units by state.", "state")
        self.queue = self._gauge("queue_depth", "Units that wait to be looked at.")
        self.leader = self._gauge("leader", "Whether this process leads.")
        self.git_up = self._gauge("git_up", "Whether the last fetch went well.")
        self.commit = self._gauge("commit_info", "The commit that is kept up.", "commit")
        self.fetched = self._gauge("last_fetch_timestamp_seconds", "When a fetch went well last.")
        self.compiled = self._gauge("last_compile_timestamp_seconds", "When a commit compiled last.")
        self.compile_up = self._gauge("compile_up", "Whether the newest commit compiled, but for single models.")
        self.compiles = self._counter("compiles", "Commits compiled: compiled, refused, lost (killed, late).", "result")
        self.synced = self._gauge("last_success_timestamp_seconds", "When everything was as it should be last.")
        self.compile_seconds = self._histogram("compile_seconds", "Time that a commit takes to compile.")
        self.apply_seconds = self._histogram("apply_seconds", "Time that a unit takes to plan and apply.")
        self.drifted = self._gauge(
            "drifted_objects",
            "Objects that are not as they should be and are left alone, by their unit's state.",
            "state",
        )
        self.repairs = self._counter("drift_repairs", "Objects that drifted and were repaired.")
        self.written = self._counter("objects_written", "Objects by what was done to them.", "what")
        self.applies = self._counter("applies", "Units that were planned and applied, by their result.", "result")

        for result in ("compiled", "refused", "lost"):  # an increase is told only of what was there before
            self.compiles.labels(result)
        for state in ("held", "suspended", "drifted"):
            self.drifted.labels(state)

    def page(self) -> bytes:
        return bytes(generate_latest(self.registry))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"aifctl_reconcile_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"aifctl_reconcile_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"aifctl_reconcile_{name}", text, buckets=BUCKETS, registry=self.registry)


class Events:
    """Events about units, on their inventories. Sent one after the other beside the work; one that fails is left."""

    def __init__(self, client: Client, namespace: str, instance: str) -> None:
        self.client, self.namespace, self.instance = client, namespace, instance
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING)
        self._told: dict[tuple[Unit, str, str], float] = {}

    def tell(self, unit: Unit, reason: str, message: str, *, warning: bool = False) -> None:
        now = time.monotonic()
        key = (unit, reason, message)
        if now - self._told.get(key, -SAME) < SAME or self._waiting.full():
            return
        self._told = {each: at for each, at in self._told.items() if now - at < SAME} | {key: now}
        self._waiting.put_nowait(self._event(unit, reason, message[:LONGEST], "Warning" if warning else "Normal"))

    async def send(self) -> None:
        """Until it is cancelled."""
        path = f"/api/v1/namespaces/{self.namespace}/events"
        while True:
            try:
                await self.client.create(path, await self._waiting.get())
            except (ApiError, Unreachable):
                continue

    def _event(self, unit: Unit, reason: str, message: str, kind: str) -> dict[str, Any]:
        """https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/"""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": self.namespace, "name": unit.key}
        return {
            "apiVersion": "v1", "kind": "Event", "type": kind, "reason": reason, "message": message, "count": 1,
            "metadata": {"name": f"{unit.key}.{time.time_ns():x}", "namespace": self.namespace},
            "involvedObject": about, "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "aifctl-reconcile", "host": self.instance},
            "reportingComponent": "aifctl-reconcile", "reportingInstance": self.instance,
        }  # fmt: skip


def told(findings: Iterable[Diagnostic]) -> str:
    """Findings as one text."""
    return "; ".join(dict.fromkeys(f"{found.code}: {found.message}" for found in findings))
