"""docs/reference: what is committed is what the program says of itself, and nothing of it is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aifctl.cli import COMMANDS
from aifctl.diagnostics.codes import CODES
from aifctl.spec import json_schema
from docs import generate

ROOT = Path(__file__).resolve().parents[1]
FILES = generate.files()


def classes(kind: str) -> dict[str, Mapping[str, Any]]:
    """Name → schema of all objects with fields."""
    schema = json_schema.schema(kind)
    found = {**schema.get("$defs", {}), schema["title"]: schema}
    return {name: value for name, value in found.items() if "properties" in value}


def rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_what_is_committed_is_what_is_generated(path: Path) -> None:
    assert (ROOT / path).read_text("utf-8") == FILES[path], "run `make docs`"


def test_no_file_of_old(tmp_path: Path) -> None:
    assert {path.name for path in (ROOT / "docs/reference").iterdir()} == {
        path.name for path in FILES if path.parent.name == "reference"
    }


@pytest.mark.parametrize("kind", json_schema.KINDS)
def test_every_field_is_told_with_type_and_words(kind: str) -> None:
    expected = sorted(f"`{name}`" for schema in classes(kind).values() for name in schema["properties"])
    found = list(rows(FILES[Path(f"docs/reference/{kind}.md")]))
    assert sorted(row[0] for row in found if len(row) == 5) == expected
    assert [row[0] for row in found if len(row) == 5 and not (row[1] and row[3])] == []


def test_defaults_units_and_allowed_values_are_told() -> None:
    text = "".join(FILES[Path(f"docs/reference/{kind}.md")] for kind in ("model", "platform"))
    told = {row[0]: row for row in rows(text) if len(row) == 5 and row[0] in ("`memory`", "`epochs`", "`timeout`")}
    assert told["`timeout`"][1:3] == ["duration", "`10m`"]  # the platform's comes last
    assert told["`epochs`"][1:3] == ["whole number ≥ 1, ≤ 1 000 000", "`1`"]
    assert "| `memory` | size | `1Gi` |" in text
    assert "| `roles` | list (≥ 1) of `train`, `serve` | `[train, serve]` |" in text
    assert "| `pod_security` | `privileged`, `baseline`, `restricted` | `restricted` |" in text


@pytest.mark.parametrize("name", generate.TYPES)
def test_a_word_of_its_own_tells_the_types_limits(name: str) -> None:
    schema, meaning = generate._schemas()[name], generate.MEANINGS[name]
    most = schema.get("maxLength")
    assert most is None or most >= 200 or f"at most {most} " in meaning
    units = re.findall(r"[A-Za-z]+", schema.get("pattern", "").partition("(")[2].rpartition("(")[2])
    assert name not in ("Duration", "Size") or (units and all(f"`{unit}`" in meaning for unit in units))


def test_every_command_and_option_is_told() -> None:
    text = FILES[Path("docs/reference/commands.md")]
    assert re.findall(r"^## aifctl (\w+)$", text, re.MULTILINE) == list(COMMANDS)
    plan = text.partition("\n## aifctl plan\n")[2].partition("\n## ")[0]
    assert "| `--against` | text | `tree` |" in plan
    assert "| `--env`, `-e` | text |  |" in plan
    undescribed = [row for row in rows(text) if len(row) == 4 and row[0].startswith("`-") and not row[3]]
    assert undescribed == []


def test_every_code_is_told_and_its_page_is_there() -> None:
    text = FILES[Path("docs/reference/diagnostics.md")]
    assert re.findall(r"^\| \[(AIF\d+)\]", text, re.MULTILINE) == list(CODES)
    assert all(row.rstrip("| ").count("|") >= 3 for row in text.splitlines() if row.startswith("| [AIF"))


def test_links_and_anchors_lead_somewhere() -> None:
    broken = []
    for path, text in FILES.items():
        prose = re.sub(r"`[^`]*`", "", text)
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", prose):
            page = (ROOT / path.parent / target).resolve() if target else ROOT / path
            if not page.exists():
                broken.append(f"{path}: {target}")
            elif anchor:
                headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
                if anchor not in map(generate._anchor, headings):
                    broken.append(f"{path}: {target}#{anchor}")
    assert broken == []


def test_a_field_of_each_form() -> None:
    words = {"description": "a | b <c>", "examples": [[1, 2]]}
    schema = {
        "title": "Top",
        "properties": {
            "any": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Inner"}},
            "few": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}, **words},
            "named": {"type": "object", "patternProperties": {"^a$": {"type": "string"}}},
            "pair": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]},
            "some": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
            "scale": {"anyOf": [{"type": "number"}, {"type": "integer"}, {"type": "string"}]},
        },
        "required": ["few"],
        "$defs": {"Inner": {"properties": {"deep": {"enum": ["a", 1]}}}},
    }
    book = generate.Book(schema)
    places = [path for path, _ in book.objects("", schema)]
    assert places == ["", "any.*"]
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert {name: book.type_of(value) for name, value in properties.items()} == {
        "any": "mapping to [any.*](#any)",
        "few": "list (≥ 1) of whole number ≥ 1",
        "named": "mapping to text",
        "pair": "[number, text]",
        "some": "true, false",
        "scale": "number or text",
    }
    assert book.row("", schema, "few", properties["few"]) == (
        "| `few` | list (≥ 1) of whole number ≥ 1 | required | a \\| b &lt;c> | `[1, 2]` |"
    )


def test_a_mark_without_its_end_is_refused() -> None:
    mark = generate.START.format("700-701")
    assert "[AIF701]" in generate.troubleshooting(f"a\n{mark}\nold\n{generate.END}\nb")
    with pytest.raises(ValueError, match="has no end"):
        generate.troubleshooting(f"{mark}\n")


def test_check_says_what_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "files", lambda: {Path("docs/a.md"): "new\n"})
    assert generate.main(["--check"]) == 1
    assert not (tmp_path / "docs").exists()
    assert generate.main([]) == 0
    assert (tmp_path / "docs/a.md").read_text() == "new\n"
    capsys.readouterr()
    assert generate.main(["--check"]) == 0
    assert capsys.readouterr().out == "up to date\n"
