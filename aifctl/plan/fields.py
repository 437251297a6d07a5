"""Field-level difference of two plain objects.

Lists are matched as Kubernetes merges them: by key where items have one (`MERGE_KEYS`), else by the longest common
runs of equal items. Key order of mappings does not count, order of list items does (environment variables refer to
earlier ones, steps run in turn).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from aifctl.plan.change import FieldChange, Match, Op, Path

MERGE_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    # https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy: x-kubernetes-list-map-keys
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "conditions": (("type",),),
    "ownerReferences": (("uid",),),
    # Atomic for the API server, but their keys identify items for a reader.
    "items": (("key",),),
    "matchExpressions": (("key",),),
    "metrics": (("type",),),
    "policies": (("type",),),
    "subjects": (("kind", "namespace", "name"),),
    "rules": (("alert",), ("record",)),
}
"""Field name → keys that identify an item, the first that all items have; a last resort is `ANY_LIST`."""
ANY_LIST = (("name",),)
DEFAULTS: dict[str, str] = {"protocol": "TCP"}
"""What the API server fills in for a key that is left out."""
COMPARED = 1_000_000
"""Greatest product of lengths that the search for common runs is given; beyond it items are paired in turn."""


def field_changes(before: Any, after: Any, path: Path = ()) -> Iterator[FieldChange]:
    """Changes that turn `before` into `after`, in the order of their paths; none if they are the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _mappings(before, after, path)
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        yield from _lists(before, after, path)
    elif not same(before, after):
        yield FieldChange(path, Op.CHANGE, before, after)


def same(before: Any, after: Any) -> bool:
    """Equal as JSON: true is not 1, but 1.0 is 1."""
    return bool(before == after) and _alike(before, after)


def _alike(before: Any, after: Any) -> bool:
    """Whether two values that Python calls equal have booleans in the same places."""
    if isinstance(before, dict):
        for key, value in before.items():
            if type(value) is not str and not _alike(value, after[key]):
                return False
    elif isinstance(before, list | tuple):
        for old, new in zip(before, after, strict=True):
            if type(old) is not str and not _alike(old, new):
                return False
    return (type(before) is bool) == (type(after) is bool)


def _mappings(before: Mapping[str, Any], after: Mapping[str, Any], path: Path) -> Iterator[FieldChange]:
    for key in sorted(before.keys() | after.keys()):
        if key not in after:
            yield FieldChange((*path, key), Op.REMOVE, before[key], None)
        elif key not in before:
            yield FieldChange((*path, key), Op.ADD, None, after[key])
        elif not same(before[key], after[key]):
            yield from field_changes(before[key], after[key], (*path, key))


def _lists(before: Sequence[Any], after: Sequence[Any], path: Path) -> Iterator[FieldChange]:
    for keys in (*MERGE_KEYS.get(str(path[-1]) if path else "", ()), *ANY_LIST):
        old, new = _keyed(before, keys), _keyed(after, keys)
        if old is not None and new is not None and (old or new):
            yield from _keyed_lists(old, new, path)
            return
    yield from _runs(before, after, path)


def _keyed(items: Sequence[Any], keys: tuple[str, ...]) -> dict[Match, Any] | None:
    """The items by their merge key, in order; None where an item lacks it or two share it."""
    found: dict[Match, Any] = {}
    for item in items:
        if not isinstance(item, dict):
            return None
        values: list[tuple[str, Any]] = [(key, item.get(key, DEFAULTS.get(key))) for key in keys]
        if not all(type(value) is str or type(value) is int for _, value in values):
            return None
        found[Match(tuple(values))] = item
    return found if len(found) == len(items) else None


def _keyed_lists(before: Mapping[Match, Any], after: Mapping[Match, Any], path: Path) -> Iterator[FieldChange]:
    for match, item in before.items():
        if match not in after:
            yield FieldChange((*path, match), Op.REMOVE, item, None)
        elif not same(item, after[match]):
            yield from field_changes(item, after[match], (*path, match))
    for position, (match, item) in enumerate(after.items()):
        if match not in before:
            yield FieldChange((*path, match), Op.ADD, None, item, position)
    if [match for match in before if match in after] != [match for match in after if match in before]:
        yield FieldChange(path, Op.REORDER, list(before), list(after))


def _runs(before: Sequence[Any], after: Sequence[Any], path: Path) -> Iterator[FieldChange]:
    for old, new in _pairs(before, after):
        if old is not None and new is not None:
            yield from field_changes(before[old], after[new], (*path, old))
        elif old is not None:
            yield FieldChange((*path, old), Op.REMOVE, before[old], None)
        elif new is not None:
            yield FieldChange((*path, new), Op.ADD, None, after[new])


def _pairs(before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[int | None, int | None]]:
    """Indices of items that belong together; unequal ones between two common runs are paired in turn."""
    for old_from, old_to, new_from, new_to in _unequal(before, after):
        olds: list[int | None] = list(range(old_from, old_to))
        news: list[int | None] = list(range(new_from, new_to))
        length = max(len(olds), len(news))
        olds += [None] * (length - len(olds))
        news += [None] * (length - len(news))
        yield from zip(olds, news, strict=True)


def _unequal(before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[int, int, int, int]]:
    if len(before) * len(after) > COMPARED:
        yield 0, len(before), 0, len(after)
        return
    matcher = SequenceMatcher(None, [*map(_frozen, before)], [*map(_frozen, after)], autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag != "equal":
            yield old_from, old_to, new_from, new_to


def _frozen(value: Any) -> Any:
    """A hashable value that is equal when `same` says so."""
    if isinstance(value, dict):
        return "map", frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(map(_frozen, value))
    return type(value) is bool, value
