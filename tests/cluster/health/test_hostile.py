"""Statuses are written by strangers: whatever they hold, there is a verdict, in one printable line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aifctl.cluster import health
from aifctl.cluster.health import kinds, pods, reading

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DATA = Path(__file__).parent / "data"
RECORDED = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(DATA.glob("*.yaml"))]


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {key for key in value if isinstance(key, str)}.union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_texts, value.values()))
    if isinstance(value, list):
        return set().union(*map(_texts, value))
    return {value} if isinstance(value, str) else set()


KEYS = sorted(_keys(RECORDED))
TEXTS = sorted(each for each in _texts(RECORDED) if len(each) <= 24)
"""The vocabulary of real objects: with it nonsense gets deep into the rules."""

WORDS = st.integers(0, len(TEXTS) - 1).map(TEXTS.__getitem__)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=12) | WORDS
CONDITIONS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "type": WORDS | SCALARS,
            "status": st.sampled_from(["True", "False", "Unknown"]) | SCALARS,
            "reason": SCALARS,
            "message": SCALARS,
            "observedGeneration": SCALARS,
        },
    )
    | SCALARS,
    max_size=4,
)
NAMES = st.integers(0, len(KEYS) - 1).map(KEYS.__getitem__) | st.text(max_size=5)
NONSENSE = st.recursive(
    SCALARS | CONDITIONS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)
LISTED = [*kinds.KINDS, ("example.org", "Widget")]


def _check(found: Any) -> None:
    judged = health.assess(found, NOW)
    assert isinstance(judged.state, health.State)
    assert judged.message.isprintable()
    assert len(judged.message) <= reading.LONGEST
    assert judged.phase.isprintable()
    assert " " not in judged.phase
    assert len(judged.phase) <= 63
    assert isinstance(health.settled(found, judged), bool)
    assert isinstance(health.ended(found), bool)
    assert 0 < health.timeout_of(found) <= 86400
    trouble = health.stuck([found])
    assert str(health.blame(judged, trouble).message).isprintable()
    chosen = health.selector(found)
    assert chosen is None or all(isinstance(value, str) for pair in chosen.items() for value in pair)


@pytest.mark.parametrize("group_kind", LISTED, ids="/".join)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(metadata=NONSENSE, spec=NONSENSE, status=NONSENSE)
def test_nonsense_gets_a_verdict(group_kind: tuple[str, str], metadata: Any, spec: Any, status: Any) -> None:
    group, kind = group_kind
    version = f"{group}/v1" if group else "v1"
    _check({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": status})


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: _with(value[key], tuple(rest), new)}
    return [*value[:key], _with(value[key], tuple(rest), new), *value[key + 1 :]]


WRONG = (None, True, -(10**30), "", "\x1b[31m\n\u202e", [None, 1, "x", [{}]], {"type": 7, "": None})


@pytest.mark.parametrize("found", RECORDED, ids=[path.stem for path in sorted(DATA.glob("*.yaml"))])
def test_one_wrong_value_anywhere_gets_a_verdict(found: dict[str, Any]) -> None:
    """Each place of each recorded object, in turn, holds each kind of wrong value."""
    for path in _places(found):
        if path[:1] == ("apiVersion",) or path[:1] == ("kind",):
            continue
        for wrong in WRONG:
            _check(_with(found, path, wrong))


@settings(max_examples=200, deadline=None)
@given(NONSENSE)
def test_pods_of_any_shape_are_looked_at(status: Any) -> None:
    trouble = pods.stuck([{"metadata": {"name": "p"}, "status": status}])
    assert trouble is None or (str(trouble).isprintable() and trouble.phase)


def test_no_escape_sequence_reaches_the_terminal() -> None:
    found = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "status": {"phase": "Failed", "message": "boom\x1b]0;owned\x07\r\n\u202eline two" + "x" * 9999},
    }
    judged = health.assess(found)
    assert judged.message.startswith("boom ]0;owned line two")
    assert len(judged.message) == reading.LONGEST


def test_an_object_without_a_kind_is_not_called_healthy() -> None:
    """Items of a list lack kind and apiVersion, unless the reader puts them there."""
    judged = health.assess({"metadata": {"name": "digits"}, "status": {"phase": "Active"}})
    assert (judged.state, judged.phase) == (health.State.PENDING, "Unreadable")
