"""Tables for people, by rich: as wide as the terminal, in colours where there are any.

A table has a line a row; what needs more words stands below it, indented.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aifctl.cli import output
from aifctl.cluster.health import Health, State
from aifctl.cluster.inventory import Inventory, Revision
from aifctl.cluster.standing import Standing, Sync, age
from aifctl.delivery.status import Status

GOOD, BUSY, BAD, QUIET = "green", "yellow", "red", "dim"
STATES = {
    State.HEALTHY: GOOD,
    State.SUSPENDED: QUIET,
    State.QUEUED: BUSY,
    State.PROGRESSING: BUSY,
    State.PENDING: BUSY,
    State.TERMINATING: BUSY,
    State.FAILED: BAD,
    State.MISSING: BAD,
}
SYNCS = {
    Sync.SYNCED: GOOD,
    Sync.UNKNOWN: GOOD,
    Sync.SUSPENDED: QUIET,
    Sync.FAILED: BAD,
    Sync.HELD: BAD,
    Sync.BROKEN: BAD,
}
OUTCOMES = {"applied": GOOD, "rolled-back": BUSY, "failed": BAD}


UNBROKEN = 10_000
"""Columns where nobody's terminal says how many there are: a script's lines are not folded."""
NARROW = 100
"""Columns below which a table leaves out what can be guessed: of a run the name of its model, of a sick object that
it is not healthy."""
CUT = frozenset({"MODEL", "HEALTH", "RUN", "SERVING", "BY"})
"""Columns whose cells may be cut."""
MOST = 5
"""Objects told of one model; how many more there are is said."""


class Line(NamedTuple):
    """Below a table."""

    depth: int
    text: str
    style: str = ""


def show(table: RenderableType) -> None:
    if sys.stdout.isatty():
        _console().print(table)
        return
    text = StringIO()  # without the blanks that fill a table's cells
    Console(file=text, width=UNBROKEN, highlight=False, color_system=None).print(table)
    print("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def live() -> Live:
    """Draws over what it drew before; a table that is higher than the terminal is cut."""
    return Live(console=_console(), auto_refresh=False, screen=False, vertical_overflow="ellipsis")


def columns() -> int:
    return output.width() if sys.stdout.isatty() else UNBROKEN


def status(found: Status, width: int = UNBROKEN) -> RenderableType:
    """`width`: columns that there are."""
    if not found.standings:
        return Text(f"{found.environment}: nothing is applied here yet")
    environment = "ENVIRONMENT" if width >= NARROW else "ENV"
    table = _table("MODEL", environment, "SYNC", "HEALTH", "RUN", "SERVING", "SINCE")
    for each in found.standings:
        table.add_row(*_cells(each, width))
    return Group(table, *_below([line for each in found.standings for line in _explained(each, found)]))


def history(inventory: Inventory) -> RenderableType:
    if not inventory.revisions:
        return Text(f"{inventory.unit}: no revisions yet")
    table = _table("REVISION", "OUTCOME", "COMMIT", "TREE", "AT", "BY")
    for each in reversed(inventory.revisions):
        held = " (held)" if each.tree == inventory.held else ""
        outcome = _cell(each.outcome + held, OUTCOMES.get(each.outcome, ""))
        commit = _cell(each.commit[:10]) if each.commit else _cell("uncommitted", QUIET)
        table.add_row(str(each.number), outcome, commit, each.tree[:10], each.at, _cell(each.by))
    return Group(table, *_below([line for each in reversed(inventory.revisions) for line in _told(each, inventory)]))


def _console() -> Console:
    return Console(highlight=False, color_system="auto" if output.colored(sys.stdout) else None)


def _table(*names: str) -> Table:
    """Where the terminal is too narrow, the widest of the columns that may be cut are."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(Text(name, no_wrap=True, overflow="ellipsis"), no_wrap=name not in CUT)
    return table


def _cell(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _below(lines: Sequence[Line]) -> Iterator[RenderableType]:
    """An empty line, then these, broken where they must be without losing their indent."""
    if lines:
        yield Text()
    for each in lines:
        yield Padding(Text(each.text, style=each.style), (0, 0, 0, 2 * each.depth), expand=False)


def _cells(each: Standing, width: int) -> Iterator[Text]:
    run = (
        f"{_short(each.run, each, width)} {each.run_health.phase or each.run_health.state}" if each.run_health else "-"
    )
    health = _said(each.health) if width >= NARROW else _said(each.health).split()[-1]
    yield _cell(each.unit.model or "(platform)", "bold")
    yield _cell(each.unit.environment)
    yield _cell(str(each.sync), SYNCS.get(each.sync, BUSY))
    yield _cell(health, STATES[each.health.state] if each.sync is not Sync.NEW else QUIET)
    yield _cell(run, STATES[each.run_health.state] if each.run_health else QUIET)
    yield _cell(_short(each.serving, each, width) or "-", "" if each.serving else QUIET)
    yield _cell(age(each.since) or "-")


def _said(health: Health) -> str:
    """`healthy`, `progressing ImagePullBackOff`."""
    plain = health.state in (State.HEALTHY, State.SUSPENDED) or health.phase.lower() in ("", health.state)
    return str(health.state) if plain else f"{health.state} {health.phase}"


def _short(run: str, each: Standing, width: int) -> str:
    return run.removeprefix(f"{each.unit.model}-") if width < NARROW else run


def _explained(each: Standing, found: Status) -> Iterator[Line]:
    """What is wrong with a model."""
    lines = list(_of_unit(each, found))
    if lines:
        yield Line(0, each.unit.model or "(platform)", "bold")
    yield from lines


def _of_unit(each: Standing, found: Status) -> Iterator[Line]:
    if each.note:
        yield Line(1, f"{each.sync}: {each.note}", SYNCS.get(each.sync, BUSY))
    if each.sync is Sync.DRIFTED:  # its note has the first one
        yield from _some([Line(1, f"drifted: {identity}", BUSY) for identity in each.drifted[1:]])
    else:
        yield from _some([Line(1, f"drifted: {identity}", BUSY) for identity in each.drifted])
    if each.sync is Sync.NEW:
        return
    if each.run_health is not None and each.run_health.state is State.FAILED:
        yield Line(1, f"run {each.run}: {_said(each.run_health)}: {each.run_health.message}", STATES[State.FAILED])
    for one in each.ailing[:MOST]:
        message = f": {one.health.message}" if one.health.message else ""
        yield Line(1, f"{one.identity}: {_said(one.health)}{message}", STATES[one.health.state])
        if one.identity in found.troubles:
            trouble, log = found.troubles[one.identity]
            yield Line(2, str(trouble))
            yield from (Line(2, f"| {line}", QUIET) for line in log)
    if len(each.ailing) > MOST:
        yield Line(1, f"and {len(each.ailing) - MOST} more", QUIET)


def _some(lines: list[Line]) -> Iterator[Line]:
    yield from lines[:MOST]
    if len(lines) > MOST:
        yield Line(1, f"and {len(lines) - MOST} more", QUIET)


def _told(revision: Revision, inventory: Inventory) -> Iterator[Line]:
    if revision.message:
        yield Line(0, f"{revision.number}: {revision.message}", OUTCOMES.get(revision.outcome, ""))
    elif revision.outcome == "rolled-back":
        before = [r.number for r in inventory.revisions if r.tree == revision.tree and r.number < revision.number]
        if before:
            yield Line(0, f"{revision.number}: revision {before[-1]} again", OUTCOMES[revision.outcome])
