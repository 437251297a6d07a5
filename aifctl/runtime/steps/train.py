"""train: fits preprocessing, trains by the framework asked for, and publishes the model with its signature.

Publishes the weights (model.safetensors, model.weights.h5, or model/ of a custom command), preprocessing.npz,
train.json, signature.json and history.json (every logged value). The model that was written is read back and asked
about real rows, so what is published can be loaded, and its signature says what it gives.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from aifctl.contract import Kind, TrainConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import frameworks, preprocessing
from aifctl.runtime.checkpoints import Checkpoints
from aifctl.runtime.context import Context, Rows, user_code
from aifctl.runtime.data import SPLITS, Prepared
from aifctl.runtime.frameworks import Trained, custom
from aifctl.runtime.job import Job
from aifctl.runtime.signature import Arrays, Signature, after, describe, output_kind
from aifctl.runtime.store import Fault
from aifctl.runtime.tracking import Tracker, open_tracker

LOOK_ROWS = 1000
"""Rows on which the signature's outputs are seen."""
PRECISIONS = ("fp32", "bf16-mixed", "fp16-mixed")


def run(job: Job) -> dict[str, Any]:
    """Raises Report for what can't be trained, and Stopped once it has saved where it was told to stop."""
    config = job.config(TrainConfig)
    _check_supported(config)
    framework = frameworks.module(config.framework)
    prepared = Prepared.open(job.dataset(config.dataset))
    trained, splits = _prepare(job, config, prepared)
    tracker = open_tracker(job)
    tracker.begin()
    tracker.params(_params(config))
    context = _context(job, trained, splits, tracker)
    started = time.monotonic()
    with _told_of_failure(tracker):
        framework.train(context)
        seconds = time.monotonic() - started
        _write(job, _with_outputs(trained, _some_rows(prepared), context.output), context)
    metrics = selected(context.history, config)
    tracker.artifacts(job.path, "model")
    tracker.finish()
    job.log(**metrics)
    return {
        "metrics": metrics,
        "epochs": config.epochs,
        "seconds": round(seconds, 3),
        "resumed_from": context.resumed_from,
    }


def selected(history: list[dict[str, Any]], config: TrainConfig) -> dict[str, float]:
    """The metrics of the weights that were kept: of the best epoch where one is selected, else the last of each."""
    best = [entry for entry in history if entry["name"] == config.checkpoint.best]
    if best:
        sign = -1 if config.checkpoint.goal == "maximize" else 1
        step = min(best, key=lambda entry: sign * entry["value"])["step"]
        history = [entry for entry in history if entry["step"] == step]
    return {entry["name"]: entry["value"] for entry in history}


@contextmanager
def _told_of_failure(tracker: Tracker) -> Iterator[None]:
    """After a fault, or told to stop, the step is tried again and goes on in the same MLflow run: it stays open."""
    try:
        yield
    except Fault:
        raise
    except Report:
        tracker.finish("FAILED")
        raise


@dataclass(frozen=True, slots=True)
class _JobSurroundings:
    job: Job
    tracker: Tracker

    def metric(self, name: str, value: float, step: int) -> None:
        self.tracker.metrics({name: value}, step)
        self.job.events.emit("metric", name=name, value=value, step=step)
        print(f"epoch={step} {name}={value:.6g}", flush=True)

    def event(self, event: str, **fields: Any) -> None:
        self.job.events.emit(event, **fields)

    def keep_checkpoints(self) -> None:
        if self.job.turn is not None:
            self.job.turn.check()
        self.job.store.keep_checkpoints(self.job.digest)

    @property
    def should_stop(self) -> bool:
        return self.job.stop.is_set()


def _check_supported(config: TrainConfig) -> None:
    if config.start_from is not None:
        hint = "leave `start_from` out: training starts from what `build` returns"
        raise frameworks.unsupported("this runtime can't start from another model's weights yet", hint)
    if config.precision not in PRECISIONS:
        raise frameworks.unsupported(f"no precision `{config.precision}`", f"known are {', '.join(PRECISIONS)}")
    if config.framework == "custom" and config.preprocessing is not None:
        hint = "do it in the command and in `predict`, and leave the section `preprocessing` out"
        raise frameworks.unsupported("a custom command does its own preprocessing", hint)
    if config.framework == "custom" and config.checkpoint.best is not None:
        hint = "let the command leave its best model, and leave `checkpoint.select` out"
        raise frameworks.unsupported("a custom command selects its own best model", hint)


def _prepare(job: Job, config: TrainConfig, prepared: Prepared) -> tuple[Trained, dict[str, Rows]]:
    """The model's surroundings with preprocessing fitted, and the splits as the model gets them."""
    raw = {name: prepared.split(name) for name in SPLITS if prepared.schema.splits.get(name)}
    if "train" not in raw:
        message = f"dataset `{config.dataset}` has no rows to train with"
        raise Report(Diagnostic("AIF817", message, hint="give the split `train` a share"))
    prep = None
    if config.preprocessing is not None:
        prep = frameworks.new_preprocessing(config.preprocessing.cls, job.code)
        with user_code("fitting the preprocessing", job.code):
            preprocessing.fit(prep, raw["train"].features)
    with user_code("preprocessing", job.code):
        splits = {name: Rows(preprocessing.transform(prep, s.features), s.label) for name, s in raw.items()}
    label = prepared.schema.label
    labels = prepared.labels
    caller = Signature.from_json(
        {
            "task": config.task,
            "inputs": prepared.signature_inputs(),
            "labels": labels,
            "classes": None if label is None else label.classes,
        }
    )
    model = after(caller, splits["train"].features) if prep is not None else caller
    trained = Trained(
        folder=job.path,
        code=job.code,
        config=config,
        signature=caller,
        model=model,
        preprocessing=prep,
    )
    return trained, splits


def _context(job: Job, trained: Trained, splits: Mapping[str, Rows], tracker: Tracker) -> Context:
    config = trained.config
    checkpoints = Checkpoints(
        folder=job.store.checkpoints(job.digest),
        keep=config.checkpoint.keep,
        maximize=config.checkpoint.goal == "maximize",
        check=(lambda: None) if job.turn is None else job.turn.check,
    )
    return Context(
        config=config,
        signature=trained.model,
        splits=splits,
        checkpoints=checkpoints,
        surroundings=_JobSurroundings(job, tracker),
        device=job.site.device,
        folder=job.path,
        code=job.code,
        variables=_variables(job, tracker) if config.framework == "custom" else {},
    )


def _variables(job: Job, tracker: Tracker) -> dict[str, str]:
    """What a custom command is told beside its folders: the datasets it may read, and the run to log to."""
    variables = {}
    for published in job.inputs.values():
        config = published.about.get("config", {})
        if published.about.get("kind") == Kind.PREPARE:
            variables[f"AIF_DATA_{str(config['dataset']).upper().replace('-', '_')}"] = str(published.path)
    if tracker.run_id is not None and job.site.tracking is not None:
        variables |= {"MLFLOW_RUN_ID": tracker.run_id, "MLFLOW_TRACKING_URI": job.site.tracking}
    return variables


def _params(config: TrainConfig) -> dict[str, Any]:
    about = {"framework": config.framework, "epochs": config.epochs, "batch": config.batch, "seed": config.seed}
    return {**about, "precision": config.precision, **config.params}


def _some_rows(prepared: Prepared) -> Arrays:
    """Raw features of validation rows; of training rows where there are none."""
    name = next((n for n in ("validation", "train") if prepared.schema.splits.get(n)), "train")
    return {name: array[:LOOK_ROWS] for name, array in prepared.split(name).features.items()}


def _with_outputs(trained: Trained, features: Arrays, kind: str | None) -> Trained:
    """With the outputs seen on real rows: read back from the files, in fp32 on the CPU. Raises Report (AIF824).

    `kind` None takes what the rows show.
    """
    task, rows = trained.config.task, len(next(iter(features.values())))
    if trained.config.framework == "custom":
        seen = custom.outputs(trained, features)
    else:
        array = frameworks.reference(trained).predict(features)
        seen = {kind or output_kind(task, array): array}
    frameworks.check_output(trained.signature, rows, next(iter(seen.values())).shape)
    tensors = tuple(describe(name, array, kind or output_kind(task, array)) for name, array in seen.items())
    return replace(trained, signature=replace(trained.signature, outputs=tensors))


def _write(job: Job, trained: Trained, context: Context) -> None:
    frameworks.write_trained(trained)
    history = json.dumps(context.history, indent=1)
    (job.path / "history.json").write_text(history, encoding="utf-8")
