"""Random objects and sets of their fields, as a server would write them, for property tests."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

KEYS = st.sampled_from(
    ["a", "b", "image", "name", "labels", "env", "kueue.x-k8s.io/queue-name", "f:a", "k:{}", ".", "*", "0", "ü", "a b"]
)
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "1", "true", "f:a", "ß"])


def _named(items: list[Any], names: list[str]) -> list[Any]:
    return [{**item, "name": name} for item, name in zip(items, names, strict=False) if isinstance(item, dict)]


def _grow(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    mappings = st.dictionaries(KEYS, inside, max_size=4)
    names = st.lists(st.sampled_from(["n", "m", "o", 'q"', "ü"]), unique=True, max_size=3)
    return (
        mappings | st.builds(_named, st.lists(mappings, min_size=3, max_size=3), names) | st.lists(SCALARS, max_size=3)
    )


OBJECTS = st.dictionaries(KEYS, st.recursive(SCALARS, _grow, max_leaves=12), max_size=5)
"""Mappings of scalars, mappings, lists of scalars, and lists whose items have names of their own."""


def everything(value: Any) -> dict[str, Any]:
    """The set that names every part of a value: lists with names are granular, other lists are one leaf."""
    if isinstance(value, dict) and value:
        return {f"f:{key}": everything(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return {f"k:{json.dumps({'name': item['name']})}": {".": {}, **everything(item)} for item in value}
    return {}


@st.composite
def some_of(draw: st.DrawFn, value: Any) -> dict[str, Any]:
    """A part of `everything`: what one manager may own."""
    whole = everything(value)
    return _some(draw, whole)


def _some(draw: st.DrawFn, whole: dict[str, Any]) -> dict[str, Any]:
    """Who owns something in an item of a list owns its key."""
    found = {key: whole[key] for key in (".", "f:name") if "." in whole}
    for key, inside in whole.items():
        if key not in found and draw(st.booleans()):
            part = _some(draw, inside)
            if part or not inside:
                found[key] = part
    return found
