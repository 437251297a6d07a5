"""verify: holds an export against the model it was made of, before anybody serves it. Two gates, both must pass.

**Parity** asks whether the model's arithmetic was exported right. Both sides get the same feature tensors, each in the
form it expects. What the bundle's model expects follows from the bundle's own bundle.json: raw features where it says
that preprocessing is in the graph, and else what the reference's preprocessing makes of them, because that is what a
model without preprocessing is given. So parity says nothing about a bundle that forgot its preprocessing.

**Raw rows** asks whether the bundle does what was tested, as it will be asked when it serves: test rows go as plain
dicts, through JSON, into `LoadedBundle.predict_rows`, the server's own path, and nothing of training touches them.
The outputs must be those of the reference (unless the export is quantized), and no metric may drop by more than
`max_metric_drop`. A few rows are asked for one by one, too, as most requests are: an answer must not depend on what
else is in the batch. A bundle that dropped its preprocessing fails here. Where callers preprocess (`client`), the
reference plays the caller.

The reference is fp32, evaluation mode, CPU. Publishes verify.json, the evidence a release carries.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aifctl.contract import Kind, VerifyConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import bundle, frameworks, metrics
from aifctl.runtime.bundle import LoadedBundle
from aifctl.runtime.data import Prepared, RowError, Split
from aifctl.runtime.job import Job, Stopped
from aifctl.runtime.signature import Arrays, Tensor

WORST = 5
"""Rows shown in a diagnostic."""
LATENCY_CALLS = 20
ALONE = 3
"""Rows that are asked for one by one."""


def run(job: Job) -> dict[str, Any]:
    """Raises Report with all findings: AIF833 parity, AIF834 outputs from raw rows, AIF835 metrics from raw rows."""
    config = job.config(VerifyConfig)
    split = Prepared.open(job.dataset(config.dataset)).split(config.split)
    # All of the reference's answers first: the bundle may bring code with the same module names.
    expected = _expected(job, split)
    loaded = bundle.load(job.input(f"export-{config.export}").path)
    parity, findings = check_parity(loaded, expected, config)
    from_rows, more = check_rows(loaded, expected, config)
    findings += more
    evidence = {"parity": parity, **from_rows, "latency_ms": _latency(loaded, expected)}
    (job.path / "verify.json").write_text(json.dumps(evidence, indent=1, sort_keys=True), encoding="utf-8")
    if findings:
        raise Report(*findings)
    job.log(export=config.export, greatest_difference=parity["greatest_difference"], **from_rows["metrics"])
    return evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the reference says of some rows."""

    split: Split
    model_inputs: Arrays
    """What the model gets of them: features after preprocessing."""
    outputs: Any
    output: Tensor

    @property
    def raw(self) -> Arrays:
        return self.split.features

    def row(self, position: int) -> Expected:
        one = slice(position, position + 1)
        return Expected(
            split=self.split.take(np.array([position])),
            model_inputs={name: array[one] for name, array in self.model_inputs.items()},
            outputs=self.outputs[one],
            output=self.output,
        )


def check_parity(
    loaded: LoadedBundle, expected: Expected, config: VerifyConfig
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Gate 1. A quantized export's differences are measured and not held against it."""
    prep = loaded.about.preprocessing
    inputs = expected.raw if prep is not None and prep.serve == "graph" else expected.model_inputs
    try:
        outputs = _answer(lambda: loaded.run(inputs), loaded, expected, config)
    except Report as report:
        return {"rows": len(expected.split), "greatest_difference": None}, list(report.diagnostics)
    difference = Difference.between(expected, outputs, config)
    evidence = {"rows": len(expected.split), "greatest_difference": difference.greatest}
    if config.quantized or difference.within:
        return evidence, []
    what = f"export `{config.export}` does not compute what the trained model computes"
    hint = "the model was changed on its way: other weights, training mode, or an operator that differs"
    return evidence, [difference.diagnostic("AIF833", what, hint)]


def check_rows(
    loaded: LoadedBundle, expected: Expected, config: VerifyConfig
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Gate 2, from raw rows."""
    try:
        outputs = _answer(lambda: _from_rows(loaded, expected), loaded, expected, config)
    except Report as report:
        return {"metrics": {}, "reference": {}}, list(report.diagnostics)
    difference = Difference.between(expected, outputs, config)
    findings = []
    if not (config.quantized or difference.within):
        what = f"export `{config.export}` answers raw rows of `{config.split}` otherwise than the trained model"
        hint = "preprocessing is missing from the bundle, or is not the one the model was trained with"
        findings.append(difference.diagnostic("AIF834", what, hint))
    else:
        findings += _check_alone(loaded, expected, config)
    reference, exported = _measured(expected.outputs, expected, config), _measured(outputs, expected, config)
    for name, value in exported.items():
        lost = metrics.drop(name, reference[name], value)
        if lost > config.max_metric_drop:
            notes = _answers(outputs, difference, expected, loaded.labels)
            findings.append(_dropped(name, (reference[name], value, lost), notes, config))
    evidence = {"metrics": exported, "reference": reference, "raw_rows_greatest_difference": difference.greatest}
    return evidence, findings


def _check_alone(loaded: LoadedBundle, expected: Expected, config: VerifyConfig) -> list[Diagnostic]:
    """Of the first rows, each asked for alone: they must get the answers that they got among the others."""
    for position in range(min(ALONE, len(expected.split))):
        row = expected.row(position)
        try:
            outputs = _answer(lambda row=row: _from_rows(loaded, row), loaded, row, config)  # type: ignore[misc]
        except Report as report:
            return list(report.diagnostics)
        difference = Difference.between(row, outputs, config)
        if not (config.quantized or difference.within):
            what = f"export `{config.export}` answers a row of `{config.split}` otherwise when it is asked for alone"
            hint = "compute each row by itself: no mean of the batch in preprocessing, no batch norm in training mode"
            return [difference.diagnostic("AIF834", what, hint)]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two outputs for the same rows, compared as `numpy.isclose` does: |a - b| <= atol + rtol * |reference|."""

    reference: Any
    exported: Any
    excess: Any
    """By row, the greatest of |a - b| - (atol + rtol * |reference|); infinite where only one is a number."""
    numbers: Any
    output: Tensor
    rtol: float
    atol: float

    @classmethod
    def between(cls, expected: Expected, exported: Any, config: VerifyConfig) -> Difference:
        a = expected.outputs.astype("float64").reshape(len(exported), -1)
        b = exported.astype("float64").reshape(len(exported), -1)
        with np.errstate(invalid="ignore"):
            excess = np.abs(a - b) - (config.atol + config.rtol * np.abs(a))
        excess = np.where(np.isnan(a) & np.isnan(b), -config.atol, np.where(np.isnan(excess), np.inf, excess))
        return cls(
            reference=a,
            exported=b,
            excess=excess,
            numbers=expected.split.numbers,
            output=expected.output,
            rtol=config.rtol,
            atol=config.atol,
        )

    @property
    def within(self) -> bool:
        return bool((self.excess <= 0).all())

    @property
    def greatest(self) -> float | None:
        """None where a value is not finite."""
        value = float(np.max(np.abs(self.reference - self.exported), initial=0.0))
        return value if np.isfinite(value) else None

    def diagnostic(self, code: str, what: str, hint: str) -> Diagnostic:
        bad = int((self.excess > 0).any(axis=1).sum())
        message = (
            f"{what}: {bad} of {len(self.excess)} rows differ by more than {self.atol:g} + {self.rtol:g} of the value, "
            f"at most by {'not a number' if self.greatest is None else f'{self.greatest:.3g}'}"
        )
        return Diagnostic(code, message, hint=hint, notes=self.worst())

    def worst(self) -> tuple[str, ...]:
        """A small table of the rows that differ most, each by the value of it that does."""
        order = np.argsort(-self.excess.max(axis=1), kind="stable")[:WORST]
        lines = [f"{'row':>7}  {self.output.name:<18}{'reference':>13}{'exported':>13}"]
        for row in order:
            column = int(np.argmax(self.excess[row]))
            place = f"[{column}]" if self.excess.shape[1] > 1 else ""
            values = f"{self.reference[row, column]:>13.6g}{self.exported[row, column]:>13.6g}"
            lines.append(f"{self.numbers[row]:>7}  {place:<18}{values}")
        return tuple(lines)


def _expected(job: Job, split: Split) -> Expected:
    reference = frameworks.load_reference(job.input(Kind.TRAIN), job.code)
    return Expected(
        split=split,
        model_inputs=reference.transform(split.features),
        outputs=reference.predict(split.features),
        output=reference.signature.outputs[0],
    )


def _from_rows(loaded: LoadedBundle, expected: Expected) -> Arrays:
    prep = loaded.about.preprocessing
    if prep is not None and prep.serve == "client":
        return loaded.predict(expected.model_inputs)
    columns = [column for tensor in loaded.signature.inputs for column in tensor.columns]
    frame = expected.split.rows[columns]
    # As the server gets them: JSON has no NaN and no NumPy types.
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    return loaded.predict_rows(rows)


def _answer(call: Callable[[], Arrays], loaded: LoadedBundle, expected: Expected, config: VerifyConfig) -> Any:
    """The bundle's main output. Raises Report (AIF834) where it has none of the right shape, or fails."""
    name, hint = expected.output.name, "export the model again; the bundle and the training do not belong together"
    try:
        outputs = call()
    except (Report, Stopped):
        raise
    except Exception as error:  # a runtime of another project, or user code, may raise anything
        text = (str(error).strip().splitlines() or [""])[0]
        known = f"row {expected.split.numbers[error.rows[0]]}: " if isinstance(error, RowError) and error.rows else ""
        message = f"export `{config.export}` can't answer: {known}{type(error).__name__}: {text}"
        raise Report(Diagnostic("AIF834", message, hint=hint)) from error
    if name not in outputs or outputs[name].shape != expected.outputs.shape:
        given = ", ".join(f"`{key}` of shape {value.shape}" for key, value in outputs.items())
        message = (
            f"export `{config.export}` gives {given}, the trained model `{name}` of shape {expected.outputs.shape}"
        )
        raise Report(Diagnostic("AIF834", message, hint=hint))
    return outputs[name]


def _measured(outputs: Any, expected: Expected, config: VerifyConfig) -> dict[str, float]:
    label = expected.split.label
    if label is None or not config.metrics:
        return {}
    return metrics.measure(config.metrics, label, outputs, expected.output.kind or metrics.VALUE)


def _answers(outputs: Any, difference: Difference, expected: Expected, labels: Sequence[str] | None) -> tuple[str, ...]:
    """A small table of what rows are and what both say of them: first those that only the export gets wrong."""
    kind, label = expected.output.kind or metrics.VALUE, expected.split.label
    assert label is not None, "metrics were measured against it"
    said = [metrics.score(label, values, kind).predicted for values in (expected.outputs, outputs)]
    lost = np.zeros(len(label)) if kind == metrics.VALUE else (said[0] == label) & (said[1] != label)
    order = np.lexsort((-difference.excess.max(axis=1), ~lost.astype(bool)))[:WORST]

    def text(value: Any) -> str:
        return f"{value.item():.6g}" if kind == metrics.VALUE else str(labels[int(value)] if labels else value)[:20]

    lines = [f"{'row':>7}  {'label':<20}  {'reference':<20}  exported"]
    for row in order:
        cells = [text(column[row]).ljust(20) for column in (label, *said)]
        lines.append(f"{difference.numbers[row]:>7}  {'  '.join(cells)}".rstrip())
    return tuple(lines)


def _dropped(name: str, values: tuple[float, float, float], notes: tuple[str, ...], config: VerifyConfig) -> Diagnostic:
    reference, value, lost = values
    message = (
        f"`{name}` of export `{config.export}` from raw rows is {value:.4f}, the trained model's is {reference:.4f}: "
        f"it lost {lost:.4f}, {config.max_metric_drop:g} is allowed"
    )
    hint = "look at how rows become the model's inputs when it serves"
    return Diagnostic("AIF835", message, hint=hint, notes=notes)


def _latency(loaded: LoadedBundle, expected: Expected) -> float | None:
    """Median milliseconds of a call with one row, on this machine."""
    prep = loaded.about.preprocessing
    source = expected.model_inputs if prep is not None and prep.serve == "client" else expected.raw
    one = {name: array[:1] for name, array in source.items()}
    times = []
    try:
        for _ in range(LATENCY_CALLS):
            started = time.perf_counter()
            loaded.predict(one)
            times.append(time.perf_counter() - started)
    except Exception:  # noqa: BLE001 - what fails here has been reported by the gates
        return None
    return round(1000 * sorted(times)[len(times) // 2], 3)
