"""What a stage reports: `Diagnostic`, found at a `Where` (a key path) that `spec.source` turns into a `Position`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

KeyPath = tuple[str | int, ...]


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text file. Lines and columns count from 1; the end column is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a document by its keys, as checks know it: ("spec", "training", "hardware", "per_node")."""

    file: str
    path: KeyPath = ()
    on: Literal["key", "value"] = "value"
    document: int = 0


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    `code` is a key of `diagnostics.codes.CODES`, never reused. `message` says what is wrong, lower case, no full
    stop; `hint` alone says what to do about it. `notes` carry rows that help (a table of differing rows, say).
    """

    code: str
    message: str
    hint: str | None = None
    where: Where | None = None
    position: Position | None = None
    severity: Severity = Severity.ERROR
    notes: tuple[str, ...] = ()

    def at(self, position: Position | None) -> Diagnostic:
        return replace(self, position=position)


class Report(Exception):
    """Ends a command with findings instead of a traceback; raised only where no result is possible.

    `texts` are the files that positions speak of, where there are any: with them findings are shown with their source.
    """

    def __init__(self, *diagnostics: Diagnostic, texts: Mapping[str, str] | None = None) -> None:
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in diagnostics))
        self.diagnostics: tuple[Diagnostic, ...] = diagnostics
        self.texts: Mapping[str, str] = texts or {}


def errors(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    return [d for d in diagnostics if d.severity is Severity.ERROR]
