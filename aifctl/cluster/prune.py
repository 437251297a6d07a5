"""What may be deleted of what is no longer wanted, and why the rest may not. Pure, but for `delete`.

An object is deleted only when its unit's inventory has it, nobody wants it any more, and the live object has the uid
on record and says that it is ours. Everything that is not certain is kept and said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aifctl.cluster import fields
from aifctl.cluster.client import Client
from aifctl.cluster.discovery import Resource
from aifctl.cluster.errors import ApiError
from aifctl.cluster.ground import delivered_by, notes, unit_of
from aifctl.cluster.inventory import Entry, Inventory, Unit
from aifctl.cluster.snapshot import Live, Snapshot
from aifctl.diagnostics import Diagnostic
from aifctl.manifest import HOLDERS, Identity, Manifest
from aifctl.plan.change import Action, Change, FieldChange, Op
from aifctl.plan.diff import KEPT, LEFT, SYNC_OPTIONS, is_run
from aifctl.plan.masking import Masking
from aifctl.render.ownership import ENVIRONMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An entry that is no longer wanted. `remembered` says whether it stays in the inventory although it is kept."""

    entry: Entry
    change: Change | None
    """None where there is nothing to tell: it is gone already."""
    resource: Resource | None = None
    live: Live | None = None
    delete: bool = False
    remembered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What the rules need: who wants what, what is live, what whoever destroys has confirmed."""

    unit: Unit
    snapshot: Snapshot
    homes: Mapping[Identity, Unit]
    """Where each object that is wanted belongs now."""
    masks: Callable[[], Masking]
    """Asked for only where there is something to show."""
    runs: bool = False
    """Runs too (destroy)."""
    holders: bool = False
    """`HOLDERS` too (destroy with data)."""


def removals(pruning: Pruning, inventory: Inventory, wanted: frozenset[Identity]) -> list[Removal]:
    """In the order of deletion: what leans on others first."""
    left = [entry for entry in inventory.entries if entry.identity not in wanted]
    found = [_removal(pruning, entry) for entry in left]
    return sorted(found, key=lambda each: _order(each), reverse=True)


async def delete(client: Client, removal: Removal) -> tuple[bool, Diagnostic | None]:
    """Whether it is gone at once, and why it could not be deleted. Another object of its name is left alone."""
    assert removal.resource is not None
    assert removal.live is not None
    identity = removal.entry.identity
    path = removal.resource.path(identity.namespace, identity.name)
    try:
        answer = await client.delete(path, removal.live["metadata"]["uid"])
    except ApiError as error:
        if error.absent or error.another:
            return True, None
        found = error.finding(f"delete {identity}")
        hint = found.hint or "it stays in the inventory, and the next apply tries again"
        return False, Diagnostic("AIF743", found.message, hint)
    return answer.get("kind") == "Status" or not (answer.get("metadata") or {}).get("deletionTimestamp"), None


def _removal(pruning: Pruning, entry: Entry) -> Removal:
    resource = pruning.snapshot.resource_of(entry)
    live = pruning.snapshot.objects.get(entry.identity)
    if live is None:
        # A kind that the server does not know for the moment is not a kind without objects.
        unknown = resource is None and entry.identity.group in pruning.snapshot.discovery.failed
        return Removal(entry=entry, change=None, remembered=unknown)
    kept = _kept(pruning, entry, live)
    if kept is not None:
        reason, remembered = kept
        change = _change(pruning, entry, Action.UNCHANGED, (), reason)
        return Removal(entry=entry, change=change, resource=resource, live=live, remembered=remembered)
    whole = FieldChange((), Op.REMOVE, pruning.masks().of(Manifest(live)), None)
    change = _change(pruning, entry, Action.DELETE, (whole,), "no longer wanted")
    return Removal(entry=entry, change=change, resource=resource, live=live, delete=True, remembered=True)


def _kept(pruning: Pruning, entry: Entry, live: Live) -> tuple[str, bool] | None:
    """Why a live object is not deleted, and whether its entry stays."""
    metadata, manifest, noted = live["metadata"], Manifest(live), notes(live)
    if entry.uid and metadata.get("uid") != entry.uid:
        return "another object of this name was made since, not by aifctl: left alone", False
    home = pruning.homes.get(entry.identity) or unit_of(live, pruning.unit.environment)
    if home is not None and home != pruning.unit:
        return f"handed over to {home}", False
    if home is None and noted.get(ENVIRONMENT):
        return f"handed over to environment {noted[ENVIRONMENT]}", False
    if (tool := delivered_by(live)) is not None:
        return f"handed over to {tool}", False
    if home is None and not fields.owned(live):
        return "nothing on it says that it is ours: left alone", False
    if metadata.get("deletionTimestamp"):
        return f"is being deleted (finalizers: {', '.join(metadata.get('finalizers') or ()) or 'none'})", True
    if is_run(manifest):
        return None if pruning.runs else (LEFT, True)
    if manifest.kind in HOLDERS:
        return None if pruning.holders else (f"a {manifest.kind} is never pruned", True)
    if not pruning.runs and "Prune=false" in str(noted.get(SYNC_OPTIONS, "")).replace(" ", "").split(","):
        return KEPT, True
    return None


def _change(pruning: Pruning, entry: Entry, action: Action, found: tuple[FieldChange, ...], reason: str) -> Change:
    unit = pruning.unit
    return Change(
        action=action, identity=entry.identity, model=unit.model, environment=unit.environment, fields=found,
        reason=reason,
    )  # fmt: skip


def _order(removal: Removal) -> tuple[int, str, str, str, str]:
    identity = removal.entry.identity
    stub = {"apiVersion": f"{identity.group}/v1" if identity.group else "v1", "kind": identity.kind,
            "metadata": {"name": identity.name, "namespace": identity.namespace}}  # fmt: skip
    return Manifest(stub).order
