"""Metrics against numbers worked out by hand and by scikit-learn, and evaluate on a model of the real digits."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from aifctl.contract import EvaluateConfig, Kind, Split
from aifctl.diagnostics import Report
from aifctl.runtime.metrics import METRICS, drop, measure

CONFIG = EvaluateConfig(
    task="classification", dataset="digits", split="test", metrics=("accuracy", "f1_macro", "log_loss", "roc_auc")
)


def _evaluate(trained: Any, **changes: Any) -> Any:
    bench, prepared, train = trained
    config = {**asdict(CONFIG), **changes}
    return bench.run(bench.step(Kind.EVALUATE, config, {"train": train.digest, "prepare": prepared.digest}))


def test_evaluates_a_model_of_the_digits(trained: Any) -> None:
    published = _evaluate(trained)
    assert sorted(published.files) == ["confusion.png", "metrics.json", "predictions.npz"]
    metrics = published.outputs["metrics"]
    assert set(metrics) == {"accuracy", "f1_macro", "log_loss", "roc_auc"}
    assert 0.9 < metrics["accuracy"] < 1
    assert published.file("confusion.png").read_bytes().startswith(b"\x89PNG")


def test_the_predictions_are_those_of_the_rows_they_name(trained: Any) -> None:
    """Worked out again from the csv file and the weights, without any of aifctl."""
    import pandas as pd

    bench, _, train = trained
    with np.load(_evaluate(trained).file("predictions.npz")) as arrays:
        row, label, predicted, confidence = (arrays[n] for n in ("row", "label", "predicted", "confidence"))
    raw = pd.read_csv(bench.data / "digits.csv").iloc[row - 1]
    with np.load(train.file("model/model.npz")) as model:
        logits = raw.iloc[:, :64].to_numpy() / 16 @ model["coef"].T + model["intercept"]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert label.tolist() == raw["digit"].tolist()
    assert predicted.tolist() == chances.argmax(axis=1).tolist()
    np.testing.assert_allclose(confidence, chances.max(axis=1), rtol=1e-5)


def test_the_table_by_class_adds_up(trained: Any) -> None:
    published = _evaluate(trained)
    found = published.read_json("metrics.json")
    matrix = np.array(found["confusion"])
    assert matrix.sum() == found["rows"] == 180
    assert matrix.trace() / 180 == pytest.approx(found["metrics"]["accuracy"])
    assert [row["name"] for row in found["per_class"]] == [str(n) for n in range(10)]
    assert [row["rows"] for row in found["per_class"]] == matrix.sum(axis=1).tolist()
    assert np.mean([row["f1"] for row in found["per_class"]]) == pytest.approx(found["metrics"]["f1_macro"])


def test_the_training_rows_are_another_evaluation(trained: Any) -> None:
    test, train = _evaluate(trained), _evaluate(trained, split="train")
    assert test.digest != train.digest
    assert train.outputs["rows"] == 1437
    assert train.outputs["metrics"]["accuracy"] > test.outputs["metrics"]["accuracy"]


def test_without_metrics_the_tasks_own_are_measured(trained: Any) -> None:
    assert set(_evaluate(trained, metrics=[]).outputs["metrics"]) == {"accuracy", "f1_macro"}


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"metrics": ["acuracy"]}, "AIF819", "`acuracy` is no metric of a class"),
        ({"metrics": ["rmse"]}, "AIF819", "`rmse` is no metric of a class"),
        ({"split": "holdout"}, "AIF817", "the dataset has no split `holdout`"),
    ],
)
def test_what_can_not_be_measured(trained: Any, changes: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(Report) as caught:
        _evaluate(trained, **changes)
    [finding] = caught.value.diagnostics
    assert (finding.code, finding.message) == (code, message)


def test_a_split_without_rows(bench: Any) -> None:
    prepared = bench.prepare(split=asdict(Split(fractions={"train": 1.0, "test": 0.0})))
    train = bench.train(prepared)
    spec = bench.step(Kind.EVALUATE, CONFIG, {"train": train.digest, "prepare": prepared.digest})
    with pytest.raises(Report, match="AIF817: split `test` of `digits` has no rows to measure with"):
        bench.run(spec)


def test_metrics_by_hand() -> None:
    """Three classes, five rows: 0 0 1 1 2, predicted 0 1 1 1 0."""
    label = np.array([0, 0, 1, 1, 2])
    outputs = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.1, 0.9, 0.0], [0.5, 0.3, 0.2]])
    found = measure(
        ("accuracy", "precision_macro", "recall_macro", "f1_macro", "log_loss"), label, outputs, "probabilities"
    )
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["precision_macro"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert found["recall_macro"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["f1_macro"] == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.1, 0.6, 0.9, 0.2]).mean())


def test_a_class_that_no_row_has_and_none_was_given_does_not_count() -> None:
    label, outputs = np.array([0, 0, 1]), np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    names = ("precision_macro", "recall_macro", "f1_macro")
    assert measure(names, label, outputs, "probabilities") == dict.fromkeys(names, 1.0)


def test_logits_and_their_probabilities_measure_the_same() -> None:
    rng = np.random.default_rng(1)
    label, logits = rng.integers(0, 4, 100), rng.normal(size=(100, 4)) * 30
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = ("accuracy", "log_loss", "roc_auc")
    by_logits, by_chances = (
        measure(names, label, out, kind) for out, kind in ((logits, "logits"), (chances, "probabilities"))
    )
    assert by_logits == pytest.approx(by_chances)


def test_one_column_is_the_chance_of_class_one() -> None:
    label, logits = np.array([0, 1, 1, 0]), np.array([[-2.0], [3.0], [-1.0], [-0.5]])
    assert measure(("accuracy", "roc_auc"), label, logits, "logits") == {"accuracy": 0.75, "roc_auc": 0.75}
    assert measure(("accuracy",), label, 1 / (1 + np.exp(-logits)), "probabilities") == {"accuracy": 0.75}


def test_regressions_by_hand() -> None:
    label, outputs = np.array([1.0, 2.0, 4.0], np.float32), np.array([[1.5], [2.0], [2.0]])
    found = measure(("mse", "rmse", "mae", "r2"), label, outputs, "value")
    mse = (0.25 + 0 + 4) / 3
    assert found == pytest.approx({"mse": mse, "rmse": mse**0.5, "mae": 2.5 / 3, "r2": 1 - 3 * mse / np.var(label) / 3})


@pytest.mark.parametrize(
    ("label", "outputs", "kind", "names", "message"),
    [
        ([0, 1], [[np.nan, 1], [0, 1]], "logits", ("accuracy",), "the model's outputs are not finite in 1 of 2 rows"),
        (
            [0, 1],
            [[np.inf, 1], [0, 1]],
            "probabilities",
            ("accuracy",),
            "the model's outputs are not finite in 1 of 2 rows",
        ),
        ([0, 1, 1], [[0, 1], [0, 1]], "logits", ("accuracy",), "the model gave outputs of shape [2, 2] for 3 rows"),
        ([0, 5], [[0, 1], [0, 1]], "logits", ("accuracy",), "the model tells 2 classes, the label has class 5"),
        ([1, 1], [[0, 1], [0, 1]], "logits", ("roc_auc",), "`roc_auc`"),
        ([1.0, 2.0], [[1, 2], [3, 4]], "value", ("mse",), "`mse` can't be computed"),
        ([1.0, 2.0], [[1], [3]], "value", ("accuracy",), "`accuracy` is no metric of a value"),
    ],
)
def test_outputs_that_can_not_be_scored(
    label: list[Any], outputs: Any, kind: str, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Report) as caught:
        measure(names, np.array(label), np.array(outputs, np.float64), kind)
    [finding] = caught.value.diagnostics
    assert finding.code == "AIF819"
    assert finding.message.startswith(message)


def test_a_drop_is_a_loss_whichever_way_the_metric_goes() -> None:
    assert drop("accuracy", 0.95, 0.90) == pytest.approx(0.05)
    assert drop("rmse", 1.0, 1.5) == pytest.approx(0.5)
    assert drop("accuracy", 0.90, 0.95) < 0
    assert {metric.goal for metric in METRICS.values()} == {"maximize", "minimize"}
