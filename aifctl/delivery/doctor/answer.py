"""What a check says: `Answer`, and `Finding` once it is known which check said it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aifctl.diagnostics import Diagnostic, Severity


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Answer:
    """`code` and `hint` (what to do) are those of a diagnostic; without a code where nothing is wrong."""

    level: Level
    message: str
    code: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    section: str
    check: str
    answer: Answer


def good(message: str, hint: str = "") -> Answer:
    return Answer(Level.OK, message, "", hint)


def doubt(code: str, message: str, hint: str = "") -> Answer:
    return Answer(Level.WARNING, message, code, hint)


def wrong(code: str, message: str, hint: str = "") -> Answer:
    return Answer(Level.PROBLEM, message, code, hint)


def told(diagnostic: Diagnostic) -> Answer:
    """A diagnostic of another part of aifctl, as an answer."""
    level = Level.PROBLEM if diagnostic.severity is Severity.ERROR else Level.WARNING
    return Answer(level, diagnostic.message, diagnostic.code, diagnostic.hint or "")


def unknown(why: str, hint: str = "") -> Answer:
    """A check that could not be made."""
    return doubt("AIF790", f"can't be told: {why}", hint)
