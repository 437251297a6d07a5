"""How commands talk: findings to stderr (or, as data, to stdout), results to stdout, colours only on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Any

from aifctl.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from aifctl.cluster.outcome import Event
    from aifctl.delivery.planning import Planned


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


def plan(planned: Planned, form: View) -> None:
    """A plan to stdout: text in the terminal's width, or as data."""
    shown = planned.view(form, colored(sys.stdout), width())
    print(shown, end="") if form is View.TEXT else data(shown)


def width() -> int:
    """Columns of the terminal; 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


class Progress:
    """What an apply does, as it happens: a line an object, and on a terminal the models that are waited for."""

    def __init__(self, stream: IO[str], *, quiet: bool) -> None:
        self.stream, self.quiet = stream, quiet
        self.live = stream.isatty() and not quiet
        self.waiting: dict[str, None] = {}

    def tell(self, event: Event) -> None:
        if self.quiet:
            return
        name = str(event.unit)
        if event.what == "waiting":
            self.waiting[name] = None
        elif event.what == "healthy":
            self.waiting.pop(name, None)
        if event.identity is not None:
            self._line(f"{event.what:>8} {event.identity}")
        elif event.what == "healthy":
            self._line(f"{event.what:>8} {name}")
        if self.live and self.waiting:
            print(f"\r\x1b[K waiting for {', '.join(list(self.waiting)[:3])}", end="", file=self.stream, flush=True)

    def end(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=self.stream, flush=True)

    def _line(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self.live else text, file=self.stream)


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
