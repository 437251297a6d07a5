"""Reads live objects that may hold anything: a value of the wrong type reads as one that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

LONGEST = 300
"""Characters of a message that are kept."""


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: str
    """True, False or Unknown, as the controller wrote it."""
    reason: str = ""
    message: str = ""
    since: str = ""
    observed: int | None = None
    """The generation that it speaks of, where its kind says so."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A live object, opened for rules. `now` is None where the time is of no interest."""

    found: Mapping[str, Any]
    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    conditions: Mapping[str, Condition]
    now: datetime | None = None

    @property
    def name(self) -> str:
        return text(self.metadata.get("name"))

    @property
    def generation(self) -> int | None:
        return integer(self.metadata.get("generation"))

    @property
    def observed(self) -> int | None:
        """`status.observedGeneration`; Argo Rollouts writes it as a string."""
        return integer(self.status.get("observedGeneration"))

    def is_true(self, *types: str) -> Condition | None:
        """The first of these conditions that is True."""
        return next((each for each in map(self.conditions.get, types) if each and each.status == "True"), None)

    def is_false(self, *types: str) -> Condition | None:
        return next((each for each in map(self.conditions.get, types) if each and each.status == "False"), None)


def open_object(found: Mapping[str, Any], now: datetime | None = None) -> Seen:
    status = mapping(found.get("status"))
    return Seen(
        found=found,
        metadata=mapping(found.get("metadata")),
        spec=mapping(found.get("spec")),
        status=status,
        conditions={each.type: each for each in conditions(status.get("conditions"))},
        now=now,
    )


def group_kind(found: Mapping[str, Any]) -> tuple[str, str]:
    group, slash, _ = text(found.get("apiVersion")).rpartition("/")
    return (group if slash else "", text(found.get("kind")))


def conditions(value: Any) -> Iterator[Condition]:
    """The conditions of a list; what is none is left out."""
    for each in mappings(value):
        if text(each.get("type")):
            yield Condition(
                type=text(each.get("type")),
                status=text(each.get("status")),
                reason=text(each.get("reason")),
                message=text(each.get("message")),
                since=text(each.get("lastTransitionTime")),
                observed=integer(each.get("observedGeneration")),
            )


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []


def at(value: Any, *keys: str) -> Any:
    """The value under nested keys, None where one is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def integer(value: Any, default: int | None = None) -> int | None:
    """A whole number, also one written as a string of digits."""
    if isinstance(value, bool):
        return default
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        return int(value)
    return value if isinstance(value, int) else default


def count(value: Any, default: int = 0) -> int:
    """A number of things: `default` where it is missing, negative or nonsense."""
    number = integer(value)
    return default if number is None or number < 0 else number


def moment(value: Any) -> datetime | None:
    """A Kubernetes timestamp (RFC 3339), None where it is none."""
    try:
        parsed = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def seconds_since(value: Any, now: datetime | None) -> float | None:
    """Seconds between a timestamp and now, None where either is missing."""
    then = moment(value)
    if then is None or now is None:
        return None
    return (now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp() - then.timestamp()


def one_line(value: str, longest: int = LONGEST) -> str:
    """Printable text of one line: status texts are written by strangers and end in someone's terminal."""
    line = " ".join("".join(each if each.isprintable() else " " for each in value[: 4 * longest]).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def word(value: str) -> str:
    """A phase: one printable word."""
    return one_line(value, 63).replace(" ", "-")


def span(seconds: float) -> str:
    """A duration as people say it: 45s, 12m, 3h, 2d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(seconds, 0))}s"


def fold(*parts: str) -> str:
    """Joins what there is: `a; b`. A sentence's full stop goes where more follows it."""
    *more, last = [part for part in parts if part] or [""]
    return "; ".join([*(part.rstrip(". ") for part in more), last])
