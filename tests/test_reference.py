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


def test_the_models_words_come_first_and_none_is_left_over() -> None:
    """A field that has learned to describe itself must lose its note, so that there is one text of each."""
    silent = {
        f"{title}.{name}"
        for kind in json_schema.KINDS
        for title, schema in classes(kind).items()
        for name, value in schema["properties"].items()
        if not value.get("description")
    }
    assert set(generate.notes()) == silent


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
    schema = {
        "title": "Top",
        "properties": {
            "any": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Inner"}},
            "few": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            "named": {"type": "object", "patternProperties": {"^a$": {"type": "string"}}},
            "pair": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]},
            "some": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
        },
        "required": ["few"],
        "$defs": {"Inner": {"properties": {"deep": {"enum": ["a", 1]}}}},
    }
    book = generate.Book(schema, {"Top.few": "a | b <c>"})
    places = [path for path, _ in book.objects("", schema)]
    assert places == ["", "any.*"]
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert {name: book.type_of(value) for name, value in properties.items()} == {
        "any": "mapping to [any.*](#any)",
        "few": "list of whole number ≥ 1",
        "named": "mapping to text",
        "pair": "[number, text]",
        "some": "true, false",
    }
    assert book.row("", schema, "few", properties["few"]) == (
        "| `few` | list of whole number ≥ 1 | required | a \\| b &lt;c> |  |"
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
