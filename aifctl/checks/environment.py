"""Cluster environments that have what their role takes."""

from __future__ import annotations

from collections.abc import Iterator

from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic

RUNS_STEPS = "argo-workflows"


def check(subject: Subject) -> Iterator[Diagnostic]:
    environment = subject.environment
    if environment.local:
        return
    if subject.trains and RUNS_STEPS not in environment.capabilities:
        message = f"`{environment.name}` trains, but has nothing that runs steps"
        hint = f"install Argo Workflows there and say so: `capabilities: {{{RUNS_STEPS}: …}}`"
        yield Diagnostic("AIF370", message, hint, subject.at_environment("name"))
    if subject.trains and environment.deliverer == "flux":
        message = "not built yet: runs delivered by Flux, which would prune them when the spec changes"
        yield Diagnostic("AIF390", message, "use `argocd` or `aifctl`", subject.at_environment("deliverer"))
    if subject.trains and environment.store is None:
        message = f"`{environment.name}` trains on a cluster without an artifact store"
        hint = "add one that its pods reach: `store: {uri: s3://…, credentials: …}`"
        yield Diagnostic("AIF371", message, hint, subject.at_environment("name"))
