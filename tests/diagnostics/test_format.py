"""What people and tools read: text with its source, JSON, GitHub annotations, SARIF."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl.diagnostics import Diagnostic, Position, Severity, Where
from aifctl.diagnostics import format as formats

FILE = "models/digits/model.yaml"


def at(line: int, column: int, end_line: int, end_column: int, **more: object) -> Diagnostic:
    position = Position(FILE, line, column, end_line, end_column)
    return Diagnostic("AIF301", "wrong", position=position, **more)  # type: ignore[arg-type]


def shown(text: str, diagnostic: Diagnostic) -> str:
    """The block of one finding, without the counting line."""
    return formats.text([diagnostic], {FILE: text}).rpartition("\n\n")[0]


def test_as_the_design_shows_it() -> None:
    text = "\n" * 13 + "  hardware: {accelerator: nvidia-h100, per_node: 16}\n"
    hint = "the catalogue offers 1, 2, 4 or 8; use `per_node: 8, nodes: 2`"
    message = "accelerator `nvidia-h100` has no flavour with 16 devices a node"
    found = Diagnostic("AIF301", message, hint, position=Position(FILE, 14, 50, 14, 52))
    assert formats.text([found], {FILE: text}) == (
        f"models/digits/model.yaml:14:50: error[AIF301]: {message}\n"
        "   |\n"
        "14 |   hardware: {accelerator: nvidia-h100, per_node: 16}\n"
        "   |                                                  ^^\n"
        "   = hint: the catalogue offers 1, 2, 4 or 8; use `per_node: 8, nodes: 2`\n"
        "\n"
        "1 error\n"
    )


def test_findings_without_a_source_or_a_place() -> None:
    nowhere = Diagnostic("AIF114", "no model specs", "a spec has a kind")
    in_file = Diagnostic("AIF101", "can't be read", where=Where("a.yaml"), severity=Severity.WARNING)
    assert formats.text([nowhere, in_file], {}) == (
        "error[AIF114]: no model specs\n"
        "  = hint: a spec has a kind\n"
        "\n"
        "a.yaml: warning[AIF101]: can't be read\n"
        "\n"
        "1 error, 1 warning\n"
    )
    assert formats.text([], {}) == ""


def test_notes_keep_their_lines() -> None:
    found = Diagnostic("AIF818", "a gate failed", "look", notes=("row  label\n1    x\n2    y", "more"))
    assert formats.text([found], {}).splitlines()[1:6] == [
        "  = hint: look",
        "  = note: row  label",
        "          1    x",
        "          2    y",
        "  = note: more",
    ]


def test_a_span_over_several_lines_is_underlined_line_by_line() -> None:
    text = "hardware: {\n  accelerator: x,\n\n  cpu: 1}\nnext: 1\n"
    assert shown(text, at(1, 11, 4, 10)).splitlines()[1:] == [
        "  |",
        "1 | hardware: {",
        "  |           ^",
        "2 |   accelerator: x,",
        "  |   ^^^^^^^^^^^^^^^",
        "4 |   cpu: 1}",
        "  |   ^^^^^^^",
    ]


def test_the_middle_of_a_long_span_is_left_out() -> None:
    text = "\n".join(f"line{n}" for n in range(1, 31))
    lines = shown(text, at(1, 1, 30, 7)).splitlines()
    assert lines[-3:] == ["   | …", "30 | line30", "   | ^^^^^^"]
    assert len(lines) == 2 + 2 * (formats.MAX_LINES - 2) + 1 + 2


def test_a_span_to_the_start_of_the_next_line_stays_in_its_own() -> None:
    assert shown("a: |\n  x\nb: 1\n", at(1, 4, 3, 1)).splitlines()[-2:] == ["2 |   x", "  |   ^"]


@pytest.mark.parametrize(
    ("line", "column", "caret_column"),
    [("\ta: 1", 2, 4), ("a\tb: 1", 3, 4), ("名前: 値", 5, 6), ("é: 1", 4, 3), ("e\u0301: 1", 5, 3)],
)
def test_carets_stand_below_what_they_mean(line: str, column: int, caret_column: int) -> None:
    *_, _, carets = shown(line, at(1, column, 1, column + 1)).splitlines()
    assert carets.removeprefix("  | ").index("^") == caret_column


def test_wide_text_gets_wide_carets() -> None:
    *_, carets = shown("a: 値値", at(1, 4, 1, 6)).splitlines()
    assert carets == "  |    ^^^^"


def test_a_span_at_the_end_of_a_line_still_has_a_caret() -> None:
    *_, carets = shown("a:", at(1, 3, 1, 3)).splitlines()
    assert carets == "  |   ^"


@given(st.text(alphabet=st.sampled_from("ab値\t é{}:"), min_size=1, max_size=400), st.data())
@settings(max_examples=300)
def test_of_a_long_line_the_span_is_shown(line: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(line) - 1))
    end = data.draw(st.integers(start + 1, min(start + 30, len(line))))
    source, carets = shown(line, at(1, start + 1, 1, end + 1)).splitlines()[2:4]
    source, carets = source.removeprefix("1 |").removeprefix(" "), carets.removeprefix("  | ")
    assert _width(source) <= formats.WIDTH + 1
    here = _between(source, carets.index("^"), len(carets))
    wanted = line[start:end].expandtabs(4) if "\t" not in line else None
    if wanted is not None and wanted.strip() and not wanted.endswith((" ", "\t")):
        assert here == wanted


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _between(text: str, first: int, last: int) -> str:
    column, result = 0, ""
    for character in text:
        if first <= column < last:
            result += character
        column += _width(character)
    return result


def test_specs_can_not_steer_the_terminal() -> None:
    found = at(1, 1, 1, 5)
    evil = "a: \x1b[31mred\x07\u202e"
    text = formats.text([Diagnostic("AIF205", f"found `{evil}`", position=found.position)], {FILE: evil})
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text


def test_colours_change_nothing_but_colours() -> None:
    found = at(1, 1, 1, 2, hint="do this")
    plain, coloured = (formats.text([found], {FILE: "a: 1"}, color=color) for color in (False, True))
    assert "\x1b[" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain


def test_a_position_beyond_the_text_is_shown_without_source() -> None:
    assert shown("a: 1", at(9, 1, 9, 2)) == f"{FILE}:9:1: error[AIF301]: wrong"


def test_summary_counts() -> None:
    warning = at(1, 1, 1, 2, severity=Severity.WARNING)
    assert formats.summary([at(1, 1, 1, 2)] * 2 + [warning]) == "2 errors, 1 warning"
    assert formats.summary([warning] * 2) == "2 warnings"


def test_json_is_one_versioned_object() -> None:
    found = Diagnostic("AIF301", "wrong ü", "hint", Where(FILE, ("spec", "export", 0)), Position(FILE, 1, 2, 1, 4))
    data = json.loads(formats.as_json([found, Diagnostic("AIF114", "nothing", severity=Severity.WARNING)]))
    assert (data["version"], data["summary"]) == (1, {"errors": 1, "warnings": 1})
    assert data["diagnostics"][0] == {
        "code": "AIF301",
        "title": "an accelerator is not offered in this count",
        "severity": "error",
        "message": "wrong ü",
        "hint": "hint",
        "notes": [],
        "file": FILE,
        "line": 1,
        "column": 2,
        "end_line": 1,
        "end_column": 4,
        "path": ["spec", "export", 0],
    }
    assert data["diagnostics"][1]["file"] is None
    assert json.loads(formats.as_json([]))["diagnostics"] == []


def test_github_annotations_are_escaped() -> None:
    position = Position("a,b:c%.yaml", 3, 5, 3, 9)
    found = Diagnostic("AIF301", "100 %: no\r\nway", "use, this", position=position)
    assert formats.github([found]) == (
        "::error file=a%2Cb%3Ac%25.yaml,line=3,endLine=3,col=5,endColumn=9,title=AIF301"
        "::100 %25: no%0D%0Away%0Ahint: use, this\n"
    )


def test_github_annotations_without_a_place_and_over_lines() -> None:
    several = at(1, 3, 4, 2, severity=Severity.WARNING)
    assert formats.github([Diagnostic("AIF114", "x"), several]).splitlines() == [
        "::error title=AIF114::x",
        f"::warning file={FILE},line=1,endLine=4,title=AIF301::wrong",
    ]


def test_sarif_names_every_rule_once() -> None:
    data = json.loads(formats.sarif([at(1, 2, 1, 3), at(2, 2, 2, 3), Diagnostic("AIF114", "x")]))
    (run,) = data["runs"]
    assert data["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["AIF114", "AIF301"]
    location = run["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"] == {"uri": FILE}
    assert location["region"] == {"startLine": 1, "startColumn": 2, "endLine": 1, "endColumn": 3}
    assert "locations" not in run["results"][2]
