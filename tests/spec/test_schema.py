"""pydantic's errors in our words: one finding a mistake, the nearest field's name, a hint that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aifctl.diagnostics import Where
from aifctl.spec import schema, source
from aifctl.spec.models.model import Model
from aifctl.spec.models.platform import Platform

HEAD = "apiVersion: aif.dev/v1alpha1\nkind: Model\nmetadata: {name: m}\nspec:\n  task: regression\n"
DATA = "  datasets: [{name: d, source: {path: d.csv}}]\n"
TRAINING = '  training: {model: "a:b"}\n'


def said(text: str, kind: type[Any] = Model) -> list[tuple[str, str, str | None]]:
    (document,), _ = source.parse(text, Path("m.yaml"), "m.yaml")
    _, found = schema.validate(kind, document.value, Where("m.yaml"))
    return [(d.code, d.message, d.hint) for d in found]


def of(datasets: str = DATA, training: str = TRAINING, more: str = "") -> list[tuple[str, str, str | None]]:
    return said(HEAD + datasets + training + more)


def test_nothing_is_said_of_a_right_spec() -> None:
    assert of() == []


def test_a_wrong_item_is_not_also_a_missing_one() -> None:
    assert of(datasets="  datasets: [3]\n") == [
        ("AIF205", "`datasets`: expected a mapping, found the number `3`", None)
    ]


def test_an_item_of_a_list_goes_by_the_lists_name() -> None:
    assert of(more="  evaluation: {metrics: [accuracy, 3]}\n") == [
        ("AIF205", "`metrics`: expected a text, found the number `3`", "put it in quotes")
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[]", "expected 2 entries, found 0"),
        ("[1]", "expected 2 entries, found 1"),
        ("[1, 2, 3]", "expected at most 2 entries, found 3"),
    ],
)
def test_lists_of_a_fixed_length(value: str, message: str) -> None:
    more = f"  tuning: {{trials: 1, objective: {{metric: mse, goal: minimize}}, search: {{x: {{uniform: {value}}}}}}}\n"
    assert of(more=more) == [("AIF207", f"`uniform`: {message}", None)]


def test_a_union_is_one_finding() -> None:
    assert of(training='  training: {model: "a:b", hyperparameters: {int: {int: {int: 1}}}}\n') == [
        ("AIF205", "`int`: expected true or false, a number, a text or a list, found a mapping", None)
    ]


def test_of_a_union_the_branch_that_was_meant_speaks() -> None:
    features = "features: {x: {type: tensor, columns: [a, 3]}}"
    assert of(datasets=f"  datasets: [{{name: d, source: {{path: d.csv}}, {features}}}]\n") == [
        ("AIF205", "`columns`: expected a text, found the number `3`", "put it in quotes")
    ]


def test_unknown_fields() -> None:
    assert of(training='  training: {model: "a:b", epoch: 3, replicas: 2, lr: 0.1}\n', more="  learning_rate: 1\n") == [
        ("AIF203", "unknown field `epoch`", "did you mean `epochs`?"),
        ("AIF203", "unknown field `replicas`", "your own settings belong to `hyperparameters`"),
        ("AIF203", "unknown field `lr`", "your own settings belong to `hyperparameters`"),
        ("AIF203", "unknown field `learning_rate`", of(more="  learning_rate: 1\n")[0][2]),
    ]


def test_a_field_of_another_section_is_told_its_section() -> None:
    assert of(more="  autoscaling: {max: 3}\n")[0][2] == "`autoscaling` belongs to `serving`"


def test_missing_fields_give_an_example_where_there_is_one() -> None:
    assert said(HEAD + DATA) == [("AIF204", "`training` is missing in `spec`", None)]
    assert ("AIF204", "`column` is missing in `label`", "such as `column: digit`") in of(
        datasets="  datasets: [{name: d, source: {path: d.csv}, label: {}}]\n"
    )


@pytest.mark.parametrize("value", ["5", "'5'", "five minutes", "5 m", "-5m"])
def test_a_duration_needs_its_unit(value: str) -> None:
    ((code, message, _),) = of(training=f'  training: {{model: "a:b", checkpoint: {{every: {value}}}}}\n')
    assert code == "AIF208"
    assert message.startswith("`every`: expected a duration such as `30s`")


def test_a_quota_takes_a_number_or_a_size() -> None:
    platform = (
        "apiVersion: aif.dev/v1alpha1\nkind: Platform\nmetadata: {name: p}\nspec:\n  environments: [{name: local}]\n"
    )
    ((code, message, _),) = said(platform + "  tenants: [{name: t, quota: {memory: lots}}]\n", Platform)
    assert code == "AIF208"
    assert message.startswith("`memory`: expected a whole number, or CPU cores")


def test_keys_are_checked_too() -> None:
    assert of(more="  env: {1A: {value: x}}\n") == [
        ("AIF207", "`1A` can't be a key here", "use letters, digits and `_`, beginning with a letter")
    ]


def test_long_values_are_shortened() -> None:
    ((_, message, _),) = of(training=f'  training: {{model: "a:b", epochs: {"x" * 500}}}\n')
    assert len(message) < 150


def test_did_you_mean() -> None:
    assert schema.did_you_mean("acuracy", ["accuracy", "mse"]) == "did you mean `accuracy`?"
    assert schema.did_you_mean("zzz", ["b", "a"]) == "known are `a`, `b`"
    assert schema.did_you_mean("zzz", []) == "known are none"
