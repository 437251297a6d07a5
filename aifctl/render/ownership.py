"""Labels and annotations that say whose an object is. Argo CD's tracking ids are not ours to write."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from aifctl import digest
from aifctl.diagnostics import Diagnostic
from aifctl.digest import SHORT
from aifctl.manifest import Manifest

if TYPE_CHECKING:
    from aifctl import ir

MANAGER = "aifctl"
MODEL = "aif.dev/model"
TENANT = "aif.dev/tenant"
ENVIRONMENT = "aif.dev/environment"
COMPONENT = "app.kubernetes.io/component"
"""setup, run or serve: the folder of the rendered tree that the object is in."""
SOURCE = "aif.dev/source"
"""Path of the spec. No line: a comment added above must not change every object."""
IDENTITY = "aif.dev/identity"
"""JSON {step: {digest, parts}} of a run: by it a plan says which field moved which step."""
RUN_DIGEST = "aif.dev/run-digest"

CREATE_ONLY = {
    "argocd.argoproj.io/sync-options": "Prune=false",
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
}
"""Runs, and what they mount, outlive their files: a spec edit must not kill a run of 40 hours."""

NAME_LIMITS = {"Namespace": 63, "Service": 63, "CronWorkflow": 52, "CronJob": 52, "Job": 63}
"""A CronWorkflow's children get eleven characters more, and must fit into a label."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?")


def labels(bundle: ir.Bundle, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": bundle.model,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": bundle.tenant,
        "app.kubernetes.io/managed-by": MANAGER,
        MODEL: bundle.model,
        TENANT: bundle.tenant,
        ENVIRONMENT: bundle.target.environment,
    }


def provenance(bundle: ir.Bundle) -> dict[str, str]:
    return {SOURCE: bundle.source}


def identity(run: ir.Run) -> dict[str, str]:
    """Annotations that a plan compares. A step a line, so that a reviewer sees which one moved."""
    steps = {step.name: {"digest": step.spec.digest, "parts": dict(step.parts)} for step in run.steps}
    lines = (f"{digest.canonical_json(name)}:{digest.canonical_json(steps[name])}" for name in sorted(steps))
    return {IDENTITY: "{\n" + ",\n".join(lines) + "\n}", RUN_DIGEST: run.digest}


def unfit(manifest: Manifest) -> list[Diagnostic]:
    """AIF509 for a name, namespace or label that the API server would refuse."""
    kind, name = manifest.kind, manifest.name
    limit = NAME_LIMITS.get(kind, 253)
    found = []
    if not (is_namespace(name) if kind == "Namespace" else is_name(name)) or len(name) > limit:
        found.append(f"`{name}` can't be the name of a {kind}")
    if manifest.namespace and not is_namespace(manifest.namespace):
        found.append(f"`{manifest.namespace}` can't be a namespace")
    found += [
        f"`{value}` can't be the value of label `{key}` ({manifest.identity})"
        for key, value in manifest.labels.items()
        if not is_label(value)
    ]
    hint = f"lower-case letters, digits and `-`, at most {limit} characters"
    return [Diagnostic("AIF509", message, hint) for message in found]


@lru_cache(maxsize=1 << 14)
def is_name(text: str) -> bool:
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


@lru_cache(maxsize=1 << 14)
def is_namespace(text: str) -> bool:
    return len(text) <= 63 and "." not in text and is_name(text)


@lru_cache(maxsize=1 << 14)
def is_label(text: str) -> bool:
    return len(text) <= 63 and _LABEL.fullmatch(text) is not None


def short(text: str) -> str:
    return text[:SHORT]
