"""The recorded statuses have the shape that real controllers write: checked against each kind's own schema."""

from __future__ import annotations

import json
import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

HERE = Path(__file__).parent
DATA = HERE / "data"
CRDS = Path(os.environ.get("AIFCTL_TEST_CRDS") or HERE.parents[3] / "shared" / "crds")
CORE = files("kubernetes_validate") / "kubernetes-json-schema" / "v1.36.0-local-strict" / "_definitions.json"

RECORDED = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted(DATA.glob("*.yaml"))}
KINDS = sorted({(each["apiVersion"], each["kind"]) for each in RECORDED.values()})

NO_SCHEMA = {
    "Experiment": "Katib's definition keeps unknown fields: it has no schema",
    "Trial": "Katib's definition keeps unknown fields: it has no schema",
    "Workload": "its definition is not among the test data",
    "RayCluster": "checked as the cluster status inside a RayJob",
    "Widget": "a kind that does not exist",
}


@pytest.mark.parametrize("name", [name for name, each in RECORDED.items() if "status" in each])
def test_status_fits_the_schema_of_its_kind(name: str) -> None:
    found = RECORDED[name]
    if found["kind"] in NO_SCHEMA and found["kind"] != "RayCluster":
        assert _schema(found["apiVersion"], found["kind"]) is None, "there is a schema now: use it"
        return
    schema = _schema(found["apiVersion"], found["kind"])
    assert schema is not None, f"no schema for {found['apiVersion']} {found['kind']}"
    jsonschema.Draft202012Validator(schema).validate(_without_nulls(found["status"]))


@pytest.mark.parametrize("kind", sorted(set(NO_SCHEMA)))
def test_what_has_no_schema_is_recorded(kind: str) -> None:
    assert any(each == kind for _, each in KINDS)


def _without_nulls(value: Any) -> Any:
    """Go controllers write null for what is empty, and API servers with an open definition keep it."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _schema(version: str, kind: str) -> dict[str, Any] | None:
    group = version.rpartition("/")[0]
    if kind == "RayCluster":
        job = _schema("ray.io/v1", "RayJob")
        return job and job["properties"]["rayClusterStatus"]
    return _of_crd(version, kind) if "." in group and not group.endswith(".k8s.io") else _of_group(version, kind)


def _of_group(version: str, kind: str) -> dict[str, Any] | None:
    """A kind of a *.k8s.io group is built in, or comes with a definition."""
    definitions = _core()
    name = next((name for name in definitions if _is(definitions[name], version, kind)), None)
    if name is None:
        return _of_crd(version, kind)
    status = definitions[name]["properties"].get("status")
    return status and {**status, "$defs": definitions}


def _is(definition: dict[str, Any], version: str, kind: str) -> bool:
    group, _, number = version.rpartition("/")
    named = {"group": group, "kind": kind, "version": number}
    return named in definition.get("x-kubernetes-group-version-kind", [])


@cache
def _core() -> dict[str, Any]:
    text = CORE.read_text(encoding="utf-8").replace("/api/_definitions.json#", "#").replace("_definitions.json#", "#")
    found = json.loads(text)
    definitions: dict[str, Any] = found.get("$defs") or found["definitions"]
    return definitions


@cache
def _of_crd(version: str, kind: str) -> dict[str, Any] | None:
    if not CRDS.is_dir():
        pytest.skip(f"no CRDs at {CRDS} (AIFCTL_TEST_CRDS names another folder)")
    for crd in _crds():
        served = {f"{crd['spec']['group']}/{each['name']}": each for each in crd["spec"]["versions"]}
        if crd["spec"]["names"]["kind"] == kind and version in served:
            status = served[version]["schema"]["openAPIV3Schema"].get("properties", {}).get("status")
            return status and _closed(status)
    return None


@cache
def _crds() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = []
    for path in sorted(CRDS.rglob("*.yaml")):
        text = path.read_text("utf-8")
        loaded += [json.loads(text)] if text.startswith("{") else list(yaml.load_all(text, yaml.CSafeLoader))
    return [each for each in loaded if each]


def _closed(schema: Any) -> Any:
    """As JSON Schema: `nullable` spelt out, and a field that the schema does not have is an error."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed(value) for key, value in schema.items()}
    is_open = made.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in made
    if isinstance(made.get("properties"), dict) and made.get("type") == "object" and not is_open:
        made["additionalProperties"] = False
    if made.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made
