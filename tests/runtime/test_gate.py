"""The gate on the digits' real evaluation: what passes, what fails, and the rows it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aifctl.contract import EXIT_FAILED, EvaluateConfig, GateConfig, Kind
from aifctl.diagnostics import Report
from aifctl.runtime.steps import gate


@pytest.fixture(scope="module")
def evaluated(trained: Any) -> Any:
    bench, prepared, train = trained
    config = EvaluateConfig(task="classification", dataset="digits", split="test", metrics=("accuracy", "log_loss"))
    return bench, bench.run(bench.step(Kind.EVALUATE, config, {"train": train.digest, "prepare": prepared.digest}))


def _spec(evaluated: Any, bounds: dict[str, dict[str, float]]) -> Any:
    bench, evaluation = evaluated
    return bench.step(Kind.GATE, GateConfig(bounds=bounds), {"evaluate": evaluation.digest})


def test_a_gate_that_holds(evaluated: Any) -> None:
    bench, evaluation = evaluated
    value = evaluation.outputs["metrics"]["accuracy"]
    passed = bench.run(_spec(evaluated, {"accuracy": {"min": value}, "log_loss": {"max": 1.0, "min": 0.0}}))
    assert passed.outputs["passed"] is True
    assert passed.outputs["metrics"]["accuracy"] == value
    assert passed.outputs["bounds"] == {"accuracy": {"min": value}, "log_loss": {"max": 1, "min": 0}}


def test_a_gate_that_fails_shows_metric_threshold_and_rows(evaluated: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench, evaluation = evaluated
    metrics = evaluation.outputs["metrics"]
    spec = _spec(evaluated, {"accuracy": {"min": 0.999}, "log_loss": {"max": 0.001}})
    assert bench.main(spec) == EXIT_FAILED
    err = capsys.readouterr().err
    assert f"error[AIF818]: accuracy is {metrics['accuracy']:.4g}, the gate asks for at least 0.999" in err
    assert f"error[AIF818]: log_loss is {metrics['log_loss']:.4g}, the gate asks for at most 0.001" in err
    assert bench.store.find(spec.digest) is None

    with np.load(evaluation.file("predictions.npz")) as arrays:
        row, label, predicted, confidence = (arrays[n] for n in ("row", "label", "predicted", "confidence"))
    wrong = np.flatnonzero(label != predicted)
    worst = wrong[np.argmax(confidence[wrong])]
    with pytest.raises(Report) as caught:
        bench.run(spec)
    first, second = caught.value.diagnostics
    assert second.notes == ()
    assert first.notes[0] == f"{len(wrong)} of 180 rows of the split are wrong, the most confident ones first:"
    assert first.notes[1].split() == ["row", "label", "predicted", "confidence"]
    assert first.notes[2].split() == [
        str(row[worst]),
        str(label[worst]),
        str(predicted[worst]),
        f"{confidence[worst]:.3f}",
    ]
    assert len(first.notes) == 2 + min(len(wrong), gate.WORST)
    shown = [float(note.split()[-1]) for note in first.notes[2:]]
    assert shown == sorted(shown, reverse=True)


def test_a_metric_that_was_not_measured_fails(evaluated: Any) -> None:
    with pytest.raises(Report, match="AIF818: the gate asks for `roc_auc`, which was not measured"):
        evaluated[0].run(_spec(evaluated, {"roc_auc": {"min": 0.5}}))


@pytest.mark.parametrize(
    ("value", "bounds", "problem"),
    [
        (0.95, {"min": 0.95}, None),
        (0.95, {"max": 0.95}, None),
        (0.9499999, {"min": 0.95}, "m is 0.9499999, the gate asks for at least 0.95"),
        (float("nan"), {"min": 0.1}, "m is nan, the gate asks for at least 0.1"),
        (float("nan"), {"max": 0.1}, "m is nan, the gate asks for at most 0.1"),
        (float("inf"), {"max": 3}, "m is inf, the gate asks for at most 3"),
    ],
)
def test_bounds_are_inclusive_and_nan_never_passes(value: float, bounds: dict[str, float], problem: str | None) -> None:
    assert list(gate._problems("m", {"m": value}, bounds)) == ([] if problem is None else [problem])


def test_a_regressions_worst_rows_are_the_farthest_off(bench: Any) -> None:
    from aifctl.runtime.store import Store

    attempt = Store(bench.site.store).attempt("0" * 64, "a1")
    predicted = np.array([1.0, 5.0, 3.0])
    np.savez(
        attempt.path / "predictions.npz",
        row=np.array([4, 8, 9]),
        label=np.array([1.5, 2.0, 2.75]),
        predicted=predicted,
        confidence=np.full(3, np.nan),
    )
    (attempt.path / "metrics.json").write_text('{"metrics": {}, "labels": null}')
    notes = gate.worst_rows(attempt.publish({}))
    assert [note.split() for note in notes] == [
        ["row", "label", "predicted", "off", "by"],
        ["8", "2", "5", "3"],
        ["4", "1.5", "1", "0.5"],
        ["9", "2.75", "3", "0.25"],
    ]
