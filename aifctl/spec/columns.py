"""Columns as written in a spec (`p0..p63`, one name, a list) → column names. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

RANGE = re.compile(r"^(.*?)(\d+)\.\.(.*?)(\d+)$")
MOST = 100_000


@lru_cache(maxsize=4096)
def expand(columns: str | tuple[str, ...] | None, feature: str) -> tuple[str, ...]:
    """Column names in order; the feature's own name when none are given. Raises ValueError for an empty range."""
    if columns is None:
        return (feature,)
    if isinstance(columns, tuple):
        return tuple(name for entry in columns for name in expand(entry, feature))
    match = RANGE.match(columns)
    if match is None:
        return (columns,)
    prefix, first, end_prefix, last = match.groups()
    if end_prefix not in ("", prefix):
        raise ValueError(f"the range `{columns}` begins with `{prefix}` and ends with `{end_prefix}`")
    if int(last) < int(first) or int(last) - int(first) >= MOST:
        raise ValueError(f"the range `{columns}` is empty or too long")
    width = len(first) if first.startswith("0") and len(first) == len(last) else 0
    return tuple(f"{prefix}{number:0{width}d}" for number in range(int(first), int(last) + 1))
