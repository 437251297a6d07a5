"""schemas/: what an editor shows and puts into a spec is there for every field, and is right."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aifctl.spec import field_words, json_schema
from aifctl.spec.models import Platform
from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.serving import Batching, Resources
from aifctl.spec.models.training import StartFrom
from aifctl.spec.quantities import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    parse_duration,
    parse_size,
    write_duration,
    write_size,
)

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {kind: json_schema.schema(kind) for kind in json_schema.KINDS}
SPECS = sorted(ROOT.glob("examples/specs/**/*.yaml"))


def fields(kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(Class.field, schema) of every field of every model below this kind."""
    schema = SCHEMAS[kind]
    for title, owner in {**schema["$defs"], schema["title"]: schema}.items():
        for name, value in owner.get("properties", {}).items():
            yield f"{title}.{name}", value


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_field_says_what_it_is_for(kind: str) -> None:
    told = {name: value.get("description", "") for name, value in fields(kind)}
    assert {name for name, text in told.items() if not text.strip().endswith((".", "`"))} == set()
    assert {name for name, text in told.items() if name.partition(".")[2] == text.strip(". ").lower()} == set()


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_section_says_what_it_is_for(kind: str) -> None:
    schema = SCHEMAS[kind]
    sections = {**schema["$defs"], schema["title"]: schema}
    assert [name for name, each in sections.items() if "properties" in each and not each.get("description")] == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_defaults_and_examples_are_what_the_field_takes(kind: str) -> None:
    """An editor puts them into the spec: `1Gi` is what one writes, 1073741824 would be refused."""
    count = 0
    for name, value in fields(kind):
        checker = jsonschema.Draft202012Validator({**value, "$defs": SCHEMAS[kind]["$defs"]})
        for each in [*([value["default"]] if "default" in value else []), *value.get("examples", ())]:
            count += 1
            assert [error.message for error in checker.iter_errors(each)] == [], name
    assert count > 5


def test_a_default_with_a_unit_is_the_models_own() -> None:
    defaults = {name: value["default"] for name, value in fields("model") if value.get("default") is not None}
    assert parse_size(defaults["Resources.memory"]) == Resources().memory
    assert parse_duration(defaults["Batching.delay"]) == Batching().delay


@pytest.mark.parametrize("path", SPECS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_fit_the_schema(path: Path) -> None:
    value = yaml.safe_load(path.read_text("utf-8"))
    if not isinstance(value, dict) or value.get("kind", "").lower() not in SCHEMAS:
        pytest.fail(f"{path} is no document of a known kind")
    jsonschema.validate(value, SCHEMAS[value["kind"].lower()])


def test_a_word_out_of_place_does_not_fit() -> None:
    with pytest.raises(jsonschema.ValidationError, match="apiVersion"):
        jsonschema.validate({"kind": "Model"}, SCHEMAS["model"])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_what_is_committed_is_what_is_generated(kind: str) -> None:
    assert (ROOT / f"schemas/{kind}.schema.json").read_text("utf-8") == json_schema.text(kind), "run `make schemas`"


def test_fields_keep_their_order_and_so_do_examples() -> None:
    assert list(SCHEMAS["model"]["$defs"]["ModelSpec"]["properties"])[:3] == ["task", "datasets", "code"]
    (example,) = SCHEMAS["model"]["$defs"]["ModelSpec"]["properties"]["code"]["examples"]
    assert list(example) == ["path", "requirements"]


def test_words_of_inherited_fields_are_there_and_on_one_line() -> None:
    assert set(field_words.words(StartFrom)) == set(StartFrom.model_fields)
    assert not any(re.search(r"\s\s|\n", said.text) for said in field_words.words(Hardware).values())


def test_examples_are_told_from_the_text() -> None:
    said = field_words.read("Names of the\n    objects; `*` stands for any.\n    Examples: `iris`, `{a: [1, b]}`.")
    assert said.text == "Names of the objects; `*` stands for any."
    assert said.examples == ("iris", {"a": [1, "b"]})
    assert field_words.read("See `Example: x`.") == field_words.Words("See `Example: x`.")


def test_no_example_is_left_in_a_text() -> None:
    """An ending that is written otherwise than `Example: …` would go unnoticed."""
    left = {name for kind in SCHEMAS for name, each in fields(kind) if re.search(r"Examples?:", each["description"])}
    assert left == set()


def test_without_sources_a_schema_has_no_words_and_is_right_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(module: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", nothing)
    field_words._said.cache_clear()
    try:
        assert field_words.words(Platform) == {}
        assert json_schema.schema("platform")["required"] == SCHEMAS["platform"]["required"]
    finally:
        field_words._said.cache_clear()


def test_words_cost_a_command_nothing() -> None:
    """Sources are parsed for a schema alone."""
    program = "import sys, aifctl.spec.load; sys.exit('aifctl.spec.field_words' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_is_read_back(thousandths: int) -> None:
    written = write_duration(thousandths / 1000)
    assert re.fullmatch(DURATION_PATTERN, written)
    assert round(parse_duration(written) * 1000) == thousandths


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from([1000, 1024, 1024**3, 10**12]))
def test_a_size_is_read_back(count: int, unit: int) -> None:
    written = write_size(count * unit)
    assert re.fullmatch(SIZE_PATTERN, written)
    assert parse_size(written) == count * unit


def test_a_size_of_no_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="1001 bytes"):
        write_size(1001)
