"""Python packages that aifctl needs here, by its own metadata (https://packaging.python.org/specifications/core-metadata/).

Only what such metadata of ours holds is read: a name, extras, `>=` bounds and the marker `extra == "…"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import NamedTuple

OURSELVES = "aifctl"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?\s*([^;]*)(?:;(.*))?", re.DOTALL)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")
_AT_LEAST = re.compile(r">=\s*([0-9][0-9.]*)")


class Need(NamedTuple):
    name: str
    least: str = ""


def needs(extras: Iterable[str] = (), package: str = OURSELVES) -> list[Need]:
    """What the base install needs, or these extras. Raises metadata.PackageNotFoundError."""
    lines = metadata.requires(package) or []
    wanted = set(extras)
    return sorted(set(_of_extras(lines, wanted, package) if wanted else _of_base(lines)))


def lacks(need: Need) -> str | None:
    """Why it is not there as it should be; None where it is."""
    try:
        found = metadata.version(need.name)
    except metadata.PackageNotFoundError:
        return f"{need.name} is not installed"
    if need.least and _numbers(found) < _numbers(need.least):
        return f"{need.name} {found} is older than {need.least}"
    return None


def installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _of_base(lines: list[str]) -> Iterator[Need]:
    for name, _, least, extra in map(_parsed, lines):
        if extra is None:
            yield Need(name, least)


def _of_extras(lines: list[str], wanted: set[str], package: str) -> Iterator[Need]:
    """An extra may ask for others of the same package: `aifctl[data]`."""
    done: set[str] = set()
    while left := wanted - done:
        done |= left
        for name, inner, least, extra in map(_parsed, lines):
            if extra not in left:
                continue
            if name == package:
                wanted = wanted | inner
            else:
                yield Need(name, least)


def _parsed(line: str) -> tuple[str, set[str], str, str | None]:
    """(name, extras it asks for, least version, extra that it is of)."""
    match = _REQUIREMENT.match(line.strip())
    if match is None:
        return line, set(), "", None
    name, inner, bounds, marker = match.groups()
    extra, least = _EXTRA.search(marker or ""), _AT_LEAST.search(bounds or "")
    asked = {each.strip() for each in (inner or "").split(",") if each.strip()}
    return name, asked, least[1] if least else "", extra[1] if extra else None


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
