"""Units made of literals: a spec in which every section is there, its files as facts, and one change at a time."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aifctl import ir
from aifctl.digest import of_text
from aifctl.lowering import Options, lower
from aifctl.spec import overlay
from aifctl.spec.facts import CodeFact, DataFact, Facts, RequirementsFact
from aifctl.spec.load import Unit
from aifctl.spec.models.lock import Lock
from aifctl.spec.models.model import Model
from aifctl.spec.models.platform import Platform
from aifctl.spec.models.release import Release
from aifctl.spec.source import Document

GONE = object()
"""An edit with this value takes the field out."""
SHA = {name: of_text(name) for name in ("raw", "other", "run", "code")}
COMMIT = "c0ffee" * 6 + "c0ff"

SPEC: dict[str, Any] = {
    "task": "classification",
    "datasets": [
        {
            "name": "raw",
            "source": {"path": "data/raw.csv"},
            "features": {
                "kind": {"type": "category", "columns": "kind", "dtype": "int64", "values": ["a", "b"]},
                "words": {"type": "text", "tokenizer": "org/tokens@1"},
                "photo": {"type": "image", "size": [8, 8]},
                "pixels": {"type": "tensor", "columns": "p0..p3", "shape": [2, 2]},
            },
            "label": {"column": "digit", "classes": 3, "names": ["x", "y", "z"]},
            "split": {"train": 0.7, "validation": 0.2, "test": 0.1, "seed": 3, "by": {"stratify": "digit"}},
            "checks": {
                "min_rows": 10,
                "max_rows": 99,
                "no_nulls": ["digit", "kind"],
                "unique": ["p0", "p1"],
                "ranges": {"p0": {"min": 0, "max": 16}},
            },
        },
        {
            "name": "digits",
            "source": {"step": "featurise.table"},
            "features": {"pixels": {"type": "tensor", "columns": "p0..p3"}},
            "label": {"column": "digit"},
        },
    ],
    "code": {"path": "src", "requirements": "requirements.txt"},
    "env": {"OMP_NUM_THREADS": {"value": "4", "steps": ["train"]}},
    "secrets": [{"env": "TOKEN", "from": "credentials/token", "steps": ["train"]}],
    "preprocessing": {"class": "digits.data:Prep", "serve": "server"},
    "training": {
        "dataset": "digits",
        "model": "digits.cnn:build",
        "loop": "digits.cnn:fit",
        "hyperparameters": {"learning_rate": 0.01, "layers": [8, 8]},
        "epochs": 3,
        "batch": {"global": 64},
        "seed": 7,
        "precision": "bf16-mixed",
        "checkpoint": {"every": "10m", "keep": 3, "select": {"best": "val_loss"}},
        "hardware": {"cpu": 4, "memory": "8Gi", "timeout": "2h"},
    },
    "steps": [
        {
            "name": "featurise",
            "call": "digits.data:featurise",
            "inputs": {"rows": "raw"},
            "outputs": {"table": "parquet", "more": "parquet"},
            "params": {"window": 3},
        }
    ],
    "evaluation": {
        "split": "test",
        "metrics": ["accuracy", "f1_macro"],
        "gate": {"accuracy": {"min": 0.9, "max": 1.0}},
        "compare_with": "champion",
    },
    "export": [
        {"name": "onnx", "format": "onnx", "opset": 18},
        {
            "name": "int8",
            "format": "onnx",
            "quantize": "int8-static",
            "calibrate": {"split": "train", "rows": 500},
            "parity": {"rtol": 0.1, "atol": 0.1, "max_metric_drop": 0.01},
        },
    ],
    "registry": {"name": "digits", "description": "handwritten"},
    "serving": {
        "runtime": "aif",
        "export": "onnx",
        "replicas": 2,
        "resources": {"cpu": 1, "memory": "1Gi"},
        "batching": {"max": 8, "delay": "5ms"},
        "autoscaling": {"min": 1, "max": 4, "metric": "cpu", "target": 60},
        "rollout": {
            "strategy": "canary",
            "steps": [{"weight": 10, "pause": "5m"}],
            "analysis": {"max_error_rate": 0.01, "max_p99": "200ms", "min_requests": 100},
        },
        "route": {"host": "models.example", "path": "/digits"},
        "log": {"sample": 0.1, "redact": ["email"]},
    },
    "batch_scoring": {"input": "digits", "output": {"uri": "s3://scores/out"}, "schedule": "0 4 * * *"},
    "monitoring": {
        "alerts": {"p99": "200ms", "error_rate": 0.01, "low_confidence": 0.5},
        "drift": {"reference": "train", "psi": 0.2},
    },
    "schedule": {"cron": "0 3 * * *", "timezone": "UTC"},
}
"""Every section; what excludes another field is left out. Not all of it has a back end: checks are not asked here."""


def _image(name: str) -> str:
    return f"registry.example/{name}@sha256:{of_text(name)}"


PLATFORM: dict[str, Any] = {
    "environments": [
        {"name": "local"},
        {
            "name": "lab",
            "roles": ["train"],
            "cluster": {"context": "lab"},
            "namespace": "{tenant}-lab",
            "deliverer": "argocd",
            "capabilities": {"argo-workflows": "4.1"},
            "pod_security": "baseline",
            "store": {"uri": "s3://models", "credentials": "writer"},
        },
        {"name": "prod", "roles": ["serve"], "cluster": {"context": "prod"}},
        {"name": "both", "cluster": {"context": "both"}},
    ],
    "tracking": {"mlflow": "http://mlflow:5000"},
    "images": {
        "pytorch": {"cpu": _image("torch-cpu"), "nvidia": _image("torch-gpu")},
        "tensorflow": {"cpu": _image("tensorflow-cpu")},
        "custom": {"cpu": _image("custom-cpu")},
        "serve": _image("serve"),
    },
    "hardware": [
        {
            "name": "nvidia-l4",
            "resource": "nvidia.com/gpu",
            "per_node": [1, 2, 4],
            "node_selector": {"gpu": "l4"},
            "tolerations": [{"key": "gpu"}],
        },
        {"name": "nvidia-h100", "resource": "nvidia.com/gpu", "per_node": [8]},
    ],
}


@dataclass(frozen=True, slots=True)
class Around:
    """What a compile reads beside the spec: its files, the lock, the platform."""

    data: Mapping[str, str] = field(default_factory=lambda: {"raw": SHA["raw"]})
    """SHA-256 by dataset, of files."""
    code: Mapping[str, str] = field(
        default_factory=lambda: {"digits/cnn.py": SHA["code"], "digits/data.py": SHA["run"]}
    )
    requirements: tuple[str, ...] = ("numpy>=2", "torch>=2.9")
    lock: Mapping[str, Any] | None = None
    platform: Mapping[str, Any] = field(default_factory=lambda: PLATFORM)
    metadata: Mapping[str, Any] = field(default_factory=lambda: {"name": "digits", "tenant": "vision"})
    release: Mapping[str, Any] | None = None

    def but(self, **changes: Any) -> Around:
        return replace(self, **changes)


HERE = Around()


def edited(base: Mapping[str, Any], edits: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with other values at these paths (`export.0.opset`); mappings on the way are made."""
    result: dict[str, Any] = copy.deepcopy(dict(base))
    for path, value in edits.items():
        *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
        place: Any = result
        for step in way:
            place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
        if value is GONE:
            del place[last]
        elif isinstance(place, list) and last == len(place):
            place.append(copy.deepcopy(value))
        else:
            place[last] = copy.deepcopy(value)
    return result


def platform_of(around: Around = HERE) -> Platform:
    return Platform.model_validate(
        {"apiVersion": "aif.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "acme"}, "spec": around.platform}
    )


def unit(spec: Mapping[str, Any], environment: str = "lab", around: Around = HERE) -> Unit:
    document = {"apiVersion": "aif.dev/v1alpha1", "kind": "Model", "metadata": around.metadata, "spec": spec}
    place = Document("models/model.yaml", Path("/repository/models/model.yaml"), 0, dict(document))
    merged = overlay.merge(place.value, environment)
    model = Model.model_validate(merged.value)
    known = Facts(
        data={
            dataset.name: DataFact(Path("/data"), 10, around.data[dataset.name])
            for dataset in model.spec.datasets
            if dataset.source.path is not None and dataset.name in around.data
        },
        code=CodeFact(Path("/code"), of_text(str(sorted(around.code.items()))), dict(around.code), None),
        requirements=RequirementsFact(around.requirements, of_text("".join(around.requirements))),
    )
    found = next(each for each in platform_of(around).spec.environments if each.name == environment)
    header = {"apiVersion": "aif.dev/v1alpha1", "metadata": {"name": model.metadata.name}}
    lock = Lock.model_validate({**header, "kind": "Lock", **around.lock}) if around.lock is not None else None
    released = Release.model_validate(around.release) if around.release is not None else None
    return Unit(place, model, found, merged, known, lock, released)


def bundle(
    spec: Mapping[str, Any], environment: str = "lab", around: Around = HERE, options: Options | None = None
) -> ir.Bundle:
    return lower(unit(spec, environment, around), platform_of(around), "models/model.yaml", options)


def steps(
    spec: Mapping[str, Any], environment: str = "lab", around: Around = HERE, options: Options | None = None
) -> dict[str, ir.Step]:
    run = bundle(spec, environment, around, options).run
    assert run is not None
    return {step.name: step for step in run.steps}


def own_of(found: Mapping[str, ir.Step]) -> dict[str, Any]:
    """What each step's digest is made of by itself: its own parts, and the pins of the data it reads."""
    return {
        name: (step.spec.own, {key: pin for key, pin in step.spec.inputs.items() if key.startswith("data:")})
        for name, step in found.items()
    }


def touched(before: Mapping[str, ir.Step], after: Mapping[str, ir.Step]) -> set[str]:
    """Steps that a change is in itself about, and those that are new or gone; not those that are below them."""
    one, other = own_of(before), own_of(after)
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def moved(before: Mapping[str, ir.Step], after: Mapping[str, ir.Step]) -> set[str]:
    """Steps that have another digest, or none, and those that are new or gone."""
    names = before.keys() | after.keys()
    return {n for n in names if n not in before or n not in after or before[n].spec.digest != after[n].spec.digest}
