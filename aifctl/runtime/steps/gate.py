"""gate: holds the evaluation's metrics against the spec's bounds. What fails ends the run and shows the worst rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aifctl.contract import GateConfig, Kind
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.data import Array
from aifctl.runtime.job import Job
from aifctl.runtime.store import Published

WORST = 10
"""Rows shown of a failed gate."""
HINT = "look at these rows first; train longer or mend their labels, or change `evaluation.gate`"


def run(job: Job) -> dict[str, Any]:
    config = job.config(GateConfig)
    found = [published for published in job.inputs.values() if published.about.get("kind") == Kind.EVALUATE]
    evaluation = found[0] if found else job.input("evaluate")
    metrics = evaluation.read_json("metrics.json")["metrics"]
    problems = [text for name, bounds in config.bounds.items() for text in _problems(name, metrics, bounds)]
    if problems:
        notes = worst_rows(evaluation)
        raise Report(
            *(Diagnostic("AIF818", text, HINT, notes=notes if n == 0 else ()) for n, text in enumerate(problems))
        )
    checked = {name: metrics[name] for name in config.bounds}
    job.log(gate="passed", **checked)
    return {"passed": True, "metrics": checked, "bounds": {name: dict(b) for name, b in config.bounds.items()}}


def worst_rows(evaluation: Published) -> tuple[str, ...]:
    """A table of the rows that were most wrong: of classes the most confident errors, of numbers the largest ones."""
    with np.load(evaluation.file("predictions.npz"), allow_pickle=False) as arrays:
        row, label, predicted, confidence = (arrays[name] for name in ("row", "label", "predicted", "confidence"))
    labels = evaluation.read_json("metrics.json")["labels"]
    if np.isnan(confidence).all():
        return _table(("row", "label", "predicted", "off by"), _numbers(row, label, predicted))
    wrong = np.flatnonzero(label != predicted)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:WORST]
    lines = [(str(row[i]), _name(labels, label[i]), _name(labels, predicted[i]), f"{confidence[i]:.3f}") for i in worst]
    count = f"{len(wrong)} of {len(label)} rows of the split are wrong, the most confident ones first:"
    return (count, *_table(("row", "label", "predicted", "confidence"), lines))


def _problems(name: str, metrics: Mapping[str, float], bounds: Mapping[str, float]) -> Iterator[str]:
    value = metrics.get(name)
    if value is None:
        yield f"the gate asks for `{name}`, which was not measured"
        return
    least, greatest = bounds.get("min"), bounds.get("max")
    # `not >=` and not `<`: a NaN must fail.
    if least is not None and not value >= least:
        yield f"{name} is {_shown(value, least)}, the gate asks for at least {least:g}"
    if greatest is not None and not value <= greatest:
        yield f"{name} is {_shown(value, greatest)}, the gate asks for at most {greatest:g}"


def _shown(value: float, bound: float) -> str:
    """Four digits, and as many more as it takes to tell the value from the bound."""
    for digits in range(4, 17):
        text = f"{value:.{digits}g}"
        if math.isnan(value) or float(text) != bound:
            return text
    return repr(value)


def _numbers(row: Array, label: Array, predicted: Array) -> list[tuple[str, ...]]:
    off = np.abs(predicted.reshape(len(label), -1) - label.reshape(len(label), -1)).max(axis=1)
    worst = np.argsort(-off, kind="stable")[:WORST]
    flat = predicted.reshape(len(label), -1)[:, 0]
    return [(str(row[i]), f"{float(np.ravel(label[i])[0]):g}", f"{flat[i]:g}", f"{off[i]:g}") for i in worst]


def _name(labels: list[str] | None, code: Any) -> str:
    return str(code) if labels is None else labels[int(code)]


def _table(header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
    return tuple(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in (header, *lines)
    )
