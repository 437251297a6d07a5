"""Objects the plan's tests are made of, as aifctl renders them, and what a plan's fields do when they are applied."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from aifctl.manifest import Manifest
from aifctl.plan.change import FieldChange, Match, Op, Path

API = {
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "Workflow": "argoproj.io/v1alpha1",
    "CronWorkflow": "argoproj.io/v1alpha1",
}
DIGEST = {letter: letter * 64 for letter in "0123456789abcdef"}


def labels(environment: str, model: str) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "aifctl", "aif.dev/environment": environment, "aif.dev/model": model}


def manifest(kind: str, name: str, environment: str = "prod", model: str = "digits", **rest: Any) -> Manifest:
    """`rest` becomes the object's top level; `annotations` goes into its metadata."""
    metadata = {"name": name, "namespace": "vision", "labels": labels(environment, model)}
    if annotations := rest.pop("annotations", None):
        metadata["annotations"] = annotations
    return Manifest({"apiVersion": API[kind], "kind": kind, "metadata": metadata, **copy.deepcopy(rest)})


def deployment(name: str = "digits", **container: Any) -> Manifest:
    server = {"name": "server", "image": "serve@sha256:1", **container}
    return manifest("Deployment", name, spec={"template": {"spec": {"containers": [server]}}})


Entry = tuple[str | None, Mapping[str, str], Mapping[str, str | None]]
"""A step's digest, the hashes of its parts, and the digests of what it reads."""


def run(name: str, steps: Mapping[str, Entry], kind: str = "Workflow", model: str = "digits") -> Manifest:
    """A run as it is rendered: the annotation, and each step's argument in its own template."""
    identity = {step: {"digest": digest, "parts": parts} for step, (digest, parts, _) in steps.items()}
    templates = [
        {"name": step, "container": {"args": [argument(step, inputs), "--store=s3://x"]}}
        for step, (_, _, inputs) in steps.items()
    ]
    spec: dict[str, Any] = {"entrypoint": "run", "templates": templates}
    return manifest(
        kind,
        name,
        environment="lab",
        model=model,
        annotations={"aif.dev/identity": json.dumps(identity, sort_keys=True)},
        spec=spec if kind == "Workflow" else {"schedules": ["0 3 * * *"], "workflowSpec": spec},
    )


def argument(step: str, inputs: Mapping[str, str | None]) -> str:
    kind = step.split("-", 1)[0]
    return "--step=" + json.dumps({"name": step, "kind": kind, "inputs": inputs, "config": {"name": "x", "inputs": 1}})


def applied(found: Any, fields: Iterable[FieldChange]) -> Any:
    """The object that the fields turn `found` into, by the meaning that `aifctl.plan.change` gives them."""
    result = copy.deepcopy(found)
    fields = list(fields)
    for field in fields:
        if field.path == ():
            return copy.deepcopy(field.after)
    # What is inside items first, while the old positions hold; then lists lose items, from the end; then they gain
    # some, from the start; then keyed lists are put in order.
    changes = [field for field in fields if field.op is Op.CHANGE]
    removals = [field for field in fields if field.op is Op.REMOVE]
    additions = [field for field in fields if field.op is Op.ADD]
    places = [(parent(result, field.path), field) for field in (*changes, *removals, *additions)]
    orders = [(at(result, field.path), field) for field in fields if field.op is Op.REORDER]
    for place, field in places:
        if field.op is Op.CHANGE:
            place[index(place, field.path[-1])] = field.after
    for place, field in sorted(places, key=lambda entry: -position(entry[1])):
        if field.op is Op.REMOVE:
            del place[index(place, field.path[-1])]
    for place, field in sorted(places, key=lambda entry: position(entry[1])):
        if field.op is Op.ADD and isinstance(place, list):
            place.insert(position(field), field.after)
        elif field.op is Op.ADD:
            place[field.path[-1]] = field.after
    for place, field in orders:
        place[:] = [place[index(place, match)] for match in field.after]
    return result


def parent(found: Any, path: Path) -> Any:
    return at(found, path[:-1])


def at(found: Any, path: Path) -> Any:
    for step in path:
        found = found[index(found, step)]
    return found


def index(found: Any, step: Any) -> Any:
    if not isinstance(step, Match):
        return step
    defaults = {"protocol": "TCP"}
    return next(
        i
        for i, item in enumerate(found)
        if all(
            item.get(k, defaults.get(k)) == v and type(item.get(k, defaults.get(k))) is type(v) for k, v in step.keys
        )
    )


def position(field: FieldChange) -> int:
    last = field.path[-1]
    return field.position if field.position is not None else last if isinstance(last, int) else 0
