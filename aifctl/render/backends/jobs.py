"""Runs where a cluster has nothing but Kubernetes: a create-only, content-named `Job` (or `CronJob`) drives one.

Its pod is the executor of `aifctl run` with Kubernetes Jobs for processes (`aifctl.runtime.driver`). The steps travel
in its arguments, so that a plan reads them as it does a Workflow's; the Job of each lies as YAML in a ConfigMap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aifctl import contract, ir
from aifctl.contract import Site
from aifctl.diagnostics import Report
from aifctl.render import ownership, pods, steps
from aifctl.render.nested import Nested

STEPS = "/aif/steps"
BACKOFF_LIMIT = 20
"""Pods of the driver that may end by faults of their surroundings (a store that is away, a node that is drained)."""
RESOURCES = {
    "requests": {"cpu": "100m", "memory": "512Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}
"""Of the driver, which waits most of the time."""
RETRIES = "aif.dev/retries"
"""Annotation of a step's Job: how often a fault of its surroundings is tried again."""
LABELS = "metadata.labels['batch.kubernetes.io/{}']"


def objects(bundle: ir.Bundle) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Raises Report: AIF507 (no store, image or back end), AIF509 to AIF511."""
    run = bundle.run
    if run is None:
        return
    table = {step.name: contract.encode(step.spec) for step in run.steps}
    found = [*steps.findings(bundle, run), *steps.too_large((name, [text]) for name, text in table.items())]
    if found:
        raise Report(*found)
    yield from _accounts(bundle)
    if run.code is not None and run.code.delivery == "inline":
        yield "jobs/code.yaml.j2", steps.code_map(bundle, run.code)
    yield "jobs/steps.yaml.j2", _steps_map(bundle, run)
    yield ("jobs/job.yaml.j2" if run.schedule is None else "jobs/cronjob.yaml.j2"), _driver(bundle, run)


def _accounts(bundle: ir.Bundle) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Steps run user code: theirs has no rights at all. The driver's has the Role."""
    shared = {
        "namespace": bundle.target.namespace,
        "labels": ownership.labels(bundle, "setup"),
        "annotations": ownership.provenance(bundle),
    }
    yield "jobs/serviceaccount.yaml.j2", {**shared, "name": _account(bundle, "run")}
    for name in ("serviceaccount", "role", "rolebinding"):
        yield f"jobs/{name}.yaml.j2", {**shared, "name": _account(bundle, "driver")}


def _account(bundle: ir.Bundle, role: str) -> str:
    return f"{bundle.model}-{role}"


def _driver(bundle: ir.Bundle, run: ir.Run) -> dict[str, Any]:
    """A scheduled run keeps its name when its content changes: two CronJobs of a model would both fire."""
    scheduled = run.schedule is not None
    return {
        **_pod(bundle),
        "name": bundle.model if scheduled else run.name,
        "labels": ownership.labels(bundle, "run"),
        "annotations": {
            **ownership.provenance(bundle),
            **ownership.identity(run),
            **({} if scheduled else ownership.CREATE_ONLY),
        },
        "schedule": {"cron": run.schedule.cron, "timezone": run.schedule.timezone} if run.schedule else None,
        "service_account": _account(bundle, "driver"),
        "backoff_limit": BACKOFF_LIMIT,
        "image": _driver_image(run),
        "arguments": _driver_arguments(bundle, run),
        "variables": _driver_variables(bundle),
        "resources": RESOURCES,
        **pods.placement(bundle.target),
        "steps_folder": STEPS,
        "steps_map": f"{run.name}-steps",
    }


def _driver_image(run: ir.Run) -> str | None:
    """That of a step without an accelerator where there is one: the images of accelerators are large."""
    return next((step.image for step in run.steps if step.accelerator is None), run.steps[0].image)


def _driver_arguments(bundle: ir.Bundle, run: ir.Run) -> list[str]:
    fixed = {"store": bundle.target.store or "", "model": bundle.model, "jobs": STEPS}
    known = [f"--{name}={value}" for name, value in fixed.items()]
    listed = [f"--step={contract.encode(step.spec)}" for step in run.steps]
    own = [f"--{name}=$(AIF_{name.upper()})" for name in ("run", "uid", "namespace")]
    return [*map(pods.literal, known), *own, *map(pods.literal, listed)]


def _driver_variables(bundle: ir.Bundle) -> list[pods.Variable]:
    told = {
        "AIF_RUN": LABELS.format("job-name"),
        "AIF_UID": LABELS.format("controller-uid"),
        "AIF_NAMESPACE": "metadata.namespace",
    }
    fixed = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in told.items()]
    return pods.environment([*fixed, *steps.HOME], _literal(bundle.target.pods.variables))


def _pod(bundle: ir.Bundle) -> dict[str, Any]:
    return {
        "namespace": bundle.target.namespace,
        "ttl": steps.TTL,
        "work": steps.WORK,
        **pods.defaults(bundle.target),
    }


# Jobs of steps


def _steps_map(bundle: ir.Bundle, run: ir.Run) -> dict[str, Any]:
    """Immutable, for its name holds the run's digest."""
    jobs = {f"{step.name}.yaml": ("jobs/step.yaml.j2", _step(step, bundle, run)) for step in run.steps}
    return {
        "name": f"{run.name}-steps",
        "namespace": bundle.target.namespace,
        "labels": ownership.labels(bundle, "run"),
        "annotations": {**ownership.provenance(bundle), **ownership.CREATE_ONLY},
        "jobs": Nested(jobs),
    }


def _step(step: ir.Step, bundle: ir.Bundle, run: ir.Run) -> dict[str, Any]:
    return {
        **_pod(bundle),
        "name": re.sub(r"[^a-z0-9-]", "-", step.name.lower()).strip("-") or "step",
        "labels": {**ownership.labels(bundle, "step"), "aif.dev/step": step.name},
        "annotations": {**ownership.provenance(bundle), RETRIES: str(step.retries)},
        "service_account": _account(bundle, "run"),
        "image": step.image,
        "arguments": _step_arguments(step, bundle, run),
        "variables": _step_variables(step, bundle.target),
        "resources": steps.resources(step),
        **pods.placement(bundle.target, step.accelerator),
        "deadline": steps.deadline(step),
        "shared_memory": steps.shared_memory(step),
        "mounts_code": steps.mounts_code(step, run),
        "code": steps.code_volume(bundle, run.code),
    }


def _step_arguments(step: ir.Step, bundle: ir.Bundle, run: ir.Run) -> list[str]:
    """Where the step is; which step of which run it is comes from the driver."""
    target = bundle.target
    site = Site(store=target.store or "", run="", tracking=target.tracking, code=steps.code_folder(step, run))
    flags = {name: value for name, value in contract.plain(site).items() if name not in ("run", "attempt")}
    return [pods.literal(f"--{name}={value}") for name, value in flags.items() if value is not None]


def _step_variables(step: ir.Step, target: ir.Target) -> list[pods.Variable]:
    return pods.environment(steps.HOME, _literal((*target.pods.variables, *step.variables)), step.secrets)


def _literal(variables: tuple[ir.Variable, ...]) -> list[ir.Variable]:
    return [ir.Variable(name=each.name, value=pods.literal(each.value)) for each in variables]
