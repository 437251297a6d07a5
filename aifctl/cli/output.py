"""How commands talk: findings to stderr (or, as data, to stdout), results to stdout, colours only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import IO, Any

from aifctl.diagnostics import Diagnostic, Severity


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


def show(diagnostics: Sequence[Diagnostic], texts: Mapping[str, str], form: Format = Format.TEXT) -> None:
    """Prints findings: text to stderr, formats for machines to stdout (JSON and SARIF also where there is nothing)."""
    from aifctl.diagnostics import format as formats

    if form is Format.JSON:
        print(formats.as_json(diagnostics))
    elif form is Format.SARIF:
        print(formats.sarif(diagnostics))
    elif form is Format.GITHUB:
        print(formats.github(diagnostics), end="")
    elif diagnostics:
        print(formats.text(diagnostics, texts, color=colored(sys.stderr)), file=sys.stderr, end="")


def failed(diagnostics: Sequence[Diagnostic]) -> bool:
    return any(d.severity is Severity.ERROR for d in diagnostics)


def colored(stream: IO[str]) -> bool:
    """Whether to colour: a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=False, ensure_ascii=False))
