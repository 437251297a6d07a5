"""Inventories in the cluster: read all, take one's lease, write it, give it back. Every write is conditional on nobody
having written in between, so of two appliers one notices.

A record is only believed where its name, its unit and its environment agree: a label alone makes nothing ours.

The lease of a unit lies in annotations of its head: the write that makes the inventory a superset takes it, the write
that makes it exact gives it back, so a lease costs no request of its own. It is renewed while an apply goes on and
expires by itself when an applier is killed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aifctl.cluster import inventory as inventories
from aifctl.cluster.client import Client
from aifctl.cluster.errors import ApiError
from aifctl.cluster.inventory import DIGITS, HEAD, KIND, OF_ENVIRONMENT, OF_UNIT, SHARD, SYSTEM, Inventory, Unit
from aifctl.diagnostics import Diagnostic, Report

HOLDER = "aif.dev/holder"
UNTIL = "aif.dev/held-until"
NOTES = (HOLDER, UNTIL)
LEASE = 30.0
"""Seconds a lease lasts without renewal; renewed after a third of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An inventory as it was read. `version` is the head's resourceVersion, empty for one that is not there yet."""

    inventory: Inventory
    version: str = ""
    uid: str = ""
    holder: str = ""
    until: str = ""
    shards: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    """Shards of the unit that no head names: of an applier that was killed between the two."""


class Lost(Exception):
    """Somebody else has written the inventory, so the lease is not ours any more: stop at once."""


class Records:
    """Inventories of one environment. Methods raise ApiError, Unreachable, and Report for a damaged inventory."""

    def __init__(self, client: Client, environment: str, namespace: str = SYSTEM) -> None:
        self.client, self.environment, self.namespace = client, environment, namespace
        self.holder = _ourselves()
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"

    async def all(self) -> tuple[dict[Unit, Record], list[Diagnostic]]:
        """Every unit's record, and findings for those that can't be read: such a unit is left alone."""
        selector = {"labelSelector": f"{OF_ENVIRONMENT}={self.environment}"}
        found, _ = await self.client.items(self._path, selector)
        shards = {each["metadata"]["name"]: _text(each) for each in found if _kind(each) == SHARD}
        named = {name for head in found if _kind(head) == HEAD for name in _shards_of(head)}
        records: dict[Unit, Record] = {}
        problems: list[Diagnostic] = []
        for head in found:
            if _kind(head) == HEAD:
                try:
                    record = self._record(head, shards)
                except Report as report:
                    problems += report.diagnostics
                else:
                    unit = record.inventory.unit
                    orphans = (name for name in shards if name not in named and _is_shard_of(unit, name))
                    records[unit] = replace(record, orphans=tuple(orphans))
        return records, problems

    async def one(self, unit: Unit) -> Record:
        """As it is now; an empty inventory where there is none."""
        seen = ""
        while True:
            head = await self._found(unit.key)
            if head is None:
                return Record(inventory=Inventory(unit=unit))
            names, version = _shards_of(head), head["metadata"]["resourceVersion"]
            texts = dict(zip(names, await asyncio.gather(*map(self._found, names)), strict=True))
            if version == seen or all(texts.values()):
                return self._record(head, {name: _text(each) for name, each in texts.items() if each is not None})
            seen = version  # a shard is gone: somebody writes just now, unless the head stays as it is

    async def take(self, record: Record, inventory: Inventory, patience: float) -> Record:
        """Writes `inventory` and takes the lease. Waits up to `patience` seconds for another holder.

        Raises Report (AIF730) when it is still held, Lost when the inventory is not as in `record` any more (read it
        again and plan again).
        """
        until = time.monotonic() + patience
        while is_held(record) and not self._is_ours(record):
            if time.monotonic() >= until:
                raise Report(_held(record))
            await asyncio.sleep(1.0)
            fresh = await self.one(record.inventory.unit)
            if fresh.inventory != record.inventory:
                raise Lost
            record = fresh
        return await self._write(record, inventory, holding=True)

    async def save(self, record: Record, inventory: Inventory, *, release: bool) -> Record:
        """Writes it, and gives the lease back or renews it. Raises Lost."""
        return await self._write(record, inventory, holding=not release)

    async def remove(self, record: Record) -> None:
        """Of a unit that is gone with all its objects. Raises Lost."""
        if record.shards or record.orphans:
            record = await self._write(record, record.inventory.with_entries(()), holding=True)
        path = f"{self._path}/{record.inventory.unit.key}"
        try:
            await self.client.delete(path, record.uid, version=record.version)
        except ApiError as error:
            if error.another:
                raise Lost from None
            if error.status != 404:
                raise

    async def _write(self, record: Record, inventory: Inventory, *, holding: bool) -> Record:
        stored = inventories.store(inventory)
        unit = inventory.unit
        for name, text in stored.shards.items():
            if name not in record.shards:
                await self._put_shard(unit, name, text)
        until = (datetime.now(UTC) + timedelta(seconds=LEASE)).isoformat(timespec="milliseconds") if holding else ""
        held = {HOLDER: self.holder, UNTIL: until} if holding else {}
        body = self._object(unit, unit.key, HEAD, dict(stored.data), held)
        written = await self._put_head(body, record)
        fresh = Record(
            inventory=inventory,
            version=written["metadata"]["resourceVersion"],
            uid=written["metadata"]["uid"],
            holder=self.holder if holding else "",
            until=until,
            shards=tuple(stored.shards),
        )
        for name in {*record.shards, *record.orphans} - set(stored.shards):
            await self._drop_shard(name)
        return fresh

    async def _put_head(self, body: dict[str, Any], record: Record) -> dict[str, Any]:
        name = body["metadata"]["name"]
        try:
            if record.version:
                body["metadata"]["resourceVersion"] = record.version
                return await self.client.replace(f"{self._path}/{name}", body)
            return await self._create(body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        # Our own first try may have been written although its answer was lost, or a renewal that was called off.
        there = await self._found(name)
        if there is None:
            raise Lost
        if there.get("data") == body["data"] and all(_annotation(there, k) == _annotation(body, k) for k in NOTES):
            return there
        if _annotation(there, HOLDER) != self.holder:
            raise Lost
        body["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
        try:
            return await self.client.replace(f"{self._path}/{name}", body)
        except ApiError as error:
            if error.status in (404, 409):
                raise Lost from None
            raise

    async def _found(self, name: str) -> dict[str, Any] | None:
        try:
            return await self.client.get(f"{self._path}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
        return None

    def _record(self, head: Mapping[str, Any], shards: Mapping[str, str]) -> Record:
        metadata = head["metadata"]
        inventory = inventories.read(head.get("data") or {}, shards, metadata["name"])
        unit = inventory.unit
        if metadata["name"] != unit.key or unit.environment != self.environment:
            raise Report(inventories.damaged(metadata["name"], f"it says that it is of {unit}"))
        return Record(
            inventory=inventory,
            version=metadata["resourceVersion"],
            uid=metadata["uid"],
            holder=_annotation(head, HOLDER),
            until=_annotation(head, UNTIL),
            shards=tuple(_shards_of(head)),
        )

    async def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self.client.create(self._path, body)
        except ApiError as error:
            if error.status != 404:
                raise
        await self._create_namespace()
        return await self.client.create(self._path, body)

    async def _create_namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        try:
            await self.client.create("/api/v1/namespaces", body)
        except ApiError as error:
            if error.status != 409:
                raise

    async def _put_shard(self, unit: Unit, name: str, text: str) -> None:
        """Named by its content: one that is there already is right."""
        try:
            await self._create(self._object(unit, name, SHARD, {"objects.json": text}, {}))
        except ApiError as error:
            if error.status != 409:
                raise

    async def _drop_shard(self, name: str) -> None:
        """Nobody reads it any more; a failure leaves rubbish and no fault."""
        try:
            await self.client.delete(f"{self._path}/{name}", None)
        except ApiError:
            return

    def _object(
        self, unit: Unit, name: str, kind: str, data: Mapping[str, str], notes: Mapping[str, str]
    ) -> dict[str, Any]:
        labels = {KIND: kind, OF_ENVIRONMENT: unit.environment, OF_UNIT: ".".join((unit.tenant, unit.model)).strip(".")}
        metadata = {
            "name": name,
            "namespace": self.namespace,
            "labels": {"app.kubernetes.io/managed-by": "aifctl", **labels},
            "annotations": dict(notes),
        }
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}

    def _is_ours(self, record: Record) -> bool:
        return record.holder == self.holder or is_dead(record.holder)


def _shards_of(head: Mapping[str, Any]) -> list[str]:
    import json

    try:
        return [str(name) for name in json.loads(head["data"]["unit.json"])["shards"]]
    except (KeyError, TypeError, ValueError):
        return []


def is_held(record: Record) -> bool:
    if not record.holder:
        return False
    try:
        return datetime.fromisoformat(record.until) > datetime.now(UTC)
    except (ValueError, TypeError):
        return False


def _text(shard: Mapping[str, Any]) -> str:
    return str((shard.get("data") or {}).get("objects.json", ""))


def _is_shard_of(unit: Unit, name: str) -> bool:
    """By its name: the unit's key and a digest."""
    key, _, digest = name.rpartition(".")
    return key == unit.key and len(digest) == DIGITS


def _held(record: Record) -> Diagnostic:
    hint = f"its lease lasts until {record.until} unless it is renewed; `--lock-timeout` waits longer"
    return Diagnostic("AIF730", f"{record.inventory.unit} is being applied by {record.holder}", hint)


def _ourselves() -> str:
    """Host, name space of process ids, process and a moment: told apart from any other applier, dead or alive."""
    return f"{socket.gethostname()}/{_pid_space()}/{os.getpid()}/{time.time_ns():x}"


def is_dead(holder: str) -> bool:
    """Whether it was a process of this machine that is gone: then nobody need wait for the lease to expire."""
    host, _, rest = holder.partition("/")
    space, _, rest = rest.partition("/")
    process = rest.partition("/")[0]
    if host != socket.gethostname() or space != _pid_space() or not space or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _pid_space() -> str:
    """This boot of this machine, and the name space in it: host names and name spaces alone recur on other machines."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _kind(found: Mapping[str, Any]) -> str:
    return str((found["metadata"].get("labels") or {}).get(KIND, ""))


def _annotation(found: Mapping[str, Any], name: str) -> str:
    return str((found["metadata"].get("annotations") or {}).get(name, ""))
