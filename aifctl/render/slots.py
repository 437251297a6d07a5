"""Templates filled without a parse each time: their text with numbered slots is parsed once, then values are put in.

An expression is a whole YAML node, so what a filled text means is what its shape means (the text with a slot for each
expression) with the values in their slots; and the fillings of one template mostly have one shape. `Unsure` is raised
wherever a value written as JSON and read as YAML might be another one: the caller then does write and read it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

import yaml12

MARK = "\ue000"
"""Encloses a slot's number; of the private use area, and in no value (`plain`)."""
LONG = 500
"""Characters of a key up to which every reader takes it."""
SAFE_INTEGER = 2**53
_SLOT = re.compile(f"{MARK}([0-9]+){MARK}")
_UNSURE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u2028\u2029\ud800-\udfff\ue000\ufeff\ufffe\uffff]")

Values = list[Any]
Shape = Callable[[Values], Any]


class Unsure(ValueError):
    """A value or a text that is better written out and read."""


def slot(number: int) -> str:
    return f'"{MARK}{number}{MARK}"'


@lru_cache(maxsize=256)
def shape(text: str) -> Shape | None:
    """Makes the object that the text describes from the values of its slots; None for a text that says nothing.

    Parts without a slot are shared by all that it makes. Raises ValueError for a text that is not one mapping.
    """
    documents: Any = yaml12.parse_yaml(text, multi=True)
    if len(documents) > 1:
        raise ValueError("it has several documents")
    if not documents or documents[0] is None:
        return None
    if type(documents[0]) is not dict:
        raise ValueError("it is no mapping")
    found = documents[0]
    return _filler(found) or (lambda _: found)


def plain(value: Any) -> Any:
    """The value as JSON and YAML would hand it over. Raises Unsure."""
    kind = type(value)
    if kind is str:
        # Far cheaper than the pattern, and true of nearly all.
        if value.isascii() and (value.isprintable() or value.replace("\n", "").isprintable()):
            return value
        if _UNSURE.search(value):
            raise Unsure(value)
        return value
    if value is None or kind is bool:
        return value
    if kind is int and -SAFE_INTEGER < value < SAFE_INTEGER:
        return value
    if kind is float and re.fullmatch(r"-?[0-9]+\.[0-9]+", repr(value)):
        return value
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return plain(str.__str__(value))
    raise Unsure(value)


@lru_cache(maxsize=1 << 14)
def _key(key: Any) -> str:
    if not isinstance(key, str) or len(key) > LONG:
        raise Unsure(key)
    return str(plain(key))


def _filler(node: Any) -> Shape | None:
    """None for a node without slots."""
    if type(node) is str:
        found = _SLOT.fullmatch(node)
        if found is None and MARK in node:
            raise Unsure(node)
        return itemgetter(int(found[1])) if found is not None else None
    if type(node) is dict:
        rows = [(key, _filler(key), item, _filler(item)) for key, item in node.items()]
        return _mapping(rows) if any(of_key or of_item for _, of_key, _, of_item in rows) else None
    if type(node) is list:
        items = [(item, _filler(item)) for item in node]
        return _sequence(items) if any(fill for _, fill in items) else None
    return None


def _mapping(rows: list[tuple[Any, Shape | None, Any, Shape | None]]) -> Shape:
    def fill(values: Values) -> dict[str, Any]:
        made = {
            key if of_key is None else _key(of_key(values)): item if of_item is None else of_item(values)
            for key, of_key, item, of_item in rows
        }
        if len(made) < len(rows):
            raise Unsure("two keys are one")
        return made

    return fill


def _sequence(items: list[tuple[Any, Shape | None]]) -> Shape:
    def fill(values: Values) -> list[Any]:
        return [item if of_item is None else of_item(values) for item, of_item in items]

    return fill
