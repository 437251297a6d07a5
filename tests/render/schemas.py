"""Validators of other people's making: core kinds, Argo's generated Python models, the CRDs themselves."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml12
from argo_workflows.configuration import Configuration
from argo_workflows.model.io_argoproj_workflow_v1alpha1_cron_workflow import IoArgoprojWorkflowV1alpha1CronWorkflow
from argo_workflows.model.io_argoproj_workflow_v1alpha1_workflow import IoArgoprojWorkflowV1alpha1Workflow
from argo_workflows.model_utils import validate_and_convert_types

from aifctl.manifest import Manifest

ARGO = {"Workflow": IoArgoprojWorkflowV1alpha1Workflow, "CronWorkflow": IoArgoprojWorkflowV1alpha1CronWorkflow}
KUBERNETES = "1.33"
CHECKOUT = Path(__file__).resolve().parents[2]


def validate(manifest: Manifest) -> None:
    """Raises what the validator raises. The object is read back from its YAML: that is what a cluster gets."""
    found = yaml12.parse_yaml(manifest.to_yaml())
    if manifest.kind in ARGO:
        types = (ARGO[manifest.kind],)
        validate_and_convert_types(found, types, ["manifest"], True, True, configuration=Configuration())
    else:
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


def validate_by_crd(manifest: Manifest) -> None:
    _crd(f"argoproj.io_{manifest.kind.lower()}s.yaml").validate(yaml12.parse_yaml(manifest.to_yaml()))


@cache
def _crd(name: str) -> jsonschema.Draft202012Validator:
    """The schema, closed: a field that it does not have is an error, as for the API server's strict validation."""
    folder = Path(os.environ.get("AIFCTL_TEST_CRDS") or CHECKOUT.parent / "shared/crds")
    path = folder / "argo-workflows" / name
    if not path.is_file():
        pytest.skip(f"no CRDs at {folder} (set AIFCTL_TEST_CRDS)")
    text = path.read_text(encoding="utf-8")
    crd = json.loads(text) if text.startswith("{") else yaml12.parse_yaml(text)
    [version] = crd["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}
    _close(schema)
    return jsonschema.Draft202012Validator(schema)


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not is_open:
            schema["additionalProperties"] = False
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)
