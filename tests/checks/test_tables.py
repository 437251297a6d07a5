"""The checks' tables against what they speak of: the runtime, the extras, the vocabulary."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from aifctl.checks import code, compatibility, metrics, references, unbuilt
from aifctl.contract import Kind
from aifctl.lowering import steps
from aifctl.runtime import frameworks
from aifctl.runtime import metrics as computed
from aifctl.spec.models import serving, training
from aifctl.spec.models.model import ModelSpec

ROOT = Path(__file__).parents[2]


def test_metrics_are_those_that_the_runtime_computes() -> None:
    assert {name: (m.of, m.goal) for name, m in metrics.METRICS.items()} == {
        name: (m.of, m.goal) for name, m in computed.METRICS.items()
    }
    assert metrics.DEFAULTS == steps.DEFAULT_METRICS


def test_what_the_runtime_exports_is_allowed_and_the_rest_is_told_to_be_unbuilt() -> None:
    declared = {(framework, form) for framework, forms in compatibility.EXPORTS.items() for form in forms}
    assert set(frameworks.EXPORTS) <= declared
    built = {form for _, form in frameworks.EXPORTS}
    row = next(row for row in unbuilt.TABLE if row.path == "export.*.format")
    assert {form for form in get_args(serving.ExportFormat) if row.test(form)} == set(
        get_args(serving.ExportFormat)
    ) - built
    row = next(row for row in unbuilt.TABLE if row.path == "training.framework")
    assert {name for name in get_args(training.Framework) if not row.test(name)} == set(frameworks.FRAMEWORKS)


def test_tables_name_every_value_of_the_vocabulary() -> None:
    assert set(compatibility.EXPORTS) == set(get_args(training.Framework))
    assert set(compatibility.READS) == set(get_args(serving.Runtime))
    assert set(code.RUNTIME_IMAGES) == set(get_args(training.Framework))
    assert {*(kind.value for kind in Kind), "serve"} == set(references.KINDS)


@pytest.mark.parametrize(
    ("framework", "extras"),
    [
        ("pytorch", ["data", "torch", "onnx", "mlflow", "s3", "gcs"]),
        ("tensorflow", ["data", "tensorflow", "onnx", "mlflow", "s3", "gcs"]),
        ("custom", ["data", "mlflow", "s3", "gcs"]),
    ],
)
def test_runtime_images_hold_the_extras(framework: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [line for extra in extras for line in project["optional-dependencies"][extra]] + project["dependencies"]
    names = {line.partition("[")[0].partition(">")[0].partition("=")[0].lower() for line in wanted}
    assert names <= code.RUNTIME_IMAGES[framework]


@pytest.mark.parametrize("path", [row.path for row in unbuilt.TABLE])
def test_every_path_of_the_unbuilt_is_in_the_vocabulary(path: str) -> None:
    here: Any = ModelSpec
    for step in path.split("."):
        if step != "*":
            field = here.model_fields[step]
            here = _section(field.annotation) or field.annotation


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part))), None)
