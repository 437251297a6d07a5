"""Tables for people, by rich: as wide as the terminal, in colours where there are any."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aifctl.cluster.health import State
from aifctl.cluster.inventory import Inventory
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


UNBROKEN = 240
"""Columns where nobody's terminal says how many there are: a script's lines are not folded."""


def show(table: RenderableType) -> None:
    _console().print(table)


def live() -> Live:
    return Live(console=_console(), auto_refresh=False, screen=False, vertical_overflow="visible")


def status(found: Status) -> RenderableType:
    if not found.standings:
        return Text(f"{found.environment}: nothing is applied here yet")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("MODEL", "ENVIRONMENT", "SYNC", "HEALTH", "RUN", "SERVING", "SINCE"):
        table.add_column(name, no_wrap=name not in ("RUN", "SERVING"), overflow="fold", min_width=len(name))
    for each in found.standings:
        table.add_row(*_cells(each))
    return Group(table, *(Text(line, style=style) for line, style in _explained(found)))


def history(inventory: Inventory) -> RenderableType:
    if not inventory.revisions:
        return Text(f"{inventory.unit}: no revisions yet")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("REVISION", "OUTCOME", "COMMIT", "TREE", "AT", "BY", "MESSAGE"):
        table.add_column(name, no_wrap=name != "MESSAGE", overflow="fold", min_width=len(name))
    for each in reversed(inventory.revisions):
        held = " (held)" if each.tree == inventory.held else ""
        outcome = Text(each.outcome + held, style=OUTCOMES.get(each.outcome, ""))
        commit = each.commit[:10] or "uncommitted"
        table.add_row(str(each.number), outcome, commit, each.tree[:10], each.at, escape(each.by), escape(each.message))
    return table


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNBROKEN)


def _cells(each: Standing) -> Iterator[Text]:
    phase = f" {each.health.phase}" if each.health.state not in (State.HEALTHY, State.SUSPENDED) else ""
    run = f"{each.run} {each.run_health.phase or each.run_health.state}" if each.run_health else "-"
    yield Text(each.unit.model or "(platform)", style="bold")
    yield Text(each.unit.environment)
    yield Text(str(each.sync), style=SYNCS.get(each.sync, BUSY))
    yield Text(f"{each.health.state}{phase}", style=STATES[each.health.state])
    yield Text(run, style=STATES[each.run_health.state] if each.run_health else QUIET)
    yield Text(each.serving or "-", style="" if each.serving else QUIET)
    yield Text(age(each.since) or "-")


def _explained(found: Status) -> Iterator[tuple[str, str]]:
    """Below the table: what is wrong with whom."""
    for each in found.standings:
        name = each.unit.model or "(platform)"
        lines = list(_of_unit(each, found))
        if lines:
            yield f"\n{name}", "bold"
        yield from lines


def _of_unit(each: Standing, found: Status) -> Iterator[tuple[str, str]]:
    if each.note:
        yield f"  {each.sync}: {each.note}", SYNCS.get(each.sync, BUSY)
    for identity in each.drifted[:5]:
        yield f"  drifted: {identity}", BUSY
    if each.sync is Sync.NEW:
        return
    for one in each.ailing[:5]:
        said = f"  {one.identity}: {one.health.state}, {one.health.phase}"
        yield f"{said}: {one.health.message}" if one.health.message else said, STATES[one.health.state]
        if one.identity in found.troubles:
            trouble, log = found.troubles[one.identity]
            yield f"    {trouble}", ""
            yield from _log(log)


def _log(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((f"    | {line}", QUIET) for line in lines)
