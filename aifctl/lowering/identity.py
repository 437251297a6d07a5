"""Identity v1: what each step's digest is made of. Frozen: a change here re-trains every model there is.

A step's own identity is a flat table of *parts*, field path → value. Values equal to v1's frozen defaults and empty
ones are left out, so a field added later, or spelled out by a careful user, moves nothing. Inputs (digests of other
steps, data pins) are chained by `contract.step_digest`. Not parts: labels, schedule, serving, monitoring, CPU, memory,
spot, time limits, secrets, variables, how often checkpoints are written, where the data lies (its pin counts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aifctl import digest
from aifctl.spec.columns import expand
from aifctl.spec.models.dataset import Dataset
from aifctl.spec.models.model import ModelSpec
from aifctl.spec.models.serving import Export
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
}


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


def prepare(dataset: Dataset, spec: ModelSpec, code: Mapping[str, str], sample: int | None, format_: str) -> Parts:
    parts: dict[str, Any] = {"task": spec.task, "format": format_, "sample": sample}
    for name, feature in dataset.features.items():
        parts[f"features.{name}.type"] = feature.type
        parts[f"features.{name}.columns"] = list(expand(feature.columns, name))
        parts[f"features.{name}.dtype"] = feature.dtype
        parts[f"features.{name}.shape"] = list(feature.shape or ())
        parts[f"features.{name}.values"] = list(feature.values or ())
    if dataset.features:
        parts["features"] = list(dataset.features)  # the order is the model's order of inputs
    if dataset.label is not None:
        parts["label.column"] = dataset.label.column
        parts["label.classes"] = dataset.label.classes
        parts["label.names"] = list(dataset.label.names or ())
    parts |= {f"split.{name}": share for name, share in dataset.split.shares.items()}
    parts["split.seed"] = dataset.split.seed
    if dataset.split.by is not None:
        parts |= {f"split.by.{how}": column for how, column in dataset.split.by.model_dump(exclude_none=True).items()}
    checks = dataset.checks.model_dump(mode="json", exclude_none=True)
    parts |= {f"checks.{name}": value for name, value in checks.items()}
    if dataset.source.call is not None:
        parts["source.call"] = dataset.source.call
        parts["source.arguments"] = dict(dataset.source.arguments)
        parts["code"] = dict(code)
    return _v1(parts)


def custom(step: OwnStep, code: Mapping[str, str], environment: Parts) -> Parts:
    parts: dict[str, Any] = {"call": step.call, "inputs": dict(step.inputs), "outputs": dict(step.outputs)}
    parts.update({f"params.{name}": value for name, value in step.params.items()})
    return _v1({**parts, "code": dict(code), **environment})


def train(spec: ModelSpec, code: Mapping[str, str], environment: Parts, device: tuple[str | None, int]) -> Parts:
    """`environment` is that of `environment()`, `device` (accelerator's name or None, world size)."""
    training = spec.training
    parts: dict[str, Any] = {
        "task": spec.task,
        "training.framework": training.framework,
        "training.dataset": training.dataset,
        "training.model": training.model,
        "training.loop": training.loop,
        "training.epochs": training.epochs,
        "training.batch.global": training.batch.global_,
        "training.seed": training.seed,
        "training.precision": training.precision,
        "training.accelerator": device[0],
        "training.world_size": device[1],
    }
    parts.update({f"training.hyperparameters.{name}": value for name, value in training.hyperparameters.items()})
    if training.checkpoint.select is not None:
        parts["training.checkpoint.select"] = training.checkpoint.select.model_dump(exclude_none=True)
    if training.custom is not None:
        parts |= {f"training.custom.{name}": value for name, value in training.custom.model_dump(mode="json").items()}
    if training.start_from is not None:
        parts["training.start_from"] = training.start_from.model_dump(exclude_none=True)
    if spec.preprocessing is not None:
        parts["preprocessing.class"] = spec.preprocessing.class_
    return _v1({**parts, "code": dict(code), **environment})


def evaluate(spec: ModelSpec, metrics: tuple[str, ...]) -> Parts:
    return _v1({"evaluation.split": spec.evaluation.split, "evaluation.metrics": list(metrics)})


def gate(spec: ModelSpec) -> Parts:
    bounds = {name: bound.model_dump(exclude_none=True) for name, bound in spec.evaluation.gate.items()}
    return _v1({f"evaluation.gate.{name}": bound for name, bound in bounds.items()})


def export(each: Export, spec: ModelSpec, opset: int | None) -> Parts:
    parts: dict[str, Any] = {
        "export.name": each.name,
        "export.format": each.format,
        "export.opset": opset,
        "export.quantize": each.quantize,
    }
    if each.calibrate is not None:
        parts["export.calibrate"] = each.calibrate.model_dump()
    if spec.preprocessing is not None:
        parts["export.preprocessing"] = spec.preprocessing.serve
    return _v1(parts)


def verify(spec: ModelSpec, metrics: tuple[str, ...], parity: Mapping[str, float]) -> Parts:
    limits = {f"export.parity.{name}": value for name, value in parity.items()}
    return _v1({**limits, "evaluation.split": spec.evaluation.split, "evaluation.metrics": list(metrics)})


def register(name: str, description: str) -> Parts:
    return _v1({"registry.name": name, "registry.description": description})


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
