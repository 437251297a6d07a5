"""Values of fields as short, printable text, and the differences of texts of several lines as hunks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any

from aifctl import digest
from aifctl.digest import SHORT
from aifctl.plan.change import FieldChange, Masked, Match, Op
from aifctl.plan.quoting import bare, printable, quoted

HUNK_LINES = 40
"""Lines of one text's difference that are shown."""
COMPARED_LINES = 20_000
"""Texts with more lines, both together, are told by their size and digest only."""
SIGNS = {Op.ADD: "+", Op.REMOVE: "-", Op.CHANGE: "~", Op.REORDER: "~"}


def inline(value: Any, limit: int = 60) -> str:
    """One line; beyond `limit` characters its beginning, its size and a digest, so that two such values differ."""
    text = _one_line(value)
    if len(text) <= limit:
        return text
    mark = f"… ({len(text):,} characters, {digest.of_text(text)[:SHORT]})"
    return text[: max(limit - len(mark), 8)] + mark


def field_text(change: FieldChange, limit: int = 60) -> str:
    """`path: before -> after`, `path: added value`, without the sign."""
    path = change.shown_path
    if change.op is Op.ADD:
        return f"{path}: {inline(change.after, limit)}"
    if change.op is Op.REMOVE:
        return f"{path}: {inline(change.before, limit)}"
    before, after = sides(change, limit)
    return f"{path}: {before} -> {after}"


def sides(change: FieldChange, limit: int) -> tuple[str, str]:
    """Before and after, each at most about `limit` characters. Numbers and texts that look alike stay apart."""
    return inline(change.before, limit), inline(change.after, limit)


def is_text_block(change: FieldChange) -> bool:
    """Whether the change is better told line by line."""
    both = isinstance(change.before, str) and isinstance(change.after, str)
    return change.op is Op.CHANGE and both and ("\n" in change.before or "\n" in change.after)


def hunks(before: str, after: str, most: int = HUNK_LINES) -> list[str]:
    """Unified difference of two texts, lines printable, at most `most` of them and a count of the rest."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) + len(new) > COMPARED_LINES:
        return [f"{inline(before)} -> {inline(after)}"]
    lines = [printable(line) for line in unified_diff(old, new, lineterm="")][2:]
    if not lines:
        return ["only line ends changed"]
    rest = len(lines) - most
    return lines if rest <= 0 else [*lines[:most], f"… and {rest} more lines"]


def _one_line(value: Any) -> str:
    if isinstance(value, str):
        return bare(value)
    if isinstance(value, Masked | Match):
        return str(value)
    return printable("".join(_flow(value)))


def _flow(value: Any) -> Iterator[str]:
    """JSON, with secrets and keys of list items in their own form."""
    if isinstance(value, Mapping):
        yield "{" + ", ".join(f"{quoted(str(key))}: {''.join(_flow(item))}" for key, item in value.items()) + "}"
    elif isinstance(value, list | tuple):
        yield "[" + ", ".join("".join(_flow(item)) for item in value) + "]"
    elif isinstance(value, Masked | Match):
        yield str(value)
    else:
        yield json.dumps(value, ensure_ascii=False)
