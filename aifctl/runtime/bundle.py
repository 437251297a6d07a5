"""A bundle: an exported model with all that serving it takes, in one folder. Verify and the server load it here alike.

    bundle.json         format, signature, placement of preprocessing, environment, {file: sha256}
    model.onnx | saved_model/ | model/
    preprocessing.npz   what fit learned (serve: server)
    code/               the user's code (serve: server, and custom models)

What the model in the bundle is given depends on what bundle.json says of preprocessing, and on nothing else:
`graph`, raw features, for the graph preprocesses; `server`, what `predict` makes of raw features with the class in
`code/`; `client`, what callers send, who preprocess. None says that features go into the model as they are.

`load` needs NumPy and what the format needs: onnxruntime, TensorFlow, or the packages of the user's own code.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aifctl import digest
from aifctl.contract import Feature
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import preprocessing
from aifctl.runtime.data import RowError, encode, features_of
from aifctl.runtime.job import import_attribute
from aifctl.runtime.signature import LOGITS, PROBABILITIES, Arrays, Signature, probabilities
from aifctl.runtime.storage import regular_files

BUNDLE = 1
"""Version of bundle.json."""
FILE = "bundle.json"
CODE = "code"
PLACEMENTS = ("graph", "server", "client")
PACKAGES = {
    "onnx": ("numpy", "onnxruntime", "onnx", "torch", "tf2onnx"),
    "savedmodel": ("numpy", "tensorflow", "keras"),
    "custom": ("numpy", "pandas", "scikit-learn", "skops", "xgboost", "lightgbm", "joblib"),
}
"""Packages whose versions are noted, where they are installed, by format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Where the user's class runs when the model serves; `cls` is `module:Class`."""

    serve: str
    cls: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """bundle.json without its list of files."""

    format: str
    framework: str
    model: str
    """File or folder of the model, in the bundle."""
    signature: Signature
    preprocessing: Preprocessing | None = None
    predict: str | None = None
    """Of a custom model: `module:function(model_dir, batch)` in `code/`."""
    made_of: Mapping[str, str] | None = None
    """Digests of the steps it comes from."""


@dataclass(frozen=True, kw_only=True)
class LoadedBundle:
    """A model ready to answer. Arrays are batch first; calls from several threads are safe where user code is."""

    path: Path
    sha256: str
    """Content digest: of every file's name and content."""
    about: About
    run: Callable[[Arrays], Arrays]
    """The model alone, on what it expects by the bundle's placement of preprocessing."""
    preprocessing: Any | None
    """The fitted instance, when it runs in the server."""

    @property
    def signature(self) -> Signature:
        return self.about.signature

    @property
    def format(self) -> str:
        return self.about.format

    @property
    def labels(self) -> tuple[str, ...] | None:
        return self.signature.labels

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """How raw columns become inputs; read once, not for every request."""
        return features_of(self.signature.to_json()["inputs"])

    def predict(self, features: Arrays) -> Arrays:
        """Outputs by name for features as the signature's inputs have them. Raises Report from preprocessing."""
        return self.run(preprocessing.transform(self.preprocessing, features))

    def predict_rows(self, rows: Any) -> Arrays:
        """Outputs for raw rows: a list of dicts, {column: values} or a DataFrame. Raises RowError for unfit ones."""
        inputs = self.signature.inputs
        if not all(tensor.columns for tensor in inputs):
            raise RowError(inputs[0].name, "is preprocessed by the caller: this model takes tensors, not rows")
        columns = columns_of(rows, [column for tensor in inputs for column in tensor.columns])
        return self.predict(encode(columns, self.features))

    def confidence(self, outputs: Arrays) -> Any | None:
        """The probability of the class with the highest one, shape (rows,); None for a model without classes."""
        for tensor in self.signature.outputs:
            if tensor.kind in (LOGITS, PROBABILITIES):
                return probabilities(outputs[tensor.name], tensor.kind).max(axis=-1)
        return None


def load(path: Path, sha256: str | None = None) -> LoadedBundle:
    """Opens a bundle and checks every file. Raises Report: AIF832 for a folder that is no whole bundle, or another
    one than `sha256` says, AIF837 where a package is missing, AIF805 and AIF806 for its code."""
    sys.dont_write_bytecode = True  # code that is imported later, in a call, must not write into the bundle either
    about, files = _read(path)
    found = digest.of_files(files)
    if sha256 is not None and found != sha256:
        raise _damaged(f"bundle {path.name} has content {found[:10]}, not {sha256[:10]}", "fetch it again")
    if about.format not in RUNNERS:
        raise _damaged(f"bundle has format `{about.format}`", f"this runtime loads {', '.join(RUNNERS)}")
    try:
        run = RUNNERS[about.format](path, about)
    except ModuleNotFoundError as error:
        hint = "use the image made for this format, or install the package"
        message = f"a `{about.format}` bundle needs `{error.name}`, which is missing"
        raise Report(Diagnostic("AIF837", message, hint=hint)) from error
    return LoadedBundle(path=path, sha256=found, about=about, run=run, preprocessing=_server_side(path, about))


def write(path: Path, about: About) -> str:
    """Completes a folder that holds the model (and preprocessing and code) with bundle.json; the content digest."""
    files = {name: digest.of_file(file) for name, file in regular_files(path) if name != FILE}
    value = {
        "bundle": BUNDLE,
        "format": about.format,
        "framework": about.framework,
        "model": about.model,
        "predict": about.predict,
        "signature": about.signature.to_json(),
        "labels": about.signature.labels,
        "preprocessing": None
        if about.preprocessing is None
        else {
            "serve": about.preprocessing.serve,
            "class": about.preprocessing.cls,
            "file": preprocessing.FILE if about.preprocessing.serve == "server" else None,
        },
        "environment": environment(about.format),
        "made_of": dict(about.made_of or {}),
        "files": files,
    }
    (path / FILE).write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    return digest.of_files({**files, FILE: digest.of_file(path / FILE)})


def environment(format: str) -> dict[str, str]:
    """Package → version, of those that made the model or run it."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES.get(format, ()):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def columns_of(rows: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """Raw rows by column. Raises RowError where a row lacks one."""
    if not isinstance(rows, list | tuple):
        return rows
    for name in names:
        missing = [number for number, row in enumerate(rows) if name not in row]
        if missing:
            raise RowError(name, "is missing", missing)
    return {name: [row[name] for row in rows] for name in names}


def _read(path: Path) -> tuple[About, dict[str, str]]:
    """bundle.json and the hashes of all files as they are, held against it."""
    try:
        value = json.loads((path / FILE).read_text(encoding="utf-8"))
        about, listed = _about(value), dict(value["files"])
        if not any(name == about.model or name.startswith(f"{about.model}/") for name in listed):
            raise ValueError(f"it lists no file of its model `{about.model}`")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(
            f"{path.name} holds no bundle that this runtime reads ({error})", "give an export's folder"
        ) from error
    try:
        # Caches too: Python would run a .pyc that nobody vouches for.
        files = {name: digest.of_file(file) for name, file in regular_files(path)}
    except ValueError as error:
        raise _damaged(f"{path.name}: {error}", "a bundle holds plain files only: fetch it again") from error
    changed = sorted(name for name in listed.keys() | files.keys() - {FILE} if listed.get(name) != files.get(name))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise _damaged(f"`{changed[0]}`{more} is not what bundle.json lists", "fetch the bundle again, or export again")
    return about, files


def _about(value: Mapping[str, Any]) -> About:
    if value["bundle"] != BUNDLE:
        raise ValueError(f"version {value['bundle']}, not {BUNDLE}")
    prep = value["preprocessing"]
    if prep is not None and prep["serve"] not in PLACEMENTS:
        raise ValueError(f"preprocessing is placed at {prep['serve']!r}")
    return About(
        format=value["format"],
        framework=value["framework"],
        model=value["model"],
        signature=Signature.from_json(value["signature"]),
        preprocessing=None if prep is None else Preprocessing(serve=prep["serve"], cls=prep["class"]),
        predict=value["predict"],
        made_of=value["made_of"],
    )


def _server_side(path: Path, about: About) -> Any | None:
    if about.preprocessing is None or about.preprocessing.serve != "server":
        return None
    return preprocessing.load(import_attribute(about.preprocessing.cls, path / CODE)(), path / preprocessing.FILE)


def _onnx(path: Path, about: About) -> Callable[[Arrays], Arrays]:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path / about.model, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise _damaged(
            f"onnxruntime can't load {about.model}: {_first_line(error)}", "export the model again"
        ) from error
    dtypes = {item.name: _ONNX_DTYPES.get(item.type) for item in session.get_inputs()}
    names = [tensor.name for tensor in about.signature.outputs]

    def run(inputs: Arrays) -> Arrays:
        feed = {name: np.asarray(inputs[name], dtype=dtype) for name, dtype in dtypes.items()}
        return dict(zip(names, session.run(names, feed), strict=True))

    return run


def _savedmodel(path: Path, about: About) -> Callable[[Arrays], Arrays]:
    from aifctl.runtime.tensorflow_quiet import tf

    try:
        module = tf.saved_model.load(str(path / about.model))
        call = module.signatures["serving_default"]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise _damaged(
            f"TensorFlow can't load {about.model}: {_first_line(error)}", "export the model again"
        ) from error
    specs = call.structured_input_signature[1]

    def run(inputs: Arrays) -> Arrays:
        tensors = {name: tf.constant(inputs[name], dtype=spec.dtype) for name, spec in specs.items()}
        return {name: tensor.numpy() for name, tensor in call(**tensors).items()}

    run.module = module  # type: ignore[attr-defined]  # the signature holds its variables only weakly
    return run


def _custom(path: Path, about: About) -> Callable[[Arrays], Arrays]:
    from aifctl.runtime.frameworks.custom import predictor

    if about.predict is None:
        raise _damaged("a custom bundle names no predict function", "export the model again")
    return predictor(about.predict, path / about.model, path / CODE)


RUNNERS: dict[str, Callable[[Path, About], Callable[[Arrays], Arrays]]] = {
    "custom": _custom,
    "onnx": _onnx,
    "savedmodel": _savedmodel,
}
_ONNX_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _damaged(message: str, hint: str) -> Report:
    return Report(Diagnostic("AIF832", message, hint=hint))
