"""Paths of fields: read back as plans print them, and what they cover."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifctl.plan.change import Match, show_path
from aifctl.spec.field_path import covers, own_field, parse_path

KEYS = st.text(min_size=1, max_size=12)
MATCHES = st.builds(lambda name, port: Match((("containerPort", port), ("protocol", name))), KEYS, st.integers(0, 99))
PATHS = st.lists(st.one_of(KEYS, st.integers(0, 99), MATCHES), min_size=1, max_size=5).map(tuple)


@given(PATHS)
def test_what_a_plan_prints_is_read_back(path: tuple[str | int | Match, ...]) -> None:
    if all(step.isprintable() for step in map(str, path)):
        assert parse_path(show_path(path)) == tuple(map(str, path))


@given(PATHS)
def test_a_path_covers_itself_and_what_is_below(path: tuple[str | int | Match, ...]) -> None:
    rule = tuple(map(str, path))
    assert covers(rule, path)
    assert covers(rule, (*path, "below"))
    assert not covers((*rule, "below"), path)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("spec.replicas", ("spec", "replicas")),
        ("spec.ports[8080/TCP].name", ("spec", "ports", "8080/TCP", "name")),
        ("spec.containers[*].image", ("spec", "containers", "*", "image")),
        ('metadata.annotations["example.com/a.b"]', ("metadata", "annotations", "example.com/a.b")),
        ('data["with \\" quote"]', ("data", 'with " quote')),
        ("spec.args[0]", ("spec", "args", "0")),
    ],
)
def test_forms(text: str, steps: tuple[str, ...]) -> None:
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    "text", ["", ".", "spec.", ".spec", "spec..a", "spec[", "spec[]", 'a["', "a[b]c", "a b", "/a/b"]
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no text"):
        parse_path(text)


def test_any_stands_for_one_step() -> None:
    rule = parse_path("spec.containers[*].image")
    assert covers(rule, ("spec", "containers", Match((("name", "server"),)), "image"))
    assert not covers(rule, ("spec", "containers", "image"))


@pytest.mark.parametrize(
    "text", ["kind", "apiVersion", "metadata", "metadata.name", "metadata.namespace", "metadata[*]", "status.x", "[*]"]
)
def test_what_tells_an_object(text: str) -> None:
    assert own_field(parse_path(text))
    assert not own_field(parse_path('metadata.labels["a/b"]'))
