"""Comparison without the server: no false drift on what others and the server add, no drift overlooked."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aifctl.cluster.unaided import quantity, sides
from aifctl.plan.fields import field_changes
from tests.cluster.sets import OBJECTS, SCALARS, everything

LAW = settings(max_examples=80, deadline=None)


def changes(live: Any, body: Any, owned: Any) -> set[str]:
    return {each.shown_path for each in field_changes(*sides(live, body, owned))}


@st.composite
def grown(draw: st.DrawFn, value: Any) -> Any:
    """The value with what a server, a webhook and other managers add to it."""
    if isinstance(value, dict):
        more = {f"added-{n}": draw(SCALARS) for n in range(draw(st.integers(0, 2)))}
        return {**{key: draw(grown(item)) for key, item in value.items()}, **more}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        extra = [{"name": "sidecar", "image": "x"}] if draw(st.booleans()) else []
        return [*(draw(grown(item)) for item in value), *extra]
    return value


@LAW
@given(OBJECTS.flatmap(lambda body: st.tuples(st.just(body), grown(body))))
def test_what_is_added_around_ours_is_no_drift(case: tuple[Any, Any]) -> None:
    body, live = case
    before = copy.deepcopy((live, body))
    assert changes(live, body, everything(body)) == set()
    assert (live, body) == before


@LAW
@given(OBJECTS.flatmap(lambda body: st.tuples(st.just(body), grown(body), st.data())))
def test_every_change_of_a_leaf_of_ours_is_seen(case: tuple[Any, Any, st.DataObject]) -> None:
    body, live, data = case
    leaves = [key for key, item in body.items() if not isinstance(item, dict | list)]
    assume(leaves)
    key = data.draw(st.sampled_from(leaves))
    assert len(changes({**live, key: "quite another"}, body, everything(body))) == 1
    assert len(changes(live, {**body, key: "quite another"}, everything(body))) == 1
    gone = {name: item for name, item in body.items() if name != key}
    assert len(changes(live, gone, everything(body))) == 1  # we own it, and want it no more
    assert changes(live, gone, everything(gone)) == set()  # others own it


PORT = 'k:{"containerPort":80,"protocol":"TCP"}'
A, B = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
# live, manifest, ours, what differs
CASES: list[tuple[Any, Any, Any, set[str]]] = [
    ({"ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"ports": [{"containerPort": 80}]},
     {"f:ports": {PORT: {".": {}, "f:containerPort": {}, "f:protocol": {}}}}, set()),
    ({"limits": {"cpu": "2", "memory": "1Gi"}}, {"limits": {"cpu": 2, "memory": "1024Mi"}},
     {"f:limits": {"f:cpu": {}, "f:memory": {}}}, set()),
    ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1999m"}}, {"f:limits": {"f:cpu": {}}}, {"limits.cpu"}),
    ({"args": ["1000m"]}, {"args": ["1"]}, {"f:args": {}}, {"args[0]"}),
    ({"finalizers": ["theirs", "ours"]}, {"finalizers": ["ours"]}, {"f:finalizers": {'v:"ours"': {}}}, set()),
    ({"finalizers": ["theirs", "ours"]}, {}, {"f:finalizers": {'v:"ours"': {}}}, {"finalizers"}),
    ({"nodeSelector": {"a": "1", "b": "2"}}, {"nodeSelector": {"a": "1"}}, {"f:nodeSelector": {}}, {"nodeSelector.b"}),
    ({"ref": {"fieldPath": "x", "apiVersion": "v1"}}, {"ref": {"fieldPath": "x"}}, {"f:ref": {}}, set()),
    ({"emptyDir": {}}, {"emptyDir": {}, "annotations": {}, "nothing": None}, {"f:emptyDir": {}}, set()),
    ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {}}, {"f:resources": {}}, set()),
    ({"env": [A]}, {"env": [B, A]}, {"f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}}, {"env[B]"}),
    ({}, {"spec": {"deep": [1]}}, {}, {"spec"}),
    ({"env": [A, {**A, "value": "2"}]}, {"env": [A]}, {}, {"env[1]"}),
]  # fmt: skip


@pytest.mark.parametrize(("live", "body", "owned", "paths"), CASES)
def test_what_counts_as_a_change(live: Any, body: Any, owned: Any, paths: set[str]) -> None:
    assert changes(live, body, owned) == paths


@pytest.mark.parametrize(
    ("text", "value"),
    [("1000m", "1"), (1, "1"), ("1Gi", "1073741824"), ("0.5Gi", "536870912"), ("1e3", "1000"), ("1k", "1000"),
     ("2E", "2e18"), (0.5, "0.5"), (".5", "0.5"), ("+1", "1"), ("1n", "1e-9"), ("-2Ki", "-2048")],
)  # fmt: skip
def test_quantities_are_read_as_kubernetes_does(text: Any, value: str) -> None:
    assert quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1gi", "0x10", "1e", True, None, {}, "1e9999", "٣"])
def test_what_is_no_quantity_is_none(text: Any) -> None:
    assert quantity(text) is None
