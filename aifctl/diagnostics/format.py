"""Diagnostics as text for people (with the source they speak of), JSON, GitHub annotations and SARIF. Does no I/O."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aifctl.diagnostics.codes import CODES
from aifctl.diagnostics.model import Diagnostic, Position, Severity

JSON_VERSION = 1
WIDTH = 120
"""Display columns of source shown of one line; of a longer one the part around the span."""
TAB = 4
MAX_LINES = 6
"""Lines shown of a span over many lines; its middle is left out."""

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_CODES = {"error": "1;31", "warning": "1;33", "frame": "1;34", "bold": "1"}
_LEFT_OUT = "…"
_DIRECTIONS = frozenset(map(chr, (0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def text(diagnostics: Sequence[Diagnostic], texts: Mapping[str, str], color: bool = False) -> str:
    """Every finding with its source line, then a line that counts them; "" when there are none.

    `texts` holds the sources by the file names that positions carry; a file that is not there is shown without source.
    """
    if not diagnostics:
        return ""
    sources = {file: _BREAK.split(content) for file, content in texts.items()}
    blocks = ["\n".join(_block(diagnostic, sources, _Paint(color))) for diagnostic in diagnostics]
    return "\n\n".join([*blocks, summary(diagnostics)]) + "\n"


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    counts = {severity: sum(d.severity is severity for d in diagnostics) for severity in Severity}
    said = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items() if count]
    return ", ".join(said) or "no findings"


def as_json(diagnostics: Sequence[Diagnostic]) -> str:
    """One object: {version, diagnostics: [{code, title, severity, message, hint, notes, file, line, …}], summary}."""
    counts = {f"{severity}s": sum(d.severity is severity for d in diagnostics) for severity in Severity}
    found = [_record(diagnostic) for diagnostic in diagnostics]
    return json.dumps({"version": JSON_VERSION, "diagnostics": found, "summary": counts}, indent=2, ensure_ascii=False)


def github(diagnostics: Sequence[Diagnostic]) -> str:
    """Workflow commands that GitHub Actions shows as annotations, one a line.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
    """
    return "".join(f"{_annotation(diagnostic)}\n" for diagnostic in diagnostics)


def sarif(diagnostics: Sequence[Diagnostic]) -> str:
    """A SARIF 2.1.0 log, as code-scanning services read it."""
    codes = sorted({diagnostic.code for diagnostic in diagnostics})
    rules = [{"id": code, "shortDescription": {"text": _title(code)}} for code in codes]
    run = {
        "tool": {"driver": {"name": "aifctl", "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(diagnostic) for diagnostic in diagnostics],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _title(code: str) -> str:
    return CODES[code].title if code in CODES else code


def _file(diagnostic: Diagnostic) -> str | None:
    if diagnostic.position is not None:
        return diagnostic.position.file
    return diagnostic.where.file if diagnostic.where is not None else None


def _record(diagnostic: Diagnostic) -> dict[str, Any]:
    position = diagnostic.position
    return {
        "code": diagnostic.code,
        "title": _title(diagnostic.code),
        "severity": str(diagnostic.severity),
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "notes": list(diagnostic.notes),
        "file": _file(diagnostic),
        "line": position.line if position else None,
        "column": position.column if position else None,
        "end_line": position.end_line if position else None,
        "end_column": position.end_column if position else None,
        "path": list(diagnostic.where.path) if diagnostic.where else [],
    }


def _annotation(diagnostic: Diagnostic) -> str:
    position, file = diagnostic.position, _file(diagnostic)
    properties: dict[str, str | int] = {"file": file} if file is not None else {}
    if position is not None:
        properties |= {"line": position.line, "endLine": position.end_line}
        if position.line == position.end_line:  # columns of several lines are refused
            properties |= {"col": position.column, "endColumn": position.end_column}
    properties["title"] = diagnostic.code
    listed = ",".join(f"{name}={_escape_property(str(value))}" for name, value in properties.items())
    return f"::{diagnostic.severity} {listed}::{_escape(_words(diagnostic))}"


def _words(diagnostic: Diagnostic) -> str:
    hint = f"hint: {diagnostic.hint}" if diagnostic.hint else None
    return "\n".join(part for part in (diagnostic.message, hint, *diagnostic.notes) if part is not None)


def _escape(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(value: str) -> str:
    return _escape(value).replace(":", "%3A").replace(",", "%2C")


def _result(diagnostic: Diagnostic) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "level": str(diagnostic.severity),
        "message": {"text": _words(diagnostic)},
    }
    file, position = _file(diagnostic), diagnostic.position
    if file is not None:
        physical: dict[str, Any] = {"artifactLocation": {"uri": file}}
        if position is not None:
            physical["region"] = {
                "startLine": position.line,
                "startColumn": position.column,
                "endLine": position.end_line,
                "endColumn": position.end_column,
            }
        result["locations"] = [{"physicalLocation": physical}]
    return result


class _Paint:
    """Colours for a terminal, or none."""

    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, style: str, words: str) -> str:
        return f"\x1b[{_CODES[style]}m{words}\x1b[0m" if self._color and words else words


def _block(diagnostic: Diagnostic, sources: Mapping[str, list[str]], paint: _Paint) -> Iterator[str]:
    position, severity = diagnostic.position, str(diagnostic.severity)
    file = _file(diagnostic)
    place = f"{file}:{position.line}:{position.column}" if position else file
    label = paint(severity, f"{severity}[{diagnostic.code}]")
    prefix = paint("bold", f"{printable(place)}: ") if place is not None else ""
    yield f"{prefix}{label}{paint('bold', f': {printable(diagnostic.message)}')}"
    shown = list(_shown(position, sources)) if position is not None else []
    gutter = max((len(number) for number, _, _ in shown), default=1)
    if shown:
        yield paint("frame", f"{' ' * gutter} |")
    for number, line, caret in shown:
        frame = paint("frame", f"{number:>{gutter}} |")
        yield f"{frame} {paint(severity, line) if caret else line}".rstrip()
    for kind, words in [("hint", diagnostic.hint), *(("note", note) for note in diagnostic.notes)]:
        if words is not None:
            yield from _attached(kind, words, gutter, paint)


def _attached(kind: str, words: str, gutter: int, paint: _Paint) -> Iterator[str]:
    first, *more = words.split("\n")
    yield f"{' ' * gutter} {paint('frame', '=')} {paint('bold', kind)}: {printable(first)}"
    for line in more:
        yield f"{' ' * (gutter + 5 + len(kind))}{printable(line)}".rstrip()


def _shown(position: Position, sources: Mapping[str, list[str]]) -> Iterator[tuple[str, str, bool]]:
    """(line number or "", text, whether it is carets) for the lines of a span."""
    lines = sources.get(position.file)
    if lines is None or position.line > len(lines):
        return
    spans = list(_spans(position, lines))
    cut = len(spans) > MAX_LINES
    for index, (number, start, end) in enumerate(spans):
        if cut and MAX_LINES - 2 <= index < len(spans) - 1:
            if index == MAX_LINES - 2:
                yield "", _LEFT_OUT, False
            continue
        line, carets = _underlined(lines[number - 1], start, end)
        yield str(number), line, False
        yield "", carets, True


def _spans(position: Position, lines: list[str]) -> Iterator[tuple[int, int, int]]:
    """(line, first column, column after the last) for every line of a span that has something in it; from 0."""
    last, end_column = position.end_line, position.end_column
    if last > len(lines):
        last, end_column = len(lines), len(lines[-1]) + 1
    for number in range(position.line, last + 1):
        line = lines[number - 1]
        start = position.column - 1 if number == position.line else len(line) - len(line.lstrip())
        end = end_column - 1 if number == last else len(line.rstrip())
        if number == position.line or end > start:
            yield number, min(start, len(line)), max(min(end, len(line)), start)


def _underlined(line: str, start: int, end: int) -> tuple[str, str]:
    """The line as shown, and carets below columns start to end (at least one)."""
    cells = _cells(line)
    before = sum(width for _, width in cells[:start])
    width = max(sum(width for _, width in cells[start:end]), 1)
    total = sum(width for _, width in cells)
    if total <= WIDTH:
        return "".join(shown for shown, _ in cells).rstrip(), " " * before + "^" * width
    first = max(0, min(before - WIDTH // 3, total - WIDTH))
    shown, at = _clipped(cells, first)
    return shown, " " * (before - at) + "^" * max(1, min(width, WIDTH - (before - at)))


def _clipped(cells: list[tuple[str, int]], first: int) -> tuple[str, int]:
    """WIDTH columns of a line from `first` on, marked where cut, and the column that its first cell stands at."""
    kept, column, start = [], 0, None
    for shown, width in cells:
        if first <= column and column + width <= first + WIDTH:
            start = column if start is None else start
            kept.append((shown, width))
        column += width
    if first > 0 and kept:
        kept[0] = (_LEFT_OUT.ljust(kept[0][1]), kept[0][1])
    words = "".join(shown for shown, _ in kept)
    return words + (_LEFT_OUT if column > first + WIDTH else ""), start or 0


def _cells(line: str) -> list[tuple[str, int]]:
    """(what is shown, its width in a terminal) of every character."""
    cells: list[tuple[str, int]] = []
    column = 0
    for character in line:
        shown, width = (" " * (TAB - column % TAB), TAB - column % TAB) if character == "\t" else _cell(character)
        cells.append((shown, width))
        column += width
    return cells


def _cell(character: str) -> tuple[str, int]:
    if _steers(character):
        return "\N{REPLACEMENT CHARACTER}", 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return character, 0
    return character, 2 if unicodedata.east_asian_width(character) in "WF" else 1


def printable(words: str) -> str:
    """Without control characters: what a spec says must not steer the terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(character) else character for character in words)


def _steers(character: str) -> bool:
    """Controls, line breaks, half characters, and what turns the direction of writing around."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS
