"""One expression is one whole YAML node: checked on a template's tokens, before it is compiled.

Expressions are written as JSON, so `name: {{ x }}` is right whatever x holds, and `name: a-{{ x }}` would be wrong
for any x: the quotes would land inside the scalar. Block tags and comments are looked through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

HOLE = "\0"
"""Stands for an expression in the text that is left of a template."""

Token = tuple[int, str, str]

# What may stand before an expression on its line: list dashes, a key; inside brackets also an opener or a comma.
_BEFORE = re.compile(r"\s*(?:-\s+)*(?:(?:[^\s].*)?:\s+)?")
_BEFORE_IN_FLOW = re.compile(r"\s*|.*[\[{,]\s*|.*:\s+")
# And after it: nothing, a comment, a colon (it is a key); inside brackets also a comma or what closes them.
_AFTER = re.compile(r"\s*(?:$|:(?:\s|$)|\s#)")
_AFTER_IN_FLOW = re.compile(r"\s*(?:$|[,\]}]|:\s|\s#)")
_BLOCK_SCALAR = re.compile(r"(?:.*[:\-?]\s+)?[|>][0-9+-]*\s*(?:#.*)?")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?<=\s)#.*|^\s*#.*""")
_MASK = str.maketrans({HOLE: "\1", "[": " ", "{": " ", "]": " ", "}": " "})
"""What is quoted or a comment opens no bracket, and a hole in it is never whole."""


def partial_lines(tokens: Iterable[Token]) -> list[int]:
    """Lines (from 1) of the expressions that are not whole YAML nodes."""
    text, lines = _outline(tokens)
    return [lines[number] for number in _partial(text)]


def _outline(tokens: Iterable[Token]) -> tuple[str, list[int]]:
    """The template's own text with a HOLE for each expression, and the line that each hole is on."""
    parts: list[str] = []
    lines: list[int] = []
    for line, kind, value in tokens:
        if kind == "data":
            parts.append(value)
        elif kind == "variable_begin":
            parts.append(HOLE)
            lines.append(line)
    return "".join(parts), lines


def _partial(text: str) -> Iterator[int]:
    """Numbers (from 0) of the holes that are only a part of a node."""
    number = depth = 0
    scalar_indent: int | None = None
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        if scalar_indent is not None and line.strip() and indent <= scalar_indent:
            scalar_indent = None
        masked = _QUOTED.sub(lambda match: match.group().translate(_MASK), line)
        for at, character in enumerate(masked):
            depth += _DEPTH.get(character, 0)
            if character in "\0\1":
                if character != HOLE or scalar_indent is not None or not _is_whole(masked, at, depth > 0):
                    yield number
                number += 1
        if scalar_indent is None and _BLOCK_SCALAR.fullmatch(masked):
            scalar_indent = indent


_DEPTH = {"[": 1, "{": 1, "]": -1, "}": -1}


def _is_whole(line: str, at: int, in_flow: bool) -> bool:
    before, after = (_BEFORE_IN_FLOW, _AFTER_IN_FLOW) if in_flow else (_BEFORE, _AFTER)
    return before.fullmatch(line[:at]) is not None and after.match(line[at + 1 :]) is not None
