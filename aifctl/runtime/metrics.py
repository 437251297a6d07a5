"""Quality metrics by the names specs use, computed by scikit-learn; for training, evaluation and verify."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.data import Array
from aifctl.runtime.signature import VALUE as VALUE_OUTPUT
from aifctl.runtime.signature import probabilities

CLASS, VALUE = "class", "value"


@dataclass(frozen=True, slots=True)
class Scored:
    """Labels and what a model said. Of classes: probabilities (n, classes), codes (n,). Of values: shape (n, …)."""

    label: Array
    predicted: Array
    probabilities: Array | None = None

    @property
    def classes(self) -> Array:
        return np.arange(0 if self.probabilities is None else self.probabilities.shape[1])


@dataclass(frozen=True, slots=True)
class Metric:
    of: str
    """CLASS or VALUE."""
    goal: str
    """maximize or minimize."""
    compute: Callable[[Any, Scored], float]
    """Given sklearn.metrics."""


def _macro(name: str) -> Callable[[Any, Scored], float]:
    """The mean over the classes that the rows have or were given: one that is in neither says nothing of the model."""

    def compute(sk: Any, s: Scored) -> float:
        return float(getattr(sk, name)(s.label, s.predicted, average="macro", zero_division=0))

    return compute


def _roc_auc(sk: Any, s: Scored) -> float:
    """One against the rest, macro average (scikit-learn's `ovr`)."""
    assert s.probabilities is not None
    if s.probabilities.shape[1] == 2:
        return float(sk.roc_auc_score(s.label, s.probabilities[:, 1]))
    return float(sk.roc_auc_score(s.label, s.probabilities, multi_class="ovr", labels=s.classes))


METRICS: dict[str, Metric] = {
    "accuracy": Metric(CLASS, "maximize", lambda sk, s: float(sk.accuracy_score(s.label, s.predicted))),
    "f1_macro": Metric(CLASS, "maximize", _macro("f1_score")),
    "precision_macro": Metric(CLASS, "maximize", _macro("precision_score")),
    "recall_macro": Metric(CLASS, "maximize", _macro("recall_score")),
    "log_loss": Metric(CLASS, "minimize", lambda sk, s: float(sk.log_loss(s.label, s.probabilities, labels=s.classes))),
    "roc_auc": Metric(CLASS, "maximize", _roc_auc),
    "mse": Metric(VALUE, "minimize", lambda sk, s: float(sk.mean_squared_error(s.label, s.predicted))),
    "rmse": Metric(VALUE, "minimize", lambda sk, s: float(sk.root_mean_squared_error(s.label, s.predicted))),
    "mae": Metric(VALUE, "minimize", lambda sk, s: float(sk.mean_absolute_error(s.label, s.predicted))),
    "r2": Metric(VALUE, "maximize", lambda sk, s: float(sk.r2_score(s.label, s.predicted))),
}


def measure(names: Iterable[str], label: Array, outputs: Array, kind: str) -> dict[str, float]:
    """Metric → value, for outputs of a `kind` (logits, probabilities, value), shape (n, …) like the model gives them.

    Raises Report: AIF819 for unknown metrics, outputs that are not finite or of another shape, and undefined metrics.
    """
    return measure_scored(names, score(label, outputs, kind))


def score(label: Array, outputs: Array, kind: str) -> Scored:
    """Raises Report AIF819 for outputs that can't be scored."""
    if outputs.shape[:1] != label.shape[:1]:
        _fail(f"the model gave outputs of shape {list(outputs.shape)} for {len(label)} rows")
    bad = ~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)
    if bad.any():
        rate = "try a smaller learning rate, and look for empty values in the features"
        _fail(f"the model's outputs are not finite in {int(bad.sum())} of {len(outputs)} rows", rate)
    if kind == VALUE_OUTPUT:
        return Scored(label, outputs.reshape(label.shape) if outputs.size == label.size else outputs)
    chances = probabilities(outputs, kind)
    if len(label) and int(label.max()) >= chances.shape[1]:
        _fail(f"the model tells {chances.shape[1]} classes, the label has class {int(label.max())}")
    return Scored(label, chances.argmax(axis=1), chances)


def measure_scored(names: Iterable[str], scored: Scored) -> dict[str, float]:
    import sklearn.metrics
    from sklearn.exceptions import UndefinedMetricWarning

    of = VALUE if scored.probabilities is None else CLASS
    values = {}
    for name in names:
        metric = METRICS.get(name)
        if metric is None or metric.of != of:
            known = ", ".join(n for n, m in METRICS.items() if m.of == of)
            _fail(f"`{name}` is no metric of a {of}", f"these are: {known}")
        try:
            with warnings.catch_warnings():
                # What is undefined comes back as NaN, which is a finding below.
                warnings.simplefilter("ignore", UndefinedMetricWarning)
                values[name] = metric.compute(sklearn.metrics, scored)
        except ValueError as error:
            _fail(f"`{name}` can't be computed: {str(error).splitlines()[0]}", "leave it out, or use more rows")
        if not np.isfinite(values[name]):
            _fail(f"`{name}` is not defined on {len(scored.label)} rows", "leave it out, or use more rows")
    return values


def drop(name: str, reference: float, value: float) -> float:
    """How much worse `value` is than `reference`; negative where it is better."""
    return reference - value if METRICS[name].goal == "maximize" else value - reference


def _fail(message: str, hint: str | None = None) -> NoReturn:
    raise Report(Diagnostic("AIF819", message, hint))
