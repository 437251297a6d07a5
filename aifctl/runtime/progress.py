"""What a run shows while it goes: a live table on a terminal, else a line a change, or nothing. The only user of rich.

A view shows a `Board`; the executor changes rows and calls `changed` at each change of state, `tick` a few times a
second, `note` for what belongs to no step. A view is a context manager: leaving it restores the terminal.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self, TextIO, TypeGuard

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "retrying": "yellow",
    "done": "green",
    "cached": "green dim",
    "failed": "red bold",
    "skipped": "dim",
    "interrupted": "yellow",
}
"""States of a row and how a terminal shows them."""
SHOWN_METRICS = 3


@dataclass(slots=True)
class Row:
    """One step as people see it. `started` is time.monotonic()."""

    name: str
    state: str = "waiting"
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    note: str = ""
    started: float | None = None
    seconds: float | None = None

    def enter(self, state: str, note: str = "") -> None:
        if state == "running" != self.state:
            self.started, self.seconds = time.monotonic(), None
        self.state, self.note = state, note

    def take(self, event: Mapping[str, Any]) -> None:
        """Takes over what a step's event tells; unknown events and odd values are left out."""
        if event.get("event") == "metric":
            self.measure({event.get("name"): event.get("value")})
            if isinstance(event.get("step"), int):
                self.epoch = event["step"] + 1  # steps count from 0, people from 1
        elif event.get("event") == "resumed":
            self.note = "goes on from a checkpoint"

    def measure(self, metrics: Any) -> None:
        """Shows numbers of a mapping; of anything else nothing."""
        if isinstance(metrics, Mapping):
            self.metrics |= {str(name): float(value) for name, value in metrics.items() if name and is_number(value)}

    def elapsed(self) -> float | None:
        if self.seconds is not None:
            return self.seconds
        return None if self.started is None or self.state != "running" else time.monotonic() - self.started

    def details(self) -> str:
        parts = []
        if self.epoch is not None:
            parts.append(f"epoch {self.epoch}" if self.epochs is None else f"epoch {self.epoch}/{self.epochs}")
        parts += [f"{name} {value:.4g}" for name, value in list(self.metrics.items())[-SHOWN_METRICS:]]
        return "  ".join([*parts, self.note] if self.note else parts)


Board = dict[str, Row]
"""Rows by step name, in the order of the run."""


class View(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, board: Board) -> None:
        """The board from now on; rows change in place."""
        ...

    def changed(self, row: Row) -> None: ...
    def tick(self) -> None: ...
    def note(self, text: str) -> None: ...


class QuietView:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, board: Board) -> None:
        pass

    def changed(self, row: Row) -> None:
        pass

    def tick(self) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class PlainView(QuietView):
    """One line a change of state, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._width = 0

    def show(self, board: Board) -> None:
        self._width = max((len(name) for name in board), default=0)

    def changed(self, row: Row) -> None:
        elapsed = row.elapsed()
        took = "" if elapsed is None or row.state == "running" else f"{elapsed:.1f} s"
        self.note("  ".join(part for part in (row.name.ljust(self._width), row.state, took, row.details()) if part))

    def note(self, text: str) -> None:
        try:
            print(text, file=self._stream, flush=True)
        except OSError:
            # `aifctl run | head`, or the terminal is gone: that nobody reads is no reason to stop a training
            _silence(self._stream)


class LiveView:
    """A table that is drawn again in place, without a thread of its own."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._board: Board = {}
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._draw(self._live.stop)

    def show(self, board: Board) -> None:
        self._board = board
        self._draw(lambda: self._live.start(refresh=True))

    def changed(self, row: Row) -> None:
        self._draw(self._live.refresh)

    def tick(self) -> None:
        self._draw(self._live.refresh)

    def note(self, text: str) -> None:
        self._draw(lambda: self._console.print(text, markup=False, highlight=False))

    def _draw(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError:
            _silence(self._console.file)  # the terminal was closed; SIGHUP tells the executor

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("step", "state", "seconds", ""):
            table.add_column(title, justify="right" if title == "seconds" else "left", no_wrap=bool(title))
        for row in self._board.values():
            elapsed = row.elapsed()
            seconds = "" if elapsed is None else f"{elapsed:.1f}"
            # Text, not markup: a metric may be called anything.
            table.add_row(Text(row.name), Text(row.state, STYLES.get(row.state, "")), seconds, Text(row.details()))
        return table


def view(stream: TextIO | None = None, *, quiet: bool = False) -> View:
    """The view that fits `stream` (stdout by default): live on a terminal, plain elsewhere and on a dumb terminal."""
    stream = sys.stdout if stream is None else stream
    if quiet:
        return QuietView()
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return PlainView(stream)
    from rich.console import Console

    return LiveView(Console(file=stream))


def _silence(stream: IO[str]) -> None:
    """Sends what is still to come, and what is buffered, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
