"""A live object held against a manifest without the server's dry-run, for who may only read. Pure.

Only what the manifest sets, and what we own, is compared: what the server fills in and what others set is left out of
both sides. Quantities are compared by what they mean. What a webhook changes of ours is taken for drift, and what a
removed field falls back to is not known: that is why a plan made so says so (AIF731).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aifctl.cluster import fields
from aifctl.cluster.fields import FieldSet
from aifctl.plan.fields import ANY_LIST, DEFAULTS, MERGE_KEYS

QUANTITIES = {(name,) for name in ("requests", "limits", "hard", "capacity", "default", "defaultRequest", "max", "min")}
"""Mappings whose values are quantities."""
A_QUANTITY = frozenset({"sizeLimit", "divisor", "nominalQuota", "borrowingLimit", "lendingLimit"})
FILLED_IN = frozenset(
    {
        "apiVersion", "kind", "apiGroup", "protocol", "divisor", "mode", "defaultMode", "optional", "expirationSeconds",
        "pathType", "scheme", "volumeMode", "status", "creationTimestamp",
    }
)  # fmt: skip
"""What the server adds inside of a mapping or list that has one owner as a whole, so that managedFields can't tell."""
_SUFFIXES = {
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    "m": Decimal("1e-3"), "u": Decimal("1e-6"), "n": Decimal("1e-9"),
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)([numkMGTPE]|[KMGTPE]i)?")

Place = tuple[str, ...]
Owned = FieldSet | None
"""None: nothing here is ours. Empty: it is ours as a whole. Else what of it is ours."""


def sides(live: Mapping[str, Any], body: Mapping[str, Any], owned: FieldSet) -> tuple[Any, Any]:
    """The parts of the live object and of the manifest to compare: the same where an apply would change nothing."""
    return _sides(dict(live), dict(body), owned or None, ())


def quantity(value: Any) -> Decimal | None:
    """`1000m` and 1 are one quantity; None for what is none.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if match is None or isinstance(value, bool):
        return None
    return Decimal(match[1]) * _SUFFIXES[match[2] or ""]


def _sides(live: Any, body: Any, owned: Owned, at: Place) -> tuple[Any, Any]:
    if isinstance(live, dict) and isinstance(body, dict):
        return _of_mappings(live, body, owned, at)
    if isinstance(live, list) and isinstance(body, list):
        return _of_lists(live, body, owned, at)
    return live, live if _is_same_quantity(live, body, at) else body


def _of_mappings(live: Mapping[str, Any], body: Mapping[str, Any], owned: Owned, at: Place) -> tuple[Any, Any]:
    old, new = {}, {}
    for key, value in body.items():
        if key in live:
            old[key], new[key] = _sides(live[key], value, _below(owned, f"f:{key}"), (*at, key))
        elif value not in (None, {}, []):
            new[key] = value
    for key in live.keys() - body.keys():
        inside = _below(owned, f"f:{key}")
        if key in DEFAULTS and live[key] == DEFAULTS[key]:
            continue
        if inside is not None and (owned or (body and key not in FILLED_IN)):
            old[key] = fields.project(live[key], inside)
    return old, new


def _of_lists(live: list[Any], body: list[Any], owned: Owned, at: Place) -> tuple[Any, Any]:
    names = _names(live, body, owned, at)
    if names is None:
        if len(live) != len(body):
            return live, body
        pairs = [_sides(there, wanted, owned, at) for there, wanted in zip(live, body, strict=True)]
        return [old for old, _ in pairs], [new for _, new in pairs]
    wanted = {_key(item, names): item for item in body}
    old, found = [], {}
    for item in live:
        key, inside = _key(item, names), _item_below(owned, item)
        if key in wanted:
            before, found[key] = _sides(item, wanted[key], inside, at)
            old.append(before)
        elif inside is not None:
            old.append(fields.project(item, inside))
    return old, [found.get(key, item) for key, item in wanted.items()]


def _below(owned: Owned, key: str) -> Owned:
    return owned.get(key) if owned else owned


def _item_below(owned: Owned, item: Any) -> Owned:
    if not owned:
        return owned
    return next((inside for key, inside in owned.items() if key != "." and fields.is_item(key, -1, item)), None)


def _names(live: list[Any], body: list[Any], owned: Owned, at: Place) -> tuple[str, ...] | None:
    """Merge keys of a list: as managedFields have them, else as its field's name tells; () for a set of values."""
    keys = [key for key in owned or () if key != "."]
    if any(key.startswith("v:") for key in keys):
        return ()
    told = [tuple(json.loads(key[2:])) for key in keys if key.startswith("k:")][:1]
    usual = (*MERGE_KEYS.get(at[-1] if at else "", ()), *ANY_LIST) if owned is None else ()
    return next((names for names in (*told, *usual) if _keyed(live, names) and _keyed(body, names)), None)


def _keyed(items: list[Any], names: tuple[str, ...]) -> bool:
    """Whether these keys tell the items apart."""
    if not all(isinstance(item, dict) for item in items):
        return False
    keys = {_key(item, names) for item in items}
    return len(keys) == len(items) and not any("null" in key for key in keys)


def _key(item: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    values = [fields.key_value(item, name) for name in names] if names else [item]
    return tuple(json.dumps(value, sort_keys=True) for value in values)


def _is_same_quantity(live: Any, body: Any, at: Place) -> bool:
    if not at or (at[-1] not in A_QUANTITY and at[-2:-1] not in QUANTITIES):
        return False
    there = quantity(live)
    return there is not None and there == quantity(body)
