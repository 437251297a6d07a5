"""Frameworks, by name: each module trains a model, loads it as the reference, and exports it.

A module has `train(context)`, which leaves the trained model in `context.folder`; `load(trained)`, which gives the
model as a function of NumPy arrays, in fp32 and evaluation mode on the CPU. A module of `EXPORTS` has
`export(trained, config, folder)`, which writes the model of a bundle and returns the name of its file or folder.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pydantic

from aifctl.contract import ExportConfig, TrainConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import preprocessing
from aifctl.runtime.context import Context, user_code
from aifctl.runtime.job import import_attribute
from aifctl.runtime.signature import CLASSIFICATION, Arrays, Signature
from aifctl.runtime.store import Published

FRAMEWORKS = {
    "custom": "aifctl.runtime.frameworks.custom",
    "pytorch": "aifctl.runtime.frameworks.pytorch",
    "tensorflow": "aifctl.runtime.frameworks.tensorflow",
}
EXPORTS = {
    ("custom", "custom"): "aifctl.runtime.frameworks.custom",
    ("pytorch", "onnx"): "aifctl.runtime.frameworks.onnx_from_torch",
    ("tensorflow", "onnx"): "aifctl.runtime.frameworks.onnx_from_tensorflow",
    ("tensorflow", "savedmodel"): "aifctl.runtime.frameworks.savedmodel",
}
TRAIN_FILE, SIGNATURE_FILE = "train.json", "signature.json"
REFERENCE_BATCH = 256
"""Rows the reference computes at once: bounds its memory."""

Forward = Callable[[Arrays], Any]
"""Model inputs → its output, a float array, batch first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What training published, opened: all that evaluating or exporting the model takes."""

    folder: Path
    code: Path | None
    config: TrainConfig
    signature: Signature
    """What callers give the model, and its outputs."""
    model: Signature
    """What the model itself is given: inputs after preprocessing."""
    preprocessing: Any | None
    """The user's fitted instance."""

    @property
    def placement(self) -> str | None:
        """Where preprocessing runs when the model serves: graph, server, client; None without preprocessing."""
        return None if self.config.preprocessing is None else self.config.preprocessing.serve

    def placed(self, serve: str | None) -> Trained:
        """As it is to serve: an export may place preprocessing elsewhere than was said when it was trained, because
        that moves no training. Callers who preprocess (`client`) give what the model itself is given."""
        if self.config.preprocessing is None:
            return self
        preprocessing = replace(self.config.preprocessing, serve=serve or self.config.preprocessing.serve)
        at_client = preprocessing.serve == "client"
        signature = replace(self.signature, inputs=self.model.inputs) if at_client else self.signature
        return replace(self, config=replace(self.config, preprocessing=preprocessing), signature=signature)


Export = Callable[[Trained, ExportConfig, Path], str]


class Module(Protocol):
    def train(self, context: Context) -> None: ...

    def load(self, trained: Trained) -> Forward: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The trained model as everything derived from it is held against: fp32, evaluation mode, CPU."""

    trained: Trained
    forward: Forward

    @property
    def signature(self) -> Signature:
        return self.trained.signature

    def transform(self, features: Arrays) -> Arrays:
        """What the model gets of raw features."""
        with user_code("preprocessing", self.trained.code):
            return preprocessing.transform(self.trained.preprocessing, features)

    def predict(self, features: Arrays) -> Any:
        """Outputs for raw features, shape (rows, *output shape)."""
        rows = len(next(iter(features.values())))
        parts = (
            {name: array[start : start + REFERENCE_BATCH] for name, array in features.items()}
            for start in range(0, rows, REFERENCE_BATCH)
        )
        return np.concatenate([self.forward(self.transform(part)) for part in parts])


def module(name: str) -> Module:
    """Raises Report (AIF820) for an unknown framework, and AIF837 for one that is not installed."""
    if name not in FRAMEWORKS:
        raise unsupported(f"this runtime has no framework `{name}`", f"known are {', '.join(FRAMEWORKS)}")
    return _import(FRAMEWORKS[name], name)


def exporter(framework: str, format: str) -> Export:
    """Raises Report (AIF820) for a pair that nothing exports, and AIF837 where a package is missing."""
    if (framework, format) not in EXPORTS:
        formats = ", ".join(f for name, f in EXPORTS if name == framework) or "nothing"
        raise unsupported(f"`{framework}` can't be exported as `{format}`", f"it can be exported as {formats}")
    return _import(EXPORTS[framework, format], format).export


def load_reference(train: Published, code: Path | None) -> Reference:
    """The reference of a finished train step; `code` is the user's code folder. Raises Report."""
    return reference(open_trained(train.path, code))


def reference(trained: Trained) -> Reference:
    return Reference(trained=trained, forward=module(trained.config.framework).load(trained))


def write_trained(trained: Trained) -> None:
    """Writes what `open_trained` reads beside the model itself, into its folder."""
    config = pydantic.TypeAdapter(TrainConfig).dump_python(trained.config, mode="json")
    about = {"config": config, "model_inputs": trained.model.to_json()["inputs"]}
    (trained.folder / TRAIN_FILE).write_text(json.dumps(about, indent=1, sort_keys=True), encoding="utf-8")
    signature = json.dumps(trained.signature.to_json(), indent=1, sort_keys=True)
    (trained.folder / SIGNATURE_FILE).write_text(signature, encoding="utf-8")
    if trained.preprocessing is not None:
        preprocessing.save(trained.preprocessing, trained.folder / preprocessing.FILE)


def open_trained(folder: Path, code: Path | None) -> Trained:
    """Raises Report where user code can't be imported."""
    about = json.loads((folder / TRAIN_FILE).read_text(encoding="utf-8"))
    config = pydantic.TypeAdapter(TrainConfig).validate_python(about["config"])
    signature = json.loads((folder / SIGNATURE_FILE).read_text(encoding="utf-8"))
    prep = None if config.preprocessing is None else new_preprocessing(config.preprocessing.cls, code)
    return Trained(
        folder=folder,
        code=code,
        config=config,
        signature=Signature.from_json(signature),
        model=Signature.from_json({**signature, "inputs": about["model_inputs"], "outputs": []}),
        preprocessing=None if prep is None else preprocessing.load(prep, folder / preprocessing.FILE),
    )


def new_preprocessing(cls: str, code: Path | None) -> Any:
    """An unfitted instance of the user's class. Raises Report."""
    found = import_attribute(cls, code)
    with user_code(f"`{cls}()`", code):
        return found()


def build(trained: TrainConfig, signature: Signature, code: Path | None) -> Any:
    """What the user's `build(params, signature)` returns. Raises Report: AIF821 without one, AIF806 when it fails."""
    if trained.model is None:
        raise Report(Diagnostic("AIF821", "training has no `model`", hint="name one: `model: module:build`"))
    function = import_attribute(trained.model, code)
    with user_code(f"`{trained.model}`", code):
        return function(dict(trained.params), signature)


def check_output(signature: Signature, rows: int, shape: tuple[int, ...]) -> None:
    """Raises Report (AIF824) where a model's output can't be right for the label."""
    expected: tuple[tuple[int, ...], ...] = ()
    if signature.task in CLASSIFICATION and signature.classes is not None:
        expected = ((rows, signature.classes), *(((rows, 1),) if signature.classes == 2 else ()))
    elif signature.task == "regression":
        expected = ((rows,), (rows, 1))
    if expected and shape not in expected:
        what = f"{signature.classes} classes" if signature.classes is not None else "one value a row"
        wanted = " or ".join(map(str, expected))
        hint = "`build` gets `signature.classes`: size the last layer with it" if signature.classes else None
        message = f"the model gives shape {shape} for {rows} rows, {what} need {wanted}"
        raise Report(Diagnostic("AIF824", message, hint=hint))
    if not shape or shape[0] != rows:
        raise Report(
            Diagnostic("AIF824", f"the model gives shape {shape} for {rows} rows", hint="keep one entry a row")
        )


def no_device(asked: str, there: Sequence[str]) -> Report:
    message = f"there is no device `{asked}` on this machine"
    return Report(Diagnostic("AIF838", message, hint=f"it has {', '.join(there)}; without --device the best is taken"))


def unsupported(what: str, hint: str) -> Report:
    return Report(Diagnostic("AIF820", what, hint=hint))


def _import(name: str, for_what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("aifctl"):
            raise
        hint = "use the framework's runtime image, or install aifctl's extra for it"
        raise Report(Diagnostic("AIF837", f"`{for_what}` needs `{error.name}`, which is missing", hint)) from error
