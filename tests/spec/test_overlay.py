"""Environment overlays and `--set`: what is merged, and where each value came from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifctl.spec import overlay


def document(overlays: Any, **spec: Any) -> dict[str, Any]:
    return {"kind": "Model", "spec": {**spec, "environments": overlays}}


def test_mappings_merge_and_other_values_are_replaced() -> None:
    merged = overlay.merge(document({"prod": {"a": {"y": 3}, "b": [9]}}, a={"x": 1, "y": 2}, b=[1, 2]), "prod")
    assert merged.value == {"kind": "Model", "spec": {"a": {"x": 1, "y": 3}, "b": [9]}}
    assert merged.origin(("spec", "a", "y")) == ("spec", "environments", "prod", "a", "y")
    assert merged.origin(("spec", "b", 0)) == ("spec", "environments", "prod", "b", 0)
    assert merged.origin(("spec", "a", "x")) == ("spec", "a", "x")


def test_named_lists_merge_by_name_and_append() -> None:
    exports = [{"name": "onnx", "opset": 18}, {"name": "other"}]
    over = [{"name": "new", "opset": 1}, {"name": "other", "opset": 17}]
    merged = overlay.merge(document({"prod": {"export": over}}, export=exports), "prod")
    assert merged.value["spec"]["export"] == [
        {"name": "onnx", "opset": 18},
        {"name": "other", "opset": 17},
        {"name": "new", "opset": 1},
    ]
    assert merged.origin(("spec", "export", 1, "opset")) == ("spec", "environments", "prod", "export", 1, "opset")
    assert merged.origin(("spec", "export", 2)) == ("spec", "environments", "prod", "export", 0)
    assert merged.origin(("spec", "export", 0, "opset")) == ("spec", "export", 0, "opset")


@pytest.mark.parametrize("overlays", [{}, {"lab": {"a": 1}}])
def test_without_an_overlay_of_its_own_an_environment_sees_the_spec(overlays: Any) -> None:
    assert overlay.merge(document(overlays, a=0), "prod").value == {"kind": "Model", "spec": {"a": 0}}


@pytest.mark.parametrize("overlays", [None, {"prod": None}, {"prod": []}, {"lab": 3, "prod": {"a": 1}}, "nonsense", []])
def test_what_is_no_overlay_stays_for_validation_to_find(overlays: Any) -> None:
    whole = document(overlays, a=0)
    assert overlay.merge(whole, "prod").value == whole


def test_a_document_without_a_spec_stays_as_it_is() -> None:
    assert overlay.merge({"spec": 3}, "prod").value == {"spec": 3}


VALUES = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)
SECTIONS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(SECTIONS, SECTIONS)
def test_merging_changes_no_input_and_every_origin_leads_to_its_value(base: Any, over: Any) -> None:
    whole = document({"prod": over}, **base)
    before = copy.deepcopy(whole)
    merged = overlay.merge(whole, "prod")
    assert whole == before
    for path, value in _leaves(merged.value["spec"], ("spec",)):
        here: Any = whole
        for step in merged.origin(path):
            here = here[step]
        assert here == value


@given(SECTIONS)
def test_an_overlay_equal_to_the_spec_changes_nothing(base: Any) -> None:
    assert overlay.merge(document({"prod": base}, **base), "prod").value["spec"] == base


def _leaves(value: Any, path: tuple[Any, ...]) -> Any:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif value != {}:
        yield path, value


def test_set_steps_into_mappings_places_and_names() -> None:
    merged = overlay.merge(document({}, a={"x": 1}, list=[{"name": "n", "v": 1}]), "local")
    result = overlay.assign(merged, {("a", "y", "z"): 2, ("list", "n", "v"): 3, ("list", 0, "w"): 4})
    assert result.value["spec"] == {"a": {"x": 1, "y": {"z": 2}}, "list": [{"name": "n", "v": 3, "w": 4}]}
    assert merged.value["spec"]["a"] == {"x": 1}
    assert result.origin(("spec", "list", 0, "v")) == overlay.COMMAND_LINE


@pytest.mark.parametrize(
    ("path", "step"), [(("list", 1, "v"), 1), (("list", "m"), "m"), (("a", "x", "y"), "y"), (("list", -1), -1)]
)
def test_set_leads_nowhere(path: tuple[Any, ...], step: Any) -> None:
    merged = overlay.merge(document({}, a={"x": 1}, list=[{"name": "n"}]), "local")
    with pytest.raises(KeyError) as raised:
        overlay.assign(merged, {path: 1})
    assert raised.value.args == (".".join(map(str, path)), step)
