"""How commands talk: findings to stderr (or, as data, to stdout), results to stdout, colours only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from io import TextIOWrapper
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


class View(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def show(diagnostics: Sequence[Diagnostic], texts: Mapping[str, str], form: Format = Format.TEXT) -> None:
    """Prints findings: text to stderr, formats for machines to stdout (JSON and SARIF also where there is nothing)."""
    from aifctl.diagnostics import format as formats

    if form is Format.JSON:
        data(formats.as_json(diagnostics) + "\n")
    elif form is Format.SARIF:
        data(formats.sarif(diagnostics) + "\n")
    elif form is Format.GITHUB:
        data(formats.github(diagnostics))
    elif diagnostics:
        print(formats.text(diagnostics, texts, color=colored(sys.stderr)), file=sys.stderr, end="")


def failed(diagnostics: Sequence[Diagnostic]) -> bool:
    return any(d.severity is Severity.ERROR for d in diagnostics)


def colored(stream: IO[str]) -> bool:
    """Whether to colour: a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


VERSION = "1.0"


def as_json(value: dict[str, Any]) -> None:
    """A result for scripts. The first number of its version moves when something is removed or changes its meaning."""
    data(json.dumps({"format_version": VERSION} | value, indent=2, ensure_ascii=False) + "\n")


def data(text: str) -> None:
    """Text for machines, always UTF-8: a locale must not change what the next program reads."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(errors="surrogateescape"))  # names of files may be any bytes
        sys.stdout.buffer.flush()
    else:
        print(text, end="")
