"""evaluate: runs the trained model (the fp32 reference, on the CPU) over a split and measures it.

Publishes metrics.json (metrics, per class, confusion), predictions.npz (row, label, predicted, confidence, outputs; by
row of the split) and, of classes, confusion.png. Passes no judgement: that is the gate's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from aifctl.contract import EvaluateConfig, Kind
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.data import Array, Prepared, Split
from aifctl.runtime.frameworks import load_reference
from aifctl.runtime.job import Job
from aifctl.runtime.metrics import CLASS, VALUE, Scored, measure_scored, score
from aifctl.runtime.store import Published
from aifctl.runtime.tracking import open_tracker

BATCH = 1024
"""Rows a call of the model; bounds memory."""
DEFAULTS = {CLASS: ("accuracy", "f1_macro"), VALUE: ("rmse", "mae", "r2")}


def run(job: Job) -> dict[str, Any]:
    config = job.config(EvaluateConfig)
    prepared = Prepared.open(job.dataset(config.dataset))
    split = prepared.split(config.split)
    if not len(split) or split.label is None:
        missing = "rows" if not len(split) else "label"
        raise Report(
            Diagnostic("AIF817", f"split `{config.split}` of `{config.dataset}` has no {missing} to measure with")
        )
    train = _trained(job)
    kind = train.read_json("signature.json")["outputs"][0]["kind"]
    outputs = _predict(job, train, split)
    scored = score(split.label, outputs, kind)
    names = config.metrics or DEFAULTS[VALUE if scored.probabilities is None else CLASS]
    metrics = measure_scored(names, scored)
    _write(job.path, split, scored, outputs, {"split": config.split, "metrics": metrics, "labels": prepared.labels})
    tracker = open_tracker(job)
    tracker.metrics({f"{config.split}_{name}": value for name, value in metrics.items()})
    tracker.artifacts(job.path, "evaluation")
    job.log(split=config.split, rows=len(split), **metrics)
    return {"metrics": metrics, "split": config.split, "rows": len(split)}


def _trained(job: Job) -> Published:
    found = [published for published in job.inputs.values() if published.about.get("kind") == Kind.TRAIN]
    return found[0] if found else job.input("train")


def _predict(job: Job, train: Published, split: Split) -> Array:
    """Outputs of the reference, shape (n, …). Its preprocessing is its own: it takes raw features."""
    reference = load_reference(train, job.code)
    return np.concatenate([np.asarray(reference.predict(batch.features)) for batch in split.batches(BATCH)])


def _write(folder: Path, split: Split, scored: Scored, outputs: Array, about: dict[str, Any]) -> None:
    found: dict[str, Any] = {**about, "rows": len(split)}
    if scored.probabilities is None:
        confidence: Array = np.full(len(split), np.nan)
    else:
        confidence = scored.probabilities.max(axis=1)
        found |= _by_class(scored, about["labels"])
        _draw(folder / "confusion.png", np.array(found["confusion"]), [row["name"] for row in found["per_class"]])
    np.savez(
        folder / "predictions.npz",
        row=split.numbers,
        label=scored.label,
        predicted=scored.predicted,
        confidence=confidence,
        outputs=outputs,
    )
    (folder / "metrics.json").write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")


def _by_class(scored: Scored, labels: list[str] | None) -> dict[str, Any]:
    """Precision, recall, F1 and rows of each class, and the confusion matrix: rows are labels, columns predictions."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    parts = precision_recall_fscore_support(scored.label, scored.predicted, labels=scored.classes, zero_division=0)
    names = labels or [str(code) for code in scored.classes]
    rows = [
        {"name": name, "precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
        for name, p, r, f, n in zip(names, *parts, strict=True)
    ]
    matrix = confusion_matrix(scored.label, scored.predicted, labels=scored.classes)
    return {"per_class": rows, "confusion": matrix.tolist()}


def _draw(path: Path, matrix: Array, names: list[str]) -> None:
    # The object API with its own canvas: pyplot would pick a display and keep the figure alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = min(16.0, 3 + 0.4 * len(names))
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(matrix, cmap="Blues")
    axes.set(xlabel="predicted", ylabel="label")
    if len(names) <= 40:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        for row, column in np.argwhere(matrix > 0):
            colour = "white" if matrix[row, column] > matrix.max() / 2 else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
    FigureCanvasAgg(figure).print_png(path)
