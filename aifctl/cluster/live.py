"""What an apply would do to one unit: every wanted object held against the live one by the server's own dry-run.

An object whose manifest and whose fields of ours are as the inventory recorded them costs no request. For the others
the server says what would come out (defaults, webhooks and all), and only what we own, before or after, is compared:
what others set is no drift, and a field of ours is never overlooked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from aifctl.cluster import fields, health, policy, unaided
from aifctl.cluster.client import APPLY, JSON_PATCH
from aifctl.cluster.errors import ApiError, Conflict
from aifctl.cluster.fields import FieldSet
from aifctl.cluster.ground import Ground, Item, delivered_by, notes, unit_of
from aifctl.cluster.inventory import ENDED, Entry, Inventory, Unit
from aifctl.cluster.snapshot import Live, Snapshot
from aifctl.cluster.wanted import Object, Wanted
from aifctl.diagnostics import Diagnostic
from aifctl.manifest import Manifest
from aifctl.plan.change import Action, Change, FieldChange, Op, show_path
from aifctl.plan.diff import IMMUTABLE, NOT_PATCHED
from aifctl.plan.fields import field_changes
from aifctl.render.ownership import ENVIRONMENT

HAND_OVER = fields.HAND_OVER
REPLICAS = ("spec", "replicas")
UNTOLD = frozenset({"apiVersion", "kind", "metadata", "status"})
SCALABLE = frozenset({("apps", "Deployment"), ("apps", "StatefulSet"), ("argoproj.io", "Rollout")})


def look(snapshot: Snapshot, wanted: Wanted, inventory: Inventory) -> list[Item]:
    """Every object of a unit beside the live one and the inventory's, in apply order; nothing is compared yet."""
    entries = inventory.by_identity
    return [
        Item(
            wanted=wanted,
            place=place,
            change=_change(wanted.unit, each, Action.UNCHANGED),
            resource=snapshot.resource(each.api_version, each.identity.kind),
            live=snapshot.objects.get(each.identity),
            entry=entries.get(each.identity),
        )
        for place, each in enumerate(wanted.objects)
    ]


def is_settled(item: Item) -> bool:
    """Whether that look says already that nothing is to be done."""
    if item.live is None or item.resource is None:
        return False
    if item.object.run:
        return item.entry is not None and (item.entry.intent, item.entry.uid) == (item.object.intent, _uid(item.live))
    return as_we_left_it(item.entry, item.object.intent, item.live)


async def compare(ground: Ground, items: Iterable[Item]) -> list[Item]:
    """What becomes of each. Raises Unreachable, and Report where manifests can't be made any more; what the server says
    no to is the item's problem."""
    found = list(items)
    if all(map(is_settled, found)):
        return found
    return list(await asyncio.gather(*(_item(ground, item) for item in found)))


def as_we_left_it(entry: Entry | None, intent: str, live: Live) -> bool:
    """Whether neither the manifest nor any field of ours has changed since it was applied."""
    metadata = live["metadata"]
    if entry is None or entry.uid != metadata.get("uid") or entry.intent != intent:
        return False
    if metadata.get("deletionTimestamp"):
        return False
    return entry.resource_version == metadata.get("resourceVersion") or entry.observed == fields.observed(live)


async def _item(ground: Ground, item: Item) -> Item:
    if item.resource is None:
        return _of_unknown_kind(ground, item)
    if is_settled(item):
        return item
    if item.object.run:
        return await _run(ground, item)
    if item.live is None:
        return await _new(ground, item)
    if (problem := _foreign(ground, item, item.live)) is not None:
        return _refused(item, problem)
    if item.live["metadata"].get("deletionTimestamp"):
        return _leaving(item)
    return await _existing(ground, item, item.live)


# Objects that are not there


def _of_unknown_kind(ground: Ground, item: Item) -> Item:
    api_version, (group, kind, *_) = item.object.api_version, item.identity
    if (group, kind) in ground.kinds:
        return _creating(ground, item, f"new; known to the server once its {kind} definition is there")
    if group in ground.snapshot.discovery.failed:
        problem = Diagnostic("AIF724", f"{item.identity}: the server of group {group} does not answer")
    else:
        hint = "install the operator that brings it, or take it out of the environment's `capabilities`"
        absent = f"the cluster has no {api_version} {kind}"
        problem = Diagnostic("AIF724", f"{item.identity}: {absent}", hint)
    return _refused(item, problem)


async def _run(ground: Ground, item: Item) -> Item:
    """Created once, never patched; one that was seen to its end is not made again after its time to live."""
    live, entry = item.live, item.entry
    if live is not None:
        if (entry is None or entry.uid != _uid(live)) and (problem := _foreign(ground, item, live)) is not None:
            return _refused(item, problem)
        same = entry is None or entry.intent == item.object.intent
        return item if same else _unchanged(item, NOT_PATCHED)
    if entry is not None and entry.observed == ENDED:
        return _unchanged(item, "has run to its end, and was cleaned up since")
    return await _new(ground, item)


async def _new(ground: Ground, item: Item) -> Item:
    reason = "new run" if item.object.run else "new"
    if item.entry is not None and item.entry.uid:
        reason = "was deleted, not by aifctl"
    item = _creating(ground, item, reason)
    if not ground.choices.dry_run:
        return item
    try:
        await _dry_run(ground, item, item.body, force=True)
    except ApiError as error:
        if error.status == 404 and item.identity.namespace in ground.namespaces:
            return _creating(ground, item, f"{reason}; after its namespace {item.identity.namespace}")
        if error.status == 403 and "admission" not in error.message and "cannot patch" in error.message:
            ground.read_only.add(str(item.identity))
            return item
        return _failed(item, error)
    return item


def _creating(ground: Ground, item: Item, reason: str) -> Item:
    whole = FieldChange((), Op.ADD, None, ground.masks.of(item.manifest))
    return replace(_told(item, Action.CREATE, (whole,), reason), body=policy.normal(item.manifest))


# Objects that are there


def _foreign(ground: Ground, item: Item, live: Live) -> Diagnostic | None:
    """Why a live object is not ours to change; a run is not ours to take for the wanted one."""
    if (tool := delivered_by(live)) is not None:
        hint = f"delete it there, or let {tool} deliver this environment (`deliverer` in the platform file)"
        return Diagnostic("AIF728", f"{item.identity} is delivered by {tool}", hint)
    if unit_of(live, item.wanted.unit.environment) is not None:
        return None
    if environment := notes(live).get(ENVIRONMENT):
        problem = f"{item.identity} belongs to environment {environment}"
        return Diagnostic("AIF728", problem, "two environments that share a cluster need namespaces of their own")
    return not_our_run(item) if item.object.run else None


def not_our_run(item: Item) -> Diagnostic:
    """Its name holds the digest of what is run, so it is no accident; and its result is not to be trusted."""
    hint = "find out who made it, then delete it: aifctl makes its own"
    return Diagnostic("AIF728", f"{item.identity} is there already, and was not made by aifctl", hint)


def _leaving(item: Item) -> Item:
    live = item.live or {}
    finalizers = ", ".join(live["metadata"].get("finalizers") or ()) or "none"
    hint = "what holds it must let it go; then apply again"
    return _refused(item, Diagnostic("AIF725", f"{item.identity} is being deleted (finalizers: {finalizers})", hint))


async def _existing(ground: Ground, item: Item, live: Live) -> Item:
    item = replace(item, managed=fields.migrated(live))
    item = replace(item, body=policy.adapted(item.manifest, live, ground.policy))
    try:
        return await _asked(ground, item, live)
    except ApiError as error:
        if error.immutable:
            return await _replacing(ground, item, live, error)
        if error.status == 403 and "cannot patch" in error.message:
            ground.read_only.add(str(item.identity))
            return _compared_here(ground, item, live)
        if error.status == 422 and item.managed is not None and await _can_not_be_made(ground, item) is None:
            return _compared_here(ground, replace(item, force=True), live)
        return _failed(item, error)


async def _asked(ground: Ground, item: Item, live: Live) -> Item:
    """By dry-run, without force first: it tells whose fields stand against us."""
    force = item.force or item.managed is not None
    try:
        outcome = await _dry_run(ground, item, item.body, force=False)
    except ApiError as error:
        if not error.conflicts:
            raise
        given_way = tuple(c for c in error.conflicts if policy.yielded(c))
        if given_way:
            return await _asked(ground, replace(item, body=policy.dropped(item.body, given_way)), live)
        against = tuple(c for c in error.conflicts if c.manager not in fields.OVERRULED)
        if against and not ground.choices.force_conflicts:
            return _contested(item, against)
        force = True
        outcome = await _dry_run(ground, item, item.body, force=True)
    return await _outcome(ground, replace(item, force=force), live, outcome)


async def _dry_run(ground: Ground, item: Item, body: Mapping[str, Any], *, force: bool) -> Live:
    assert item.resource is not None
    asked = {"dryRun": "All", "fieldManager": fields.MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}
    path = item.resource.path(item.manifest.namespace, item.manifest.name)
    return await ground.client.patch(path, APPLY, body, asked)


async def _outcome(ground: Ground, item: Item, live: Live, outcome: Live) -> Item:
    """What would differ, told on the fields that are ours before or after."""
    before, after = _ours_before(live), fields.owned(outcome)
    keep = _replicas_to_keep(item, live, before, after)
    if item.managed is not None:
        # A dry-run can't be told of the takeover: what we take over and do not want goes when it is written.
        gone = fields.minus(fields.minus(before, after), fields.others(outcome))
        outcome = await _relieved(ground, item, live, fields.without(outcome, gone))
    found = _differences(ground, item.manifest, live, outcome, fields.union((before, after)))
    if keep is not None:
        found = [each for each in found if each.path != REPLICAS]
        reason = f"hands its {keep} replicas over to whatever scales it"
    else:
        reason = "" if found else _why(item, live, before, after)
    if not found and not reason:
        return item
    return replace(_told(item, Action.CHANGE, found, reason), keep_replicas=keep)


async def _relieved(ground: Ground, item: Item, live: Live, without: Live) -> Live:
    """The object without fields that nobody wants any more, as the server would keep it: with its defaults."""
    assert item.resource is not None
    parts = [("/metadata", live["metadata"], without["metadata"], ("labels", "annotations", "finalizers")),
             ("", live, without, [key for key in {**live, **without} if key not in UNTOLD])]  # fmt: skip
    steps = [
        {"path": f"{at}/{key}", **({"op": "add", "value": new[key]} if key in new else {"op": "remove"})}
        for at, old, new, keys in parts for key in keys if key in old or key in new
    ]  # fmt: skip
    path = item.resource.path(item.manifest.namespace, item.manifest.name)
    return await ground.client.patch(path, JSON_PATCH, steps, {"dryRun": "All", "fieldManager": fields.MANAGER})


def _ours_before(live: Live) -> FieldSet:
    """What we own, and what we are about to take from people."""
    taken = fields.migrated(live)
    return fields.owned(live) if taken is None else fields.owned({"metadata": {"managedFields": taken}})


def _differences(ground: Ground, manifest: Manifest, live: Live, outcome: Live, scope: FieldSet) -> list[FieldChange]:
    old, new = (_masked(ground, manifest, fields.part(each, scope)) for each in (live, outcome))
    return list(field_changes(old, new))


def _masked(ground: Ground, manifest: Manifest, part: dict[str, Any]) -> dict[str, Any]:
    """Masking wants a whole object."""
    named = {**(part.get("metadata") or {}), "name": manifest.name}
    whole = Manifest({**part, "apiVersion": manifest.api_version, "kind": manifest.kind, "metadata": named})
    return dict(ground.masks.of(whole))


def _why(item: Item, live: Live, before: FieldSet, after: FieldSet) -> str:
    """What an apply changes besides values: who owns what."""
    if item.managed is not None:
        people = sorted({str(each.get("manager")) for each in fields.managed(live) if fields.of_people(each)})
        return f"takes the fields of {', '.join(people) or 'an earlier aifctl'}"
    gained, released = fields.minus(after, before), fields.minus(before, after)
    words = []
    if gained:
        words.append(f"owns {_named(gained)} from now on")
    if released:
        words.append(f"leaves {_named(released)} to others")
    return ", ".join(words)


def _named(some: FieldSet) -> str:
    shown = [show_path(path) for path in fields.paths(some)]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _replicas_to_keep(item: Item, live: Live, before: FieldSet, after: FieldSet) -> int | None:
    """Letting go of replicas would set them to 1 until an autoscaler has looked: somebody must hold them meanwhile."""
    if (item.manifest.group, item.manifest.kind) not in SCALABLE or not fields.holds(before, REPLICAS):
        return None
    if fields.holds(after, REPLICAS) or fields.owners(live, REPLICAS):
        return None
    replicas = (live.get("spec") or {}).get("replicas")
    return replicas if isinstance(replicas, int) else None


def _contested(item: Item, against: tuple[Conflict, ...]) -> Item:
    problems = []
    for each in against:
        owner = f"{each.manager} (by {each.subresource})" if each.subresource else each.manager
        hint = "leave it out of the spec, list it under `apply: {ignore: …}` of the environment, or `--force-conflicts`"
        problems.append(Diagnostic("AIF720", f"{item.identity}: `{each.field.lstrip('.')}` is owned by {owner}", hint))
    reason = f"conflict: {', '.join(dict.fromkeys(f'{c.field} of {c.manager}' for c in against))}"
    return replace(_told(item, Action.CHANGE, (), reason), problems=tuple(problems))


async def _replacing(ground: Ground, item: Item, live: Live, error: ApiError) -> Item:
    manifest = item.manifest
    item = replace(item, body=policy.normal(manifest))
    found = _told_here(ground, item, live)
    reason = f"replace because {', '.join(_fixed(manifest, found, error))} can't be changed in place"
    problem = _may_not_replace(ground, item, live, reason)
    if problem is None:
        problem = await _can_not_be_made(ground, item)
    return replace(_told(item, Action.REPLACE, found, reason), problems=(problem,) if problem else ())


def _fixed(manifest: Manifest, found: Iterable[FieldChange], error: ApiError) -> list[str]:
    """The paths that the server names; where it names all of `spec`, those of them that differ."""
    known = [path for path in IMMUTABLE.get((manifest.group, manifest.kind), ())
             if any(change.path[: len(path)] == path for change in found)]  # fmt: skip
    parts = {whole: [show_path(path) for path in known if show_path(path[:1]) == whole] for whole in error.immutable}
    return list(dict.fromkeys(path for whole, inside in parts.items() for path in inside or [whole]))


def _may_not_replace(ground: Ground, item: Item, live: Live, reason: str) -> Diagnostic | None:
    manifest = item.manifest
    if not ground.policy.may_replace(manifest.kind, manifest.group):
        hint = f"`apply: {{replace: [{manifest.kind}]}}` of the environment allows it, by delete and create"
        return Diagnostic("AIF726", f"{manifest.identity}: {reason}", hint)
    running = health.is_run(manifest.group, manifest.kind) and not health.ended(live)
    if running and not ground.choices.confirm_replace:
        phase = health.assess(live).phase or "running"
        hint = "wait for its end, or `--confirm-replace` to lose what it has done since its last checkpoint"
        return Diagnostic("AIF727", f"{manifest.identity} is {phase}: replacing it would kill it", hint)
    return None


async def _can_not_be_made(ground: Ground, item: Item) -> Diagnostic | None:
    """Before something is deleted, the server says whether its successor would pass: under another name, dry."""
    body = dict(policy.normal(item.manifest))
    body["metadata"] = {**item.manifest.metadata, "name": f"{item.manifest.name[:40].rstrip('-.')}-aif-dry"}
    asked = {"dryRun": "All", "fieldManager": fields.MANAGER, "fieldValidation": "Strict"}
    assert item.resource is not None
    try:
        await ground.client.create(item.resource.path(item.manifest.namespace), body, asked)
    except ApiError as error:
        return error.finding(str(item.identity))
    return None


def _compared_here(ground: Ground, item: Item, live: Live) -> Item:
    """Without the server's help: it may not be asked, or can't be before people's fields are ours."""
    found = _told_here(ground, item, live)
    reason = "" if found or item.managed is None else _why(item, live, fields.NOTHING, fields.NOTHING)
    return _told(item, Action.CHANGE, found, reason) if found or reason else item


def _told_here(ground: Ground, item: Item, live: Live) -> list[FieldChange]:
    old, new = (_masked(ground, item.manifest, each) for each in unaided.sides(live, item.body, _ours_before(live)))
    return [each for each in field_changes(old, new) if each.path[0] not in ("apiVersion", "kind")]


# Changes


def _unchanged(item: Item, reason: str) -> Item:
    return _told(item, Action.UNCHANGED, (), reason)


def _refused(item: Item, problem: Diagnostic) -> Item:
    return replace(_told(item, Action.CHANGE, (), f"refused ({problem.code})"), problems=(problem,))


def _failed(item: Item, error: ApiError) -> Item:
    problem = error.finding(str(item.identity))
    action = Action.CREATE if item.live is None else Action.CHANGE
    return replace(_told(item, action, (), f"refused by the API server ({problem.code})"), problems=(problem,))


def _told(item: Item, action: Action, found: Iterable[FieldChange], reason: str) -> Item:
    return replace(item, change=_change(item.wanted.unit, item.object, action, found, reason))


def _change(unit: Unit, wanted: Object, action: Action, found: Iterable[FieldChange] = (), reason: str = "") -> Change:
    return Change(
        action=action,
        identity=wanted.identity,
        model=unit.model,
        environment=unit.environment,
        fields=tuple(found),
        reason=reason,
    )


def _uid(live: Live) -> str:
    return str(live["metadata"].get("uid", ""))
