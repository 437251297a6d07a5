"""Who owns which field: `metadata.managedFields` read as sets of paths. Pure.

A set is FieldsV1 as the server writes it, nested mappings whose keys are `f:<field>`, `k:{"name":"x"}` (an item of a
list with keys), `v:<value>` (an item of a set), `i:<index>`, and `.` (the thing itself); an empty mapping is a leaf.
https://github.com/kubernetes-sigs/structured-merge-diff, KEP-555.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aifctl import digest
from aifctl.plan.change import Match, Path
from aifctl.plan.fields import DEFAULTS

MANAGER = "aifctl"
PEOPLE = frozenset(
    {
        "kubectl-client-side-apply", "kubectl-edit", "kubectl-patch", "kubectl-replace", "kubectl-create",
        "kubectl-set", "kubectl-run", "kubectl-expose", "kubectl-autoscale", "kubectl-last-applied",
        "before-first-apply", "helm", "Helm", "k9s", "kluctl", "Mozilla",
    }
)  # fmt: skip
"""Managers of people and of tools that applied before us: their fields become ours before anything is compared.

`kubectl` is one of them by what it applies (`kubectl apply --server-side`), not by what it updates: see `of_people`.
Not here: `kubectl-rollout`, `-label`, `-annotate`, `-scale`, which are orders of the moment, on fields of their own;
and names that controllers write under as well (`rancher`, `OpenAPI-Generator`): to take theirs would never end.
"""
HAND_OVER = "aifctl-hand-over"
"""Holds replicas between our letting go and an autoscaler's taking over."""
OVERRULED = PEOPLE | {
    "kubectl", "kubectl-scale", "kubectl-label", "kubectl-annotate", "kubectl-rollout", "rancher", HAND_OVER
}  # fmt: skip
"""Whose change of a field that we want otherwise is drift, and no conflict."""

FieldSet = Mapping[str, Any]
NOTHING: FieldSet = {}


def managed(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Entries of managedFields; what is not shaped like one is left out."""
    entries = (found.get("metadata") or {}).get("managedFields")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def owned(found: Mapping[str, Any], manager: str = MANAGER) -> FieldSet:
    """What a manager owns by server-side apply."""
    sets = (
        entry.get("fieldsV1") or {}
        for entry in managed(found)
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")
    )
    return union(sets)


def others(found: Mapping[str, Any], manager: str = MANAGER) -> FieldSet:
    """What anybody else owns and will go on owning: not what `migrated` takes over."""
    taken = _taken(found)
    kept = (entry for entry in managed(found) if entry.get("manager") != manager and entry not in taken)
    return union(entry.get("fieldsV1") or {} for entry in kept)


def owners(found: Mapping[str, Any], path: Path) -> list[tuple[str, str]]:
    """(manager, subresource) of those, other than us, who own a path and will go on owning it."""
    taken = _taken(found)
    return [
        (str(entry.get("manager")), str(entry.get("subresource") or ""))
        for entry in managed(found)
        if entry.get("manager") != MANAGER and entry not in taken and holds(entry.get("fieldsV1") or {}, path)
    ]


def union(sets: Iterable[FieldSet]) -> FieldSet:
    found: dict[str, Any] = {}
    for each in sets:
        found = _union(found, each) if found else dict(each)
    return found


def minus(left: FieldSet, right: FieldSet) -> FieldSet:
    """Paths of `left` that are not in `right`. An empty set is a leaf, or a mapping without what is in it."""
    found: dict[str, Any] = {}
    for key, inside in left.items():
        if key not in right:
            found[key] = inside
        elif inside and (rest := minus(inside, right[key])):
            found[key] = rest
    return found


def holds(fields: FieldSet, path: Path) -> bool:
    """Whether a set has this path, a part of it, or the whole that it is in."""
    at: Any = fields
    for step in path:
        if not at:
            return at is not fields  # a leaf: owned as a whole
        key = _key_of(at, step)
        if key is None:
            return False
        at = at[key]
    return True


def paths(fields: FieldSet, before: Path = ()) -> Iterator[Path]:
    """Leaves, as plans show paths."""
    for key, inside in fields.items():
        if key == ".":
            continue
        path = (*before, _step(key))
        rest = {name: value for name, value in inside.items() if name != "."} if isinstance(inside, dict) else {}
        if rest:
            yield from paths(rest, path)
        else:
            yield path


def part(found: Mapping[str, Any], fields: FieldSet) -> dict[str, Any]:
    """Of an object what a set names; nothing where it names nothing."""
    return dict(project(dict(found), fields)) if fields else {}


def project(value: Any, fields: FieldSet) -> Any:
    """Only what a set names. Items of lists stay in their order; of a leaf (an empty set) all that is in it."""
    if not fields:
        return value
    if isinstance(value, dict):
        return {key: project(value[key], inside) for key, inside in _named(fields) if key in value}
    if isinstance(value, list):
        return [_item(item, key, fields[key]) for item, key in _items(value, fields)]
    return value


def observed(found: Mapping[str, Any], fields: FieldSet | None = None) -> str:
    """Digest of what we own of a live object: it moves when somebody changes, drops or takes over one of our fields."""
    mine = owned(found) if fields is None else fields
    text = json.dumps([mine, part(found, mine)], sort_keys=True, separators=(",", ":"))
    return digest.of_text(text)[:24]


def migrated(found: Mapping[str, Any], manager: str = MANAGER) -> list[Mapping[str, Any]] | None:
    """managedFields after the fields of `PEOPLE` became ours; None where there are none.

    Entries of subresources stay, and so do those of another version of the API, which only the server can convert.
    """
    entries = managed(found)
    version = str(found.get("apiVersion", ""))
    taken = _taken(found)
    own = [e for e in entries if e.get("manager") == manager and e.get("operation") == "Apply"]
    stale = [e for e in entries if e.get("manager") == manager and e.get("operation") == "Update"
             and not e.get("subresource")]  # fmt: skip
    if not taken and not stale:
        return None
    gone = [*taken, *stale]
    kept = [e for e in entries if e not in gone and e not in own]
    mine = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": version,
        "fieldsType": "FieldsV1",
        "fieldsV1": union(e.get("fieldsV1") or {} for e in (*own, *gone)),
    }
    return [*kept, mine]


def without(value: Any, fields: FieldSet) -> Any:
    """A copy without the leaves of a set: what the server would drop when nobody owns them any more.

    A mapping or item of which a set names only the thing itself (`.`) stays: somebody owns what is in it.
    """
    if isinstance(value, dict):
        named = dict(_named(fields))
        left = {key: without(item, named[key]) if key in named else item for key, item in value.items()
                if key not in named or named[key]}  # fmt: skip
        return {key: item for key, item in left.items() if key not in named or item not in ({}, []) or not value[key]}
    if isinstance(value, list):
        inside = {position: fields[key] for position, key in _positions(value, fields)}
        return [
            without(item, inside[position]) if position in inside else item
            for position, item in enumerate(value)
            if position not in inside or (inside[position] and not _is_whole(inside[position]))
        ]
    return value


def _is_whole(inside: FieldSet) -> bool:
    """Whether a set names an item itself and something in it: then the item goes, its key with it."""
    return "." in inside and len(inside) > 1


def of_people(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of managedFields is one that becomes ours."""
    applied = entry.get("manager") == "kubectl" and entry.get("operation") == "Apply"
    return (applied or entry.get("manager") in PEOPLE) and not entry.get("subresource")


def _taken(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    version = found.get("apiVersion")
    same = (e for e in managed(found) if version is None or e.get("apiVersion") in (None, version))
    return [entry for entry in same if of_people(entry)]


def _union(left: FieldSet, right: FieldSet) -> dict[str, Any]:
    found = dict(left)
    for key, inside in right.items():
        # A leaf and a set below it are both kept, as the set and itself (`.`).
        if key not in found:
            found[key] = inside
        elif found[key] != inside:
            found[key] = _union(found[key] or {".": {}}, inside or {".": {}})
    return found


def _named(fields: FieldSet) -> Iterator[tuple[str, FieldSet]]:
    return ((key[2:], inside) for key, inside in fields.items() if key.startswith("f:"))


def _items(value: list[Any], fields: FieldSet) -> Iterator[tuple[Any, str]]:
    return ((value[position], key) for position, key in sorted(_positions(value, fields), key=lambda at: at[0]))


def _item(item: Any, key: str, inside: FieldSet) -> Any:
    """Of an item of a list; what it is known by is always with it."""
    found = project(item, inside)
    if not inside or not key.startswith("k:"):
        return found
    return {**{name: item[name] for name in json.loads(key[2:]) if name in item}, **found}


def _positions(value: list[Any], fields: FieldSet) -> Iterator[tuple[int, str]]:
    for key in fields:
        position = next((at for at, item in enumerate(value) if key != "." and is_item(key, at, item)), None)
        if position is not None:
            yield position, key


def is_item(key: str, position: int, item: Any) -> bool:
    kind, _, text = key.partition(":")
    if kind == "i":
        return text == str(position)
    try:
        wanted = json.loads(text)
    except ValueError:
        return False
    if kind == "v":
        return type(item) is type(wanted) and bool(item == wanted)
    return (
        kind == "k" and isinstance(item, dict) and all(key_value(item, name) == value for name, value in wanted.items())
    )


def key_value(item: Mapping[str, Any], name: str) -> Any:
    """Of a merge key; one that a manifest leaves out is as the server fills it in."""
    return item.get(name, DEFAULTS.get(name))


def _step(key: str) -> str | int | Match:
    kind, _, text = key.partition(":")
    if kind == "f":
        return text
    if kind == "i":
        return int(text)
    wanted = json.loads(text)
    return Match(tuple(wanted.items())) if kind == "k" else Match((("value", wanted),))


def _key_of(fields: FieldSet, step: str | int | Match) -> str | None:
    if isinstance(step, str):
        return f"f:{step}" if f"f:{step}" in fields else None
    if isinstance(step, int):
        return f"i:{step}" if f"i:{step}" in fields else None
    for key in fields:
        if key.startswith("k:") and dict(step.keys).items() >= json.loads(key[2:]).items():
            return key
        if key.startswith("v:") and dict(step.keys).get("value") == json.loads(key[2:]):
            return key
    return None
