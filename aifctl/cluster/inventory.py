"""What aifctl has put into a cluster, a unit: an `Inventory` of objects, revisions, holds. Values and their text.

Kept in ConfigMaps of the namespace `aif-system`, out of tenants' reach: a head a unit, and shards where the objects of
a unit need more than one ConfigMap (an object in etcd has at most 1.5 MiB, a ConfigMap 1 MiB). Shards are named by
their content and the head names its shards, so one write of the head switches from one state to the next.

The inventory is a superset of what is in the cluster while an apply goes on, and exact after it: an object may be in it
and not in the cluster, never the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from aifctl import digest
from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Identity

FORMAT = 1
SYSTEM = "aif-system"
HEAD = "head"
SHARD = "shard"
KIND = "aif.dev/inventory"
"""Label: head or shard."""
OF_ENVIRONMENT = "aif.dev/inventory-environment"
OF_UNIT = "aif.dev/inventory-unit"
SHARD_BYTES = 700_000
DIGITS = 12
"""Of a shard's content, in its name."""
REVISIONS = 20
"""Revisions kept a unit."""


class Unit(NamedTuple):
    """What is applied as one: a model in an environment; without tenant and model, the environment's own ground."""

    environment: str
    tenant: str = ""
    model: str = ""

    def __str__(self) -> str:
        return f"{self.environment}/{self.tenant}/{self.model}" if self.model else f"{self.environment} (platform)"

    @property
    def key(self) -> str:
        """Name of the head: names of environments, tenants and models have no dots."""
        return ".".join(part for part in ("aif", *self) if part)


class Entry(NamedTuple):
    """One object. `uid` is empty for what is about to be created."""

    identity: Identity
    version: str
    """Of the API it was applied by."""
    uid: str = ""
    intent: str = ""
    """Digest of the manifest that was applied."""
    observed: str = ""
    """Digest of our fields of the live object right after (`fields.observed`); `ended` for a run seen to its end."""
    resource_version: str = ""
    """Of the live object right after: while it stands, nothing at all has changed."""


ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One apply. `tree` is the digest of the unit's manifests, `outcome` applied, failed or rolled-back."""

    number: int
    tree: str
    commit: str = ""
    at: str = ""
    """UTC, RFC 3339."""
    by: str = ""
    outcome: str = "applied"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """`held` is a tree that failed and was rolled back: it is not applied again. `suspended` says who stopped
    reconciling this unit and why; empty where it goes on."""

    unit: Unit
    platform: str = ""
    entries: tuple[Entry, ...] = ()
    revisions: tuple[Revision, ...] = ()
    held: str = ""
    suspended: str = ""

    @property
    def by_identity(self) -> dict[Identity, Entry]:
        return {entry.identity: entry for entry in self.entries}

    def holds(self, tree: str) -> bool:
        """Whether that tree failed and was rolled back."""
        return bool(tree) and self.held == tree

    def former(self, number: int | None = None) -> Revision | None:
        """The revision with this number, else the newest good one of another tree than the current one's."""
        if number is not None:
            return next((r for r in self.revisions if r.number == number), None)
        current = self.revisions[-1] if self.revisions else None
        good = (r for r in reversed(self.revisions) if r.outcome != "failed" and current and r.tree != current.tree)
        return next((r for r in good if r.tree != self.held), None)

    def with_entries(self, entries: Iterable[Entry]) -> Inventory:
        return replace(self, entries=tuple(sorted(entries)))

    def with_revision(self, revision: Revision) -> Inventory:
        number = self.revisions[-1].number + 1 if self.revisions else 1
        return replace(self, revisions=(*self.revisions, replace(revision, number=number))[-REVISIONS:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An inventory as texts: `data` of the head, and shards by name."""

    data: Mapping[str, str]
    shards: Mapping[str, str] = field(default_factory=dict)


def store(inventory: Inventory) -> Stored:
    rows = [_dense(_row(entry)) for entry in inventory.entries]
    shards = {}
    pages = list(_pages(rows))
    for page in pages if len(pages) > 1 else ():
        text = _joined(page)
        shards[f"{inventory.unit.key}.{digest.of_text(text)[:DIGITS]}"] = text
    head = {
        "format": FORMAT,
        "unit": list(inventory.unit),
        "platform": inventory.platform,
        "held": inventory.held,
        "suspended": inventory.suspended,
        "revisions": [{name: getattr(r, name) for name in r.__slots__} for r in inventory.revisions],
        "shards": list(shards),
    }
    return Stored(
        data={"unit.json": json.dumps(head, sort_keys=True), "objects.json": "[]" if shards else _joined(rows)},
        shards=shards,
    )


def read(data: Mapping[str, Any], shards: Mapping[str, str], name: str) -> Inventory:
    """Raises Report (AIF742) for what is no inventory, or one of a newer format, or one whose shards are missing."""
    try:
        head = json.loads(data["unit.json"])
        if head["format"] != FORMAT:
            raise Report(damaged(name, f"it is of format {head['format']}, this aifctl reads {FORMAT}"))
        texts = [data["objects.json"], *(shards[shard] for shard in head["shards"])]
        return Inventory(
            unit=Unit(*map(str, head["unit"])),
            platform=str(head["platform"]),
            entries=tuple(sorted(_entry(row) for text in texts for row in json.loads(text))),
            revisions=tuple(Revision(**{**each, "number": int(each["number"])}) for each in head["revisions"]),
            held=str(head["held"]),
            suspended=str(head["suspended"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Report(damaged(name, f"{type(error).__name__}: {error}")) from None


def _row(entry: Entry) -> list[str]:
    return [*entry.identity, *entry[1:]]


def _entry(row: list[str]) -> Entry:
    group, kind, namespace, name, *rest = map(str, row)
    return Entry(Identity(group, kind, namespace, name), *rest)


def _dense(row: list[str]) -> str:
    return json.dumps(row, separators=(",", ":"))


def _joined(rows: Iterable[str]) -> str:
    """A row a line: people read inventories too."""
    return "[\n" + ",\n".join(rows) + "\n]"


def _pages(rows: list[str]) -> Iterator[list[str]]:
    page: list[str] = []
    size = 0
    for row in rows:
        if page and size + len(row) > SHARD_BYTES:
            yield page
            page, size = [], 0
        page.append(row)
        size += len(row.encode()) + 2
    yield page


def damaged(name: str, why: str) -> Diagnostic:
    hint = "nothing was changed or pruned; `docs/operations.md` says how to restore an inventory"
    return Diagnostic("AIF742", f"inventory {SYSTEM}/{name} can't be read: {why}", hint)
