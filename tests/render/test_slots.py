"""A template filled through its shape is what it is when it is written out and read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifctl.diagnostics import Report
from aifctl.manifest import Manifest
from aifctl.render import environment, slots
from aifctl.render.environment import Templates

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {a: b}}\n"
BODY = """data: {{ value }}
list: [1, {{ value }}, {deep: {{ value }}}]
{% for key, item in pairs.items() %}
{{ key }}: {{ item }}
{% endfor %}
"""


class Colour(StrEnum):
    RED = "red"


def folder_of(tmp_path: Path, body: str) -> Templates:
    (tmp_path / "x.yaml.j2").write_text(HEAD + body)
    return Templates(tmp_path)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return folder_of(tmp_path_factory.mktemp("templates"), BODY)


def slowly(templates: Templates, context: dict[str, Any]) -> Manifest | None:
    return environment._manifest(templates._text("x.yaml.j2", context))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.text("abc<~1-é\n\"'", min_size=1, max_size=3)


@given(value=VALUES, pairs=st.dictionaries(KEYS, VALUES, max_size=3))
def test_a_shape_says_what_the_text_says(templates: Templates, value: Any, pairs: dict[str, Any]) -> None:
    context = {"value": value, "pairs": pairs}
    try:
        expected = slowly(templates, context)
    except ValueError:
        with pytest.raises((ValueError, LookupError, TypeError)):
            templates._quickly("x.yaml.j2", context)
        return
    found = templates.render("x.yaml.j2", context)
    assert found is not None
    assert expected is not None
    assert repr(found.object) == repr(expected.object)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, "a"), [1, "a"]),
        (Colour.RED, "red"),
        (MappingProxyType({"a": (True, None)}), {"a": [True, None]}),
        (0.25, 0.25),
        ("two\nlines", "two\nlines"),
    ],
)
def test_values_become_plain(value: object, plain: object) -> None:
    found = slots.plain(value)
    assert (type(found), found) == (type(plain), plain)


@pytest.mark.parametrize(
    "value",
    [1e300, float("nan"), 2**60, "\x85", "\ud800", slots.MARK, {1: "a"}, {"k" * 600: 1}, b"x", object(), {"a": {2}}],
)
def test_what_might_be_read_differently_is_not_taken(value: object) -> None:
    with pytest.raises(slots.Unsure):
        slots.plain(value)


def test_keys_that_become_one_are_not_taken(tmp_path: Path) -> None:
    templates = folder_of(tmp_path, "data:\n  {{ a }}: 1\n  {{ b }}: 2\n")
    assert templates._quickly("x.yaml.j2", {"a": "x", "b": "y"}) is not None
    with pytest.raises(slots.Unsure):
        templates._quickly("x.yaml.j2", {"a": "x", "b": "x"})


@pytest.mark.parametrize(
    "body",
    [
        "{% filter upper %}a: {{ value }}\n{% endfilter %}",
        "{% set told %}\n{{ value }}\n{% endset %}\na: {{ told }}\n",
        "{% set told %}\n{{ value }}\n{% endset %}\n{% if 'v' in told %}\na: 1\n{% endif %}",
        "{% macro m(v) %}\n{{ v }}\n{% endmacro %}\na: {{ m(value) }}\n",
        "{%+ set told | replace('=', '-') -%}\n{{ value }}\n{% endset %}\na: {{ told }}\n",
    ],
)
def test_templates_that_go_on_with_their_own_text_are_read(tmp_path: Path, body: str) -> None:
    templates = folder_of(tmp_path, body)
    with pytest.raises(slots.Unsure):
        templates._quickly("x.yaml.j2", {"value": "v"})
    found, expected = templates.render("x.yaml.j2", {"value": "v"}), slowly(templates, {"value": "v"})
    assert found is not None
    assert expected is not None
    assert found.object == expected.object


def test_constants_and_assignments_have_shapes(tmp_path: Path) -> None:
    templates = folder_of(tmp_path, "{% set b = value %}\na: {{ 'constant' }}\nb: {{ b }}\n")
    for value in ("one", ["two"]):
        found = templates._quickly("x.yaml.j2", {"value": value})
        assert found is not None
        assert (found.object["a"], found.object["b"]) == ("constant", value)


def test_manifests_of_one_shape_share_no_values(tmp_path: Path) -> None:
    templates = folder_of(tmp_path, "data: {{ value }}\n")
    one, two = (templates.render("x.yaml.j2", {"value": {"k": each}}) for each in ("1", "2"))
    assert one is not None
    assert two is not None
    assert (one.object["data"], two.object["data"]) == ({"k": "1"}, {"k": "2"})


def test_nothing_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.yaml.j2").write_text("{% if value %}\n" + HEAD + "{% endif %}\n")
    templates = Templates(tmp_path)
    assert templates.render("x.yaml.j2", {"value": False}) is None
    assert templates.render("x.yaml.j2", {"value": True}) is not None


def test_faults_are_told_as_ever(tmp_path: Path) -> None:
    templates = folder_of(tmp_path, "a: {{ missing }}\n")
    with pytest.raises(Report, match=r"AIF505: .*missing"):
        templates.render("x.yaml.j2", {})
