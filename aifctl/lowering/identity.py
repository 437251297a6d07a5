"""Identity v1: what each step's digest is made of. Frozen: a change here re-trains every model there is.

A step's own identity is a flat table of *parts*, field path → value. Values equal to v1's frozen defaults and empty
ones are left out, so a field added later, or spelled out by a careful user, moves nothing; hyperparameters are the
user's own and stay, whatever their value. Lists whose order says nothing are sorted. Inputs (digests of other steps,
data pins) are chained by `contract.step_digest`. Not parts: labels, schedule, serving, monitoring, CPU, memory, spot,
time limits, secrets, variables that choose threads or logs, how often checkpoints are written, where the data lies (its
SHA-256 counts; a version says something only together with the place that counts it, so then the place is a part).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aifctl import digest
from aifctl.spec.columns import expand
from aifctl.spec.models.dataset import Dataset, Feature
from aifctl.spec.models.model import ModelSpec
from aifctl.spec.models.serving import Calibrate, Export
from aifctl.spec.models.training import OwnStep

Parts = Mapping[str, Any]

SHORT = 8
"""Hex digits of a part's hash in the annotation that plans compare."""
MANY_FILES = 200
"""Above this many files a plan names the code as a whole, not each file."""

V1_DEFAULTS: Parts = {
    "features.*.dtype": "float32",
    "split.train": 0.8,
    "split.validation": 0.1,
    "split.test": 0.1,
    "split.seed": 0,
    "training.framework": "pytorch",
    "training.epochs": 1,
    "training.batch.global": 32,
    "training.seed": 0,
    "training.precision": "fp32",
    "training.world_size": 1,
    "evaluation.split": "test",
    "export.preprocessing": "graph",
    "export.calibrate.split": "train",
    "export.calibrate.rows": 500,
}


V1_INERT_VARIABLES = frozenset(
    {
        *(
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "NUMEXPR_NUM_THREADS",
            "VECLIB_MAXIMUM_THREADS",
        ),
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_CPP_MIN_LOG_LEVEL", "TOKENIZERS_PARALLELISM"),
        *("PYTHONUNBUFFERED", "NCCL_DEBUG", "TORCH_CPP_LOG_LEVEL", "HF_HOME", "TORCH_HOME", "KERAS_HOME"),
    }
)
"""Environment variables that choose threads, logs or caches; any other may change what user code computes."""


def own(parts: Parts) -> str:
    """The hash that goes into `StepSpec.own`, 64 hex digits."""
    return digest.of_value(dict(parts))


def shown(parts: Parts) -> dict[str, str]:
    """Part → short hash, for plans to say which one moved; code and requirements are named piece by piece."""
    flat: dict[str, Any] = {}
    for name, value in parts.items():
        if isinstance(value, dict) and name in ("code", "requirements"):
            flat.update({f"{name}/{piece}": each for piece, each in value.items()})
        else:
            flat[name] = value
    return {name: digest.of_value(value)[:SHORT] for name, value in sorted(flat.items())}


def environment(image: str | None, requirements: Mapping[str, str]) -> Parts:
    """The software that user code runs in: the image by its digest, and requirements by name."""
    pinned = image.partition("@")[2] or image if image is not None else None
    return {"image": pinned, "requirements": dict(requirements)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What user code is made of and runs in: files by path, and the parts of `environment()`."""

    code: Mapping[str, str]
    environment: Parts

    @property
    def parts(self) -> dict[str, Any]:
        return {"code": dict(self.code), **self.environment}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """How rows are read: format, number of rows kept (None for all), pin (None where there is none)."""

    format: str
    sample: int | None
    pin: str | None


def prepare(dataset: Dataset, task: str, read: Read, software: Software) -> Parts:
    source, split, checks = dataset.source, dataset.split, dataset.checks
    parts: dict[str, Any] = {"task": task, "dataset": dataset.name, "format": read.format, "sample": read.sample}
    for name, feature in dataset.features.items():
        parts |= {f"features.{name}.{part}": value for part, value in _feature(name, feature).items()}
    parts["features"] = list(dataset.features)  # the order is the model's order of inputs
    if dataset.label is not None:
        parts["label.column"] = dataset.label.column
        parts["label.classes"] = dataset.label.classes
        parts["label.names"] = list(dataset.label.names or ())
    parts |= {f"split.{name}": share for name, share in split.shares.items()}
    parts["split.seed"] = split.seed
    if split.by is not None:
        parts |= {f"split.by.{how}": column for how, column in split.by.model_dump(exclude_none=True).items()}
    parts |= {f"checks.{name}": getattr(checks, name) for name in ("min_rows", "max_rows")}
    parts |= {f"checks.{name}": sorted(set(getattr(checks, name))) for name in ("no_nulls", "unique")}
    parts["checks.ranges"] = {name: each.model_dump(exclude_none=True) for name, each in checks.ranges.items()}
    if source.call is not None:
        parts |= {"source.call": source.call, "source.arguments": dict(source.arguments), **software.parts}
    elif source.step is not None:
        parts["source.output"] = source.step.partition(".")[2]  # the step itself is an input
    elif source.kind not in ("path", "uri") or (read.pin is not None and read.pin.startswith("version:")):
        parts["source"] = f"{source.kind}:{source.value}"
    return _v1(parts)


def _feature(name: str, feature: Feature) -> Parts:
    columns = expand(feature.columns, name)
    implied = () if len(columns) == 1 else (len(columns),)
    return {
        "type": feature.type,
        "columns": list(columns),
        "dtype": feature.dtype,
        "shape": list(feature.shape) if feature.shape is not None and feature.shape != implied else None,
        "values": list(feature.values or ()),
        "tokenizer": feature.tokenizer,
        "size": feature.size,
    }


def custom(step: OwnStep, software: Software) -> Parts:
    parts = {"call": step.call, "inputs": dict(step.inputs), "outputs": dict(step.outputs), **software.parts}
    return {**_v1(parts), **{f"params.{name}": value for name, value in step.params.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a training's identity says beside its section: accelerator's name (None for CPU), devices on all nodes
    together, the goal of the metric that selects a checkpoint (None where none is selected)."""

    accelerator: str | None
    world_size: int
    goal: str | None


def train(spec: ModelSpec, resolved: Training, software: Software) -> Parts:
    training, select = spec.training, spec.training.checkpoint.select
    parts: dict[str, Any] = {
        "task": spec.task,
        "training.framework": training.framework,
        "training.model": training.model,
        "training.loop": training.loop,
        "training.epochs": training.epochs,
        "training.batch.global": training.batch.global_,
        "training.seed": training.seed,
        "training.precision": training.precision,
        "training.accelerator": resolved.accelerator,
        "training.world_size": resolved.world_size,
        "training.checkpoint.select.best": select.best if select is not None else None,
        "training.checkpoint.select.goal": resolved.goal,
        "preprocessing.class": spec.preprocessing.class_ if spec.preprocessing is not None else None,
        **software.parts,
    }
    if training.custom is not None:
        parts |= {f"training.custom.{name}": value for name, value in training.custom.model_dump(mode="json").items()}
    if training.start_from is not None:
        parts["training.start_from"] = training.start_from.model_dump(exclude_none=True)
    own = {f"training.hyperparameters.{name}": value for name, value in training.hyperparameters.items()}
    return {**_v1(parts), **own}


def variables(given: Mapping[str, str]) -> Parts:
    """Environment variables of a step with user code, name → value."""
    return {f"env.{name}": value for name, value in given.items() if name not in V1_INERT_VARIABLES}


def evaluate(spec: ModelSpec, metrics: tuple[str, ...], image: str | None) -> Parts:
    """`image` of this and the steps after it: where it is not the training's, whose digest has it already."""
    return _v1({**_measured(spec, metrics), "image": image})


def gate(spec: ModelSpec) -> Parts:
    bounds = {name: bound.model_dump(exclude_none=True) for name, bound in spec.evaluation.gate.items()}
    return _v1({f"evaluation.gate.{name}": bound for name, bound in bounds.items()})


def export(each: Export, serve: str | None, opset: int | None, image: str | None) -> Parts:
    """`serve`: where preprocessing runs; `opset`: of ONNX, resolved."""
    parts: dict[str, Any] = {
        "export.name": each.name,
        "export.format": each.format,
        "export.opset": opset,
        "export.quantize": each.quantize,
        "export.preprocessing": serve,
        "image": image,
    }
    if each.quantize == "int8-static":  # no other way of quantizing looks at rows
        calibrate = each.calibrate or Calibrate()
        parts |= {"export.calibrate.split": calibrate.split, "export.calibrate.rows": calibrate.rows}
    return _v1(parts)


def verify(spec: ModelSpec, metrics: tuple[str, ...], parity: Mapping[str, float], image: str | None) -> Parts:
    limits = {f"export.parity.{name}": value for name, value in parity.items()}
    return _v1({**limits, **_measured(spec, metrics), "image": image})


def register(name: str, description: str) -> Parts:
    """Its inputs are the training and every export, so one more export moves it."""
    return _v1({"registry.name": name, "registry.description": description})


def _measured(spec: ModelSpec, metrics: tuple[str, ...]) -> dict[str, Any]:
    return {"evaluation.split": spec.evaluation.split, "evaluation.metrics": sorted(set(metrics))}


def _v1(parts: Mapping[str, Any]) -> Parts:
    """Without empty values and those equal to the frozen defaults of identity v1."""
    return {
        name: value
        for name, value in parts.items()
        if not _empty(value) and value != V1_DEFAULTS.get(_pattern(name), _NONE)
    }


_NONE = object()


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict | tuple) and not value)


def _pattern(name: str) -> str:
    parts = name.split(".")
    return f"features.*.{parts[2]}" if parts[0] == "features" and len(parts) == 3 else name
