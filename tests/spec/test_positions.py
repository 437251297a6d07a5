"""A finding covers exactly the text it is about: for any value of a spec, in any style, in overlays, behind anchors."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl.diagnostics import Diagnostic, Where
from aifctl.diagnostics.model import KeyPath, Position
from aifctl.spec import overlay, schema, source
from aifctl.spec.models.model import Model

# Keys are called like branches of unions (int, str, tuple) and like values of their neighbours (tensor, category).
SPEC: dict[str, Any] = {
    "apiVersion": "aif.dev/v1alpha1",
    "kind": "Model",
    "metadata": {"name": "digits", "tenant": "vision"},
    "spec": {
        "task": "classification",
        "datasets": [
            {
                "name": "digits",
                "source": {"path": "data/digits.csv"},
                "features": {
                    "tensor": {"type": "tensor", "columns": ["a", "b"], "shape": [1, 2]},
                    "category": {"type": "category", "columns": "c", "values": ["x", 1]},
                },
                "label": {"column": "digit", "classes": 10, "names": ["0", "1"]},
                "split": {"train": 0.8, "test": 0.2, "seed": 7, "by": {"stratify": "digit"}},
                "checks": {"min_rows": 10, "no_nulls": ["digit"], "ranges": {"a": {"min": 0, "max": 1.5}}},
            },
            {"name": "more", "source": {"call": "net:load", "arguments": {"str": "x", "int": 3}}, "pinned": False},
        ],
        "code": {"path": "src"},
        "env": {"OMP_NUM_THREADS": {"value": "4", "steps": ["train"]}},
        "secrets": [{"env": "TOKEN", "from": "hub/token"}],
        "training": {
            "model": "net:build",
            "dataset": "digits",
            "hyperparameters": {"int": 3, "str": "adam", "float": 0.5, "bool": True, "tuple": [1, "a", False]},
            "epochs": 3,
            "batch": {"global": 32},
            "checkpoint": {"every": "5m", "select": {"best": "val_loss", "goal": "minimize"}},
            "hardware": {"cpu": 2, "memory": "4Gi", "spot": False},
        },
        "tuning": {
            "trials": 3,
            "objective": {"metric": "accuracy", "goal": "maximize"},
            "search": {"choice": {"choice": [1, "x"]}, "uniform": {"uniform": [0.1, 1]}},
        },
        "evaluation": {"metrics": ["accuracy"], "gate": {"accuracy": {"min": 0.9}}},
        "export": [{"name": "onnx", "format": "onnx", "opset": 18}, {"name": "other", "format": "onnx"}],
        "serving": {
            "export": "onnx",
            "autoscaling": {"min": 1, "max": 4},
            "rollout": {"strategy": "canary", "steps": [{"weight": 10, "pause": "5m"}]},
        },
    },
}
WRONG = "{oops: 1}"
"""No scalar may be a mapping."""
KEPT = {("apiVersion",), ("kind",)}


def test_the_spec_is_right_to_begin_with() -> None:
    assert schema.validate(Model, SPEC, Where("model.yaml"))[1] == []


def leaves(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path
        return
    for key, below in items:
        yield from leaves(below, (*path, key))


LEAVES = [path for path in leaves(SPEC) if path not in KEPT]
IN_OVERLAYS = [path for path in LEAVES if path[0] == "spec" and path[1] != "task" and path[-1] != "name"]


class Marked(str):
    """Written as it stands, without quotes."""

    __slots__ = ()


def replaced(value: Any, path: KeyPath, new: Any) -> Any:
    result = copy.copy(value)
    result[path[0]] = replaced(value[path[0]], path[1:], new) if len(path) > 1 else new
    return result


def over(value: Any, path: KeyPath, new: Any) -> Any:
    """The least overlay that changes this path: entries of named lists go by their name, other lists as a whole."""
    if not path:
        return new
    if isinstance(value, list):
        item = value[path[0]]
        if not isinstance(item, dict) or "name" not in item:
            return replaced(value, path, new)
        return [{"name": item["name"], **over(item, path[1:], new)}]
    return {path[0]: over(value[path[0]], path[1:], new)}


def written(value: Any, data: st.DataObject, indent: int = 0, flow: bool = False) -> str:
    """YAML in a style drawn at every collection."""
    if isinstance(value, Marked):
        return str(value)
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    pad = " " * indent
    if flow or (indent and data.draw(st.booleans())):
        inner = [written(item, data, indent, True) for item in (value.values() if isinstance(value, dict) else value)]
        if isinstance(value, dict):
            gap = data.draw(st.sampled_from([", ", ",\n" + pad + "   "]))
            return "{" + gap.join(f"{key}: {item}" for key, item in zip(value, inner, strict=True)) + "}"
        return "[" + ", ".join(inner) + "]"
    lines = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        text = written(item, data, indent + 2)
        block = isinstance(item, dict | list) and bool(item) and text[0] not in "{["
        if isinstance(value, list):
            lines.append(f"{pad}- {text.lstrip() if block else text}")
        else:
            lines.append(f"{pad}{key}:\n{text}" if block else f"{pad}{key}: {text}")
    return "\n".join(lines)


def findings(text: str) -> list[Diagnostic]:
    documents, found = source.parse(text, Path("model.yaml"), "model.yaml")
    assert [d for d in found if d.code != "AIF108"] == [], text
    merged = overlay.merge(documents[0].value, "local")
    _, problems = schema.validate(Model, merged.value, Where("model.yaml"), merged.origin)
    return source.resolve(problems, {"model.yaml": text})


def covered(text: str, position: Position | None) -> str:
    assert position is not None
    lines = text.split("\n")
    assert position.line == position.end_line
    return lines[position.line - 1][position.column - 1 : position.end_column - 1]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_the_span_is_exactly_the_wrong_value(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(LEAVES))
    mark = data.draw(st.sampled_from([WRONG, "&anchor " + WRONG]))
    text = written(replaced(SPEC, path, Marked(mark)), data)
    found = findings(text)
    assert [covered(text, d.position) for d in found] == [mark], (path, found)
    assert found[0].code in ("AIF205", "AIF206", "AIF208")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_in_an_overlay_the_span_is_in_the_overlay(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(IN_OVERLAYS))
    changed = over(SPEC["spec"], path[1:], Marked(WRONG))
    document = {**SPEC, "spec": {**SPEC["spec"], "environments": {"local": changed}}}
    text = written(document, data)
    found = findings(text)
    assert [covered(text, d.position) for d in found] == [WRONG], (path, found)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_the_place_of_an_unknown_field_is_its_key(data: st.DataObject) -> None:
    sections = [path for path in {leaf[:-1] for leaf in LEAVES} if path[-1:] in SECTIONS]
    path = data.draw(st.sampled_from(sorted(sections, key=str)))
    here: Any = SPEC
    for step in path:
        here = here[step]
    text = written(replaced(SPEC, path, {**here, "unheard_of": 1}), data)
    found = findings(text)
    assert [(d.code, covered(text, d.position)) for d in found] == [("AIF203", "unheard_of")]


SECTIONS = {
    (name,) for name in ("source", "label", "split", "by", "training", "batch", "hardware", "objective", "serving")
}


def test_a_finding_behind_an_alias_points_at_the_anchor() -> None:
    text = "apiVersion: aif.dev/v1alpha1\nkind: Model\nmetadata: {name: x}\nspec:\n  task: regression\n  datasets: []\n"
    text += '  env:\n    A: &a {value: 1}\n    B: *a\n  training: {model: "net:build"}\n'
    values = [d for d in findings(text) if d.code == "AIF205"]
    assert [(d.position.line, covered(text, d.position)) for d in values if d.position] == [(8, "1"), (8, "1")]


@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them(eol: str) -> None:
    text = eol.join(["apiVersion: aif.dev/v1alpha1", "kind: Modle"])
    documents, _ = source.parse(text, Path("model.yaml"), "model.yaml")
    where = Where("model.yaml", ("kind",))
    (found,) = source.resolve([Diagnostic("AIF202", "x", None, where)], {"model.yaml": text})
    assert documents[0].value["kind"] == "Modle"
    assert found.position == Position("model.yaml", 2, 7, 2, 12)
