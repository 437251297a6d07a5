"""The structural difference: for any two objects its fields turn one into the other, and list items are matched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifctl.plan.change import Op, show_path
from aifctl.plan.fields import field_changes, same
from tests.plan.objects import applied

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b", "1", "TCP"]) | st.just(1.0)
KEYS = st.sampled_from(["name", "ports", "env", "containerPort", "protocol", "port", "key", "items", "a", "b.c"])
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)
ITEMS = st.fixed_dictionaries(
    {"name": st.sampled_from("abcdef")}, optional={"value": SCALARS, "ports": st.lists(TREES, max_size=2)}
)
KEYED = st.fixed_dictionaries({"env": st.lists(ITEMS, max_size=6), "rest": TREES})
PORT = st.fixed_dictionaries({"port": st.integers(1, 4)}, optional={"protocol": st.sampled_from(["TCP", "UDP"])})
PORTS = st.fixed_dictionaries({"ports": st.lists(PORT)})


def shown(before: Any, after: Any) -> list[tuple[str, str, Any, Any]]:
    return [(show_path(f.path), str(f.op), f.before, f.after) for f in field_changes(before, after)]


@given(TREES)
def test_nothing_differs_from_itself(tree: Any) -> None:
    assert same(tree, tree)
    assert list(field_changes(tree, tree)) == []


@given(TREES, TREES)
def test_the_fields_turn_one_object_into_the_other(before: Any, after: Any) -> None:
    result = applied({"x": before}, field_changes({"x": before}, {"x": after}))
    assert same(result, {"x": after})


@given(KEYED, KEYED)
def test_the_fields_turn_one_keyed_list_into_the_other(before: Any, after: Any) -> None:
    assert same(applied(before, field_changes(before, after)), after)


@given(PORTS, PORTS)
def test_ports_with_a_default_protocol(before: Any, after: Any) -> None:
    assert same(applied(before, field_changes(before, after)), after)


@given(st.lists(SCALARS, max_size=12), st.lists(SCALARS, max_size=12))
def test_lists_of_scalars(before: Any, after: Any) -> None:
    assert same(applied({"args": before}, field_changes({"args": before}, {"args": after})), {"args": after})


@given(TREES, TREES)
def test_fields_are_told_exactly_when_something_differs(before: Any, after: Any) -> None:
    assert bool(list(field_changes(before, after))) is not same(before, after)


@pytest.mark.parametrize(
    ("before", "after", "equal"),
    [(True, 1, False), (0, False, False), (1, 1.0, True), ("1", 1, False), ([True], [1], False), (None, False, False)],
)
def test_a_boolean_is_no_number(before: Any, after: Any, equal: bool) -> None:
    assert same({"a": before}, {"a": after}) is equal


def test_containers_ports_and_mounts_are_matched_by_their_merge_keys() -> None:
    before = {
        "containers": [
            {"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 81}]},
            {"name": "server", "volumeMounts": [{"mountPath": "/x", "name": "m"}], "resources": {"memory": "1Gi"}},
        ]
    }
    after = {
        "containers": [
            {"name": "server", "volumeMounts": [{"mountPath": "/x", "name": "n"}], "resources": {"memory": "2Gi"}},
            {"name": "a", "ports": [{"containerPort": 81, "protocol": "UDP"}, {"containerPort": 80, "name": "web"}]},
        ]
    }
    assert [row[:2] for row in shown(before, after)] == [
        ("containers[a].ports[80/TCP].name", "add"),
        ("containers[a].ports[81/TCP]", "remove"),
        ("containers[a].ports[81/UDP]", "add"),
        ("containers[server].resources.memory", "change"),
        ("containers[server].volumeMounts[/x].name", "change"),
        ("containers", "reorder"),
    ]


def test_an_item_added_in_the_middle_is_no_reorder() -> None:
    before = {"env": [{"name": "A"}, {"name": "C"}]}
    after = {"env": [{"name": "A"}, {"name": "B"}, {"name": "C"}]}
    (field,) = field_changes(before, after)
    assert (show_path(field.path), field.op, field.position) == ("env[B]", Op.ADD, 1)


@pytest.mark.parametrize(
    "items", [[{"name": "a"}, {"name": "a"}], [{"name": "a"}, {}], [{"name": True}], [{"name": ["a"]}], ["a"]]
)
def test_items_without_a_unique_key_are_matched_by_position(items: list[Any]) -> None:
    (field,) = field_changes({"env": items}, {"env": [*items, {"name": "z"}]})
    assert field.path == ("env", len(items))


def test_a_scalar_put_in_front_of_many_is_one_addition() -> None:
    assert shown({"args": ["a", "b", "c"]}, {"args": ["z", "a", "b", "c"]}) == [("args[0]", "add", None, "z")]
    assert shown({"args": ["a", "b", "c"]}, {"args": ["a", "x", "c"]}) == [("args[1]", "change", "b", "x")]


def test_a_rule_taken_out_of_many_is_one_removal() -> None:
    rules = [{"to": [{"port": n}]} for n in range(5)]
    assert [row[:2] for row in shown({"egress": rules}, {"egress": rules[1:]})] == [("egress[0]", "remove")]


def test_lists_of_hostile_length_are_paired_in_turn() -> None:
    before, after = ["x"] * 3_000, ["y", *["x"] * 3_000]
    assert same(applied({"args": before}, field_changes({"args": before}, {"args": after})), {"args": after})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("spec", "env", 0), "spec.env[0]"),
        (("metadata", "annotations", "aif.dev/source"), 'metadata.annotations["aif.dev/source"]'),
        (("data", "a\x1b[31m\u202e\n"), 'data["a\\u001b[31m\\u202e\\n"]'),
        (("data", ""), 'data[""]'),
        ((), ""),
    ],
)
def test_paths(path: Any, text: str) -> None:
    assert show_path(path) == text
