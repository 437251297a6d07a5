"""Any command that trains: it is told by its environment where its data lies and where its model goes.

    AIF_DATA_<NAME>      folder of a prepared dataset: table.parquet, split.npz (row numbers by split), schema.json
    AIF_PARAMS           hyperparameters, JSON; AIF_EPOCHS, AIF_BATCH, AIF_SEED and AIF_PRECISION beside them
    AIF_CHECKPOINT_DIR   folder that outlives a killed attempt
    AIF_MODEL_DIR        folder whose content is the model
    AIF_DEVICE           what `--device` said; not set where it said nothing
    AIF_METRICS          file for metrics, a JSON object a line: {"name": …, "value": …, "step": …}
    MLFLOW_RUN_ID        the run that MLflow's client logs to, where tracking is on

The model is asked by `predict(model_dir, batch) -> {output name: array}`: in evaluation, by both gates, by the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from aifctl.contract import CustomTraining, ExportConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.archives import copy_tree
from aifctl.runtime.context import Context, user_code
from aifctl.runtime.frameworks import Forward, Trained, load_reference
from aifctl.runtime.job import Stopped, import_attribute
from aifctl.runtime.signature import Arrays
from aifctl.runtime.store import Fault

__all__ = ["export", "load", "load_reference", "train"]

FOLDER = "model"
TAIL = 12
"""Lines of the command's standard error that a diagnostic shows."""
POLL = 0.2
"""Seconds between two looks at whether the step was told to stop."""
KEEP_PERIOD = 60.0
"""Seconds between two times that the checkpoint folder is sent to the store."""


def train(context: Context) -> None:
    """Runs the command in the code folder. Raises Report (AIF828, AIF829), and Stopped when it was told to stop."""
    custom = _custom(context.config.custom)
    model = context.folder / FOLDER
    model.mkdir()
    metrics = context.checkpoints.folder / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    code, tail = _run(context, custom, {"AIF_MODEL_DIR": str(model), "AIF_METRICS": str(metrics)})
    if context.should_stop:
        context.surroundings.keep_checkpoints()
        raise Stopped
    if code != 0:
        message = f"`{' '.join(custom.command)}` ended with exit code {code}"
        raise Report(Diagnostic("AIF828", message, hint="its last lines are below; the log has all", notes=tail))
    if not _left_something(model / custom.produces):
        hint = f"write it to os.environ['AIF_MODEL_DIR']; there is {_listing(model)}"
        message = f"`{' '.join(custom.command)}` ended well and left nothing at `{custom.produces}`"
        raise Report(Diagnostic("AIF829", message, hint=hint, notes=tail))
    for name, value, step in read_metrics(metrics):
        context.log(name, value, step)


def load(trained: Trained) -> Forward:
    ask = predictor(_custom(trained.config.custom).predict, trained.folder / FOLDER, trained.code)
    names = [tensor.name for tensor in trained.signature.outputs]

    def forward(inputs: Arrays) -> Any:
        outputs = ask(inputs)
        return outputs[names[0]] if names else next(iter(outputs.values()))

    return forward


def outputs(trained: Trained, features: Arrays) -> Arrays:
    """All outputs by name, for the first look at a new model."""
    return predictor(_custom(trained.config.custom).predict, trained.folder / FOLDER, trained.code)(features)


def export(trained: Trained, config: ExportConfig, folder: Path) -> str:
    """The model's folder as it is; the bundle adds the code that `predict` is in."""
    copy_tree(trained.folder / FOLDER, folder / FOLDER)
    return FOLDER


def predictor(reference: str, model: Path, code: Path | None) -> Any:
    """`predict` as a function of features, its result checked. Raises Report: AIF805, AIF806, AIF830."""
    function = import_attribute(reference, code)

    def ask(features: Arrays) -> Arrays:
        with user_code(f"`{reference}`", code):
            result = function(model, dict(features))
        return _checked(result, reference, len(next(iter(features.values()))))

    return ask


def read_metrics(path: Path) -> Iterator[tuple[str, float, int]]:
    """Metrics the command wrote; a line that is none is passed over."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            yield str(entry["name"]), float(entry["value"]), int(entry.get("step", 0))
        except (ValueError, KeyError, TypeError):
            continue


def _checked(result: Any, reference: str, rows: int) -> Arrays:
    hint = "return a dict of output name to array, one entry a row"
    if not isinstance(result, Mapping) or not result:
        what = "an empty dict" if isinstance(result, Mapping) else f"{type(result).__name__}, not a dict"
        raise Report(Diagnostic("AIF830", f"`{reference}` gives {what}", hint=hint))
    arrays = {str(name): np.asarray(value) for name, value in result.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.shape[:1] != (rows,):
            message = f"`{reference}` gives `{name}` as {array.dtype} of shape {array.shape} for {rows} rows"
            raise Report(Diagnostic("AIF830", message, hint=hint))
    return {name: array.astype("float32") if array.dtype.kind == "f" else array for name, array in arrays.items()}


def _custom(custom: CustomTraining | None) -> CustomTraining:
    if custom is None:
        hint = "give `training.custom` a command, what it produces and a predict function"
        raise Report(Diagnostic("AIF821", "framework `custom` has no command", hint=hint))
    return custom


def _run(context: Context, custom: CustomTraining, places: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
    """The command's exit code and the last lines it wrote to standard error."""
    tail: deque[str] = deque(maxlen=TAIL)
    try:
        process = subprocess.Popen(
            list(custom.command), cwd=context.code, env=_environment(context, places), stderr=subprocess.PIPE
        )
    except OSError as error:
        hint = "the first word must be a program of the image; `python` is the one that runs aifctl"
        message = f"can't start `{custom.command[0]}`: {error.strerror}"
        raise Report(Diagnostic("AIF828", message, hint=hint)) from error
    assert process.stderr is not None
    reader = threading.Thread(target=_copy, args=(process.stderr, tail), daemon=True)
    reader.start()
    code = _wait(process, context)
    reader.join(timeout=5)
    return code, tuple(tail)


def _wait(process: subprocess.Popen[bytes], context: Context) -> int:
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(context, over), name="checkpoints", daemon=True)
    keeper.start()
    try:
        code = _ended(process, context)
    finally:
        over.set()
    keeper.join()  # what a stopped command has left is sent next, by one at a time
    return code


def _ended(process: subprocess.Popen[bytes], context: Context) -> int:
    told = False
    while True:
        try:
            return process.wait(timeout=POLL)
        except subprocess.TimeoutExpired:
            if context.should_stop and not told:
                process.terminate()
                told = True


def _keep(context: Context, over: threading.Event) -> None:
    """Sends checkpoints until `over`; beside the loop that tells the command to stop, which waits for no upload."""
    while not over.wait(KEEP_PERIOD):
        with suppress(Fault):  # a store that is away for a while is no reason to lose the training
            context.surroundings.keep_checkpoints()


def _copy(stream: IO[bytes], tail: deque[str]) -> None:
    for line in stream:
        text = line.decode(errors="replace")
        sys.stderr.write(text)
        tail.append(text.rstrip())


def _environment(context: Context, places: Mapping[str, str]) -> dict[str, str]:
    config = context.config
    search = [str(context.code)] if context.code else []
    return {
        **os.environ,
        **context.variables,
        **places,
        **({} if context.device is None else {"AIF_DEVICE": context.device}),
        "AIF_PARAMS": json.dumps(dict(config.params)),
        "AIF_EPOCHS": str(config.epochs),
        "AIF_BATCH": str(config.batch),
        "AIF_SEED": str(config.seed),
        "AIF_PRECISION": config.precision,
        "AIF_CHECKPOINT_DIR": str(context.checkpoints.folder),
        # `python` in a command is the one that runs this step, with the packages of its environment.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join([*search, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def _left_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.is_file() and path.stat().st_size > 0


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing in it"
