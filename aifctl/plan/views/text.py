"""A plan for the terminal: grouped by environment and model, a line a changed field, and a summary at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from aifctl.plan.change import Action, Change, ChangeSet, FieldChange, Op
from aifctl.plan.quoting import printable
from aifctl.plan.steps import RunChange, Status, StepChange, why
from aifctl.plan.views.summary import Group, groups, summary
from aifctl.plan.views.values import SIGNS, field_text, hunks, is_text_block, sides

MARKS = {Action.CREATE: "+", Action.CHANGE: "~", Action.REPLACE: "±", Action.DELETE: "-", Action.UNCHANGED: "="}
COLOURS = {"+": "32", "-": "31", "~": "33", "±": "35", "=": "2", "@": "36", "bold": "1"}
"""ANSI: green, red, yellow, magenta, faint, cyan."""
STATUS_COLOURS = {Status.AGAIN: "~", Status.NEW: "+", Status.GONE: "-", Status.UNKNOWN: "@", Status.KEPT: "="}
OBVIOUS = frozenset({"new", "no longer rendered", "no longer wanted"})
"""Reasons that a mark tells as well."""
NARROWEST = 30
LONGEST = 60
"""Characters of a value on a line of a wide terminal."""


def text(changes: ChangeSet, runs: Sequence[RunChange] = (), *, colour: bool = False, width: int = 100) -> str:
    """The whole plan, ending in a line break. `width` is the terminal's; lines are broken to it where they can be."""
    paint = _painted if colour else _plain
    lines: list[str] = []
    for environment, found in groupby(groups(changes, runs), key=lambda group: group.environment):
        lines.append(paint("bold", printable(environment) or "(no environment)"))
        for group in found:
            lines += _group(group, max(width, NARROWEST), paint)
        lines.append("")
    return "\n".join([*lines, paint("bold", summary(changes, runs)), ""])


def group_lines(group: Group, width: int) -> list[str]:
    """The lines of one model, without its title and without colours."""
    return list(_content(group, width, _plain))


def _group(group: Group, width: int, paint: _Paint) -> Iterator[str]:
    yield "  " + paint("bold", group.title)
    yield from _content(group, width, paint)


def _content(group: Group, width: int, paint: _Paint) -> Iterator[str]:
    for change in group.changes:
        yield from _change(change, width, paint)
    if group.run is not None:
        yield from _steps(group.run, paint)


def _change(change: Change, width: int, paint: _Paint) -> Iterator[str]:
    mark = MARKS[change.action]
    reason = f": {printable(change.reason)}" if _tells(change) else ""
    yield paint(mark, f"    {mark} {printable(str(change.identity))}{reason}")
    for field in change.fields:
        if field.path:
            yield from _field(field, width, paint)


def _tells(change: Change) -> bool:
    """Whether the reason says more than the mark does."""
    return bool(change.reason) and not (change.reason in OBVIOUS and change.fields)


def _field(field: FieldChange, width: int, paint: _Paint) -> Iterator[str]:
    sign = SIGNS[field.op]
    if is_text_block(field):
        yield from _wrapped(f"        {sign} {field.shown_path}:", width, sign, paint)
        for line in hunks(field.before, field.after):
            yield paint(line[0] if line and line[0] in "+-@" else "", f"            {line}")
        return
    line = f"        {sign} {field_text(field, LONGEST)}"
    if len(line) <= width:
        yield paint(sign, line)
        return
    yield from _wrapped(f"        {sign} {field.shown_path}:", width, sign, paint)
    room = max(width - 14, 16)
    before, after = sides(field, max(room, LONGEST) if width > LONGEST else room)
    if field.op is not Op.ADD:
        yield paint("-", f"            - {before}")
    if field.op is not Op.REMOVE:
        yield paint("+", f"            + {after}")


def _wrapped(line: str, width: int, sign: str, paint: _Paint) -> Iterator[str]:
    """A long path, broken before a point or a bracket."""
    while len(line) > width:
        cut = max(line.rfind(".", 12, width), line.rfind("[", 12, width))
        if cut <= 12:
            break
        yield paint(sign, line[:cut])
        line = f"            {line[cut:]}"
    yield paint(sign, line)


def _steps(run: RunChange, paint: _Paint) -> Iterator[str]:
    if not run.steps:
        return
    if not run.moves:
        yield paint("=", f"      steps of {printable(run.run)}: all kept, none runs again")
        return
    yield f"      steps of {printable(run.run or run.before)}"
    longest = max(len(printable(step.name)) for step in run.steps)
    for step in run.steps:
        yield _step(step, longest, paint)


def _step(step: StepChange, longest: int, paint: _Paint) -> str:
    return paint(STATUS_COLOURS[step.status], f"        {printable(step.name):<{longest}}  {why(step)}")


class _Paint:
    """Colours a line, or leaves it."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def __call__(self, role: str, line: str) -> str:
        return f"\x1b[{COLOURS[role]}m{line}\x1b[0m" if self.on and role in COLOURS else line


_painted, _plain = _Paint(on=True), _Paint(on=False)
