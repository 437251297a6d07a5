"""What a plan is made of: `FieldChange`, `Change` and the ordered `ChangeSet`. Plain frozen values, no I/O.

Paths name list items as people do: by merge key (`Match`) where the list has one, else by position. In a list without
merge keys, the positions of removed and changed items count in the old list, those of added items in the new one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aifctl.manifest import Identity
from aifctl.plan.quoting import quoted

EXIT_NOTHING = 0
EXIT_CHANGES = 2
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_MATCH = re.compile(r"[A-Za-z0-9_./:@-]+")


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    REPLACE = "replace"
    """Deleted and created again, because a changed field can't be changed in place."""
    DELETE = "delete"
    UNCHANGED = "unchanged"


class Op(StrEnum):
    ADD = "add"
    REMOVE = "remove"
    CHANGE = "change"
    REORDER = "reorder"
    """Items of a keyed list changed places; before and after are the items' keys, as lists of `Match`."""


@dataclass(frozen=True, slots=True)
class Match:
    """One item of a list, by its merge key: `(("containerPort", 8080), ("protocol", "TCP"))`."""

    keys: tuple[tuple[str, str | int], ...]

    def __str__(self) -> str:
        return "/".join(str(value) for _, value in self.keys)


@dataclass(frozen=True, slots=True)
class Masked:
    """Stands for a secret value. Two are equal when the values were, within one plan; the digest is salted."""

    digest: str

    def __str__(self) -> str:
        return f"(secret {self.digest})"


Path = tuple[str | int | Match, ...]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field. The path () is the whole object, of a create or a delete."""

    path: Path
    op: Op
    before: Any = None
    after: Any = None
    position: int | None = None
    """Where in the new list an item with a merge key is added."""

    @property
    def shown_path(self) -> str:
        return show_path(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to one object. Whatever is not unchanged says so by fields, a reason or both.

    An unchanged object may carry a reason too: a run that is no longer rendered, and left to finish.
    """

    action: Action
    identity: Identity
    model: str
    """Empty for what belongs to no single model."""
    environment: str
    fields: tuple[FieldChange, ...] = ()
    reason: str = ""
    replaces: str = ""
    """Name of the run that this new run takes the place of."""

    def __post_init__(self) -> None:
        if self.action is Action.UNCHANGED and self.fields:
            raise ValueError(f"{self.identity}: an unchanged object has no changed fields")
        if self.action is not Action.UNCHANGED and not (self.fields or self.reason):
            raise ValueError(f"{self.identity}: a change needs fields or a reason")


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """All objects of both sides, ordered by environment, model and apply order."""

    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    @property
    def effective(self) -> tuple[Change, ...]:
        """Those that change something."""
        return tuple(change for change in self.changes if change.action is not Action.UNCHANGED)

    @property
    def notable(self) -> tuple[Change, ...]:
        """Those a reader is told about: the effective ones, and unchanged ones that carry a reason."""
        return tuple(change for change in self.changes if change.action is not Action.UNCHANGED or change.reason)

    @property
    def counts(self) -> Mapping[Action, int]:
        """Number of objects for every action, 0 included."""
        found = Counter(change.action for change in self.changes)
        return {action: found[action] for action in Action}

    @property
    def exit_code(self) -> int:
        """0 without changes, 2 with."""
        return EXIT_CHANGES if self.effective else EXIT_NOTHING


def joined(sets: Iterable[ChangeSet]) -> ChangeSet:
    """One set of several, of different environments say, each in its own order."""
    return ChangeSet(tuple(change for changes in sets for change in changes))


def show_path(path: Path) -> str:
    """`spec.containers[server].ports[8080/TCP].name`; keys with other characters are quoted in brackets."""
    text = ""
    for step in path:
        if isinstance(step, str) and _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        elif isinstance(step, str):
            text += f"[{quoted(step)}]"
        else:
            shown = str(step)
            text += f"[{shown if _PLAIN_MATCH.fullmatch(shown) else quoted(shown)}]"
    return text
