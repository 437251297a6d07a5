"""A plan for a pull request's comment: a table, and folded details for each model, within a limit of characters.

Names and values come from manifests, so none is trusted: in running text every punctuation mark is a character
reference (CommonMark 0.31, section 2.5: those never make structure), details stand in fenced blocks whose fence is
longer than any run of backticks inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aifctl.plan.change import Action, ChangeSet
from aifctl.plan.quoting import printable
from aifctl.plan.steps import RunChange
from aifctl.plan.views import text as terminal
from aifctl.plan.views.summary import Group, counted, groups, summary

LIMIT = 65_536
"""Characters GitHub takes for a comment."""
LEAST = 500
WIDTH = 1_000
"""Lines are not broken: a code block scrolls."""
TABLE_SHARE = 0.3
"""Of the limit that the table may fill."""
SHORT_NAME = 80
MARKS = {"+": "+", "-": "-", "~": "!", "±": "!"}
MARK_COLUMNS = {4: 0, 8: 4, 12: 10}
"""Where the terminal's view has the marks of objects, fields and lines → blanks between mark and rest here."""
COLUMNS = ("environment", "model", "create", "change", "delete", "steps that run again")
_PUNCTUATION = re.compile(r"[^A-Za-z0-9 /\u00a1-\U0010ffff-]")


def markdown(changes: ChangeSet, runs: Sequence[RunChange] = (), *, limit: int = LIMIT) -> str:
    """GitHub-flavoured Markdown of at most `limit` characters, whatever does not fit counted. Limit ≥ 500."""
    if limit < LEAST:
        raise ValueError(f"a limit of {limit} characters is too small, the least is {LEAST}")
    found = groups(changes, runs)
    head = f"### aifctl plan\n\n{_escaped(summary(changes, runs).removeprefix('plan: '), LEAST // 3)}\n"
    if not found:
        return head
    table = _bounded(_table(found), int((limit - len(head)) * TABLE_SHARE), "row")
    room = limit - len(head) - len(table) - 2
    return f"{head}\n{table}{_details(found, room)}"


def _table(found: Sequence[Group]) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}\n"
    for group in found:
        counts = {action: sum(change.action is action for change in group.changes) for action in Action}
        changed = counts[Action.CHANGE] + counts[Action.REPLACE]
        numbers = (counts[Action.CREATE], changed, counts[Action.DELETE])
        steps = ", ".join(map(_code, (group.run.runs if group.run else ())[:5]))
        rest = len(group.run.runs) - 5 if group.run else 0
        names = (_code(group.environment or "-"), _code(group.model or "-"))
        yield f"| {' | '.join([*names, *map(str, numbers), steps + (f' and {rest} more' if rest > 0 else '')])} |\n"


def _details(found: Sequence[Group], room: int) -> str:
    return _bounded((_detail(group, room) for group in found), room, "model")


def _detail(group: Group, room: int) -> str:
    """One folded block; a group too large for all the room shows its first lines."""
    name = " / ".join(_code(part) for part in (group.environment, group.model) if part) or "no model"
    count = counted(sum(change.action is not Action.UNCHANGED for change in group.changes), "change")
    head = f"\n<details><summary>{name}: {count}</summary>\n\n"
    lines = [_diff_line(line) for line in terminal.group_lines(group, WIDTH)]
    return f"{head}{fenced(lines, room - len(head) - len(_TAIL) - 60)}{_TAIL}"


_TAIL = "\n</details>\n"


def fenced(lines: Sequence[str], room: int) -> str:
    """A block whose fence no line can close, cut to about `room` characters."""
    runs = [len(run) for line in lines for run in re.findall("`+", line)]
    fence = "`" * max(3, max(runs, default=0) + 1)
    shown = _bounded((f"{line}\n" for line in lines), max(room - 2 * len(fence) - 8, 0), "line")
    return f"{fence}diff\n{shown}{fence}\n"


def _diff_line(line: str) -> str:
    """The terminal's line with its mark in the first column, where GitHub colours it."""
    for column, spaces in MARK_COLUMNS.items():
        mark = MARKS.get(line[column : column + 1])
        if mark and not line[:column].strip():
            return f"{mark}{' ' * spaces}{line[column + 1 :]}"
    return f"  {line[4:]}"


def _bounded(pieces: Iterator[str], room: int, noun: str) -> str:
    """As many whole pieces as fit, and how many more there are."""
    everything = list(pieces)
    size, kept = 0, 0
    for piece in everything:
        if size + len(piece) > room:
            break
        size, kept = size + len(piece), kept + 1
    if kept == len(everything):
        return "".join(everything)
    note = f"\n… and {counted(len(everything) - kept, f'more {noun}')}\n"
    while kept and size + len(note) > room:
        kept -= 1
        size -= len(everything[kept])
        note = f"\n… and {counted(len(everything) - kept, f'more {noun}')}\n"
    return "".join(everything[:kept]) + note


def _code(text: str) -> str:
    return f"<code>{_escaped(text, SHORT_NAME)}</code>"


def _escaped(text: str, most: int) -> str:
    shown = printable(text)
    shown = shown if len(shown) <= most else shown[: most - 1] + "…"
    return _PUNCTUATION.sub(lambda match: f"&#{ord(match.group())};", shown)
