"""Runs as Argo Workflows: a create-only, content-named `Workflow`, or a `CronWorkflow` where the run has a schedule.

What is written is valid for Argo 3.7 and 4.1 (`schedules`, `mutexes`; nothing that either lacks).

Argo reads `{{…}}` in every text below `spec`, and the kubelet reads `$(…)` in args and env. Users' text is guarded from
both: args and variables are rewritten so that the program receives them unchanged (`_verbatim`), any other text with
`{{` in it is refused (AIF508).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from aifctl import contract, digest, ir
from aifctl.contract import Kind, Site
from aifctl.diagnostics import Diagnostic, Report
from aifctl.render import ownership, pods, steps

DIGEST_FILE = f"{steps.WORK}/digest"
BRACE = "AIF_BRACE"
WORKFLOW = "metadata.labels['workflows.argoproj.io/workflow']"
TEMPLATE_LIMIT = 200
"""Of a Workflow, says its CRD; one of them is the DAG."""
LONGEST = 30 * 24 * 3600
"""Seconds that a run may take beside the timeouts of its steps: waiting for quota and nodes, and steps without one."""
# Worth another try: our own exit code for faults of the surroundings, a pod that was lost or could not start, and one
# that was told to stop or killed from outside. Not worth one: user code, a gate, memory it has not got, a timeout
# (its message ends in "deadline" or has "DeadlineExceeded").
RETRY = (
    'not (lastRetry.message contains "OOMKilled" or lastRetry.message contains "eadline") and '
    f'(lastRetry.exitCode in ["{contract.EXIT_RETRY}", "137", "143", "-1"] or lastRetry.status == "Error")'
)

# What Pod Security `restricted` asks of the containers that Argo adds; Argo itself asks for nothing.
_OWN = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
POD_PATCH = digest.canonical_json(
    {
        "initContainers": [{"name": "init", "securityContext": _OWN}],
        "containers": [{"name": "wait", "securityContext": _OWN}],
    }
)


def objects(bundle: ir.Bundle) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Raises Report: AIF507 (no store, image or back end), AIF508 (text Argo would read), AIF509 to AIF511."""
    run = bundle.run
    if run is None:
        return
    findings = list(_findings(bundle, run))
    tasks = [] if findings else _steps(bundle, run)
    findings += steps.too_large((task["name"], task["arguments"]) for task in tasks)
    if findings:
        raise Report(*findings)
    account = {"name": f"{bundle.model}-run", "namespace": bundle.target.namespace}
    setup = {**account, "labels": ownership.labels(bundle, "setup"), "annotations": ownership.provenance(bundle)}
    for name in ("serviceaccount", "token", "role", "rolebinding"):
        yield f"argo/{name}.yaml.j2", setup
    if run.code is not None and run.code.delivery == "inline":
        yield "argo/code.yaml.j2", steps.code_map(bundle, run.code)
    yield (
        ("argo/workflow.yaml.j2" if run.schedule is None else "argo/cronworkflow.yaml.j2"),
        _workflow(bundle, run, tasks),
    )


def _workflow(bundle: ir.Bundle, run: ir.Run, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """A scheduled run keeps its name when its content changes: two CronWorkflows of a model would both fire."""
    scheduled = run.schedule is not None
    return {
        "name": bundle.model if scheduled else run.name,
        "namespace": bundle.target.namespace,
        "labels": ownership.labels(bundle, "run"),
        "annotations": {
            **ownership.provenance(bundle),
            **ownership.identity(run),
            **({} if scheduled else ownership.CREATE_ONLY),
        },
        "schedule": {"cron": run.schedule.cron, "timezone": run.schedule.timezone}
        if run.schedule is not None
        else None,
        "service_account": f"{bundle.model}-run",
        **pods.defaults(bundle.target),
        "retry": RETRY,
        "deadline": _deadline(run),
        "pod_patch": POD_PATCH,
        "ttl": steps.TTL,
        "work": steps.WORK,
        "digest_file": DIGEST_FILE,
        "code": steps.code_volume(bundle, run.code),
        "steps": tasks,
    }


def _steps(bundle: ir.Bundle, run: ir.Run) -> list[dict[str, Any]]:
    tasks = _tasks(run)
    return [_step(step, bundle, run, tasks) for step in run.steps]


def _step(step: ir.Step, bundle: ir.Bundle, run: ir.Run, tasks: Mapping[str, str]) -> dict[str, Any]:
    unknown = [name for name in step.after if _digest_of(step, name) is None]
    shared = step.spec.kind is Kind.TRAIN
    arguments = _arguments(step, bundle, run, [(name, tasks[name]) for name in unknown])
    return {
        "name": step.name,
        "task": tasks[step.name],
        "after": [tasks[name] for name in step.after],
        "reads": [tasks[name] for name in unknown],
        "tells": step.spec.digest is None and _is_read(step, run),
        "image": step.image,
        "arguments": arguments,
        "variables": _variables(step, bundle.target, run, arguments),
        "resources": steps.resources(step),
        **pods.placement(bundle.target, step.accelerator),
        "deadline": steps.deadline(step),
        "retries": step.retries,
        "shared_memory": steps.shared_memory(step),
        "mounts_code": steps.mounts_code(step, run),
        # Two runs that share a training wait for each other: the second finds what the first has made.
        "mutex": f"aif-{ownership.short(step.spec.digest)}" if shared and step.spec.digest is not None else None,
    }


def _deadline(run: ir.Run) -> int:
    """Whole seconds after which the run ends, whatever it waits for: all its steps tried as often as they may be."""
    return LONGEST + sum((steps.deadline(step) or 0) * (step.retries + 1) for step in run.steps)


def _arguments(step: ir.Step, bundle: ir.Bundle, run: ir.Run, unknown: list[tuple[str, str]]) -> list[str]:
    """Users' text is rewritten, then Argo's and the kubelet's own tags are put in."""
    site = Site(
        store=bundle.target.store or "",
        run=run.name,
        tracking=bundle.target.tracking,
        code=steps.code_folder(step, run),
        digest_file=DIGEST_FILE if step.spec.digest is None and _is_read(step, run) else None,
    )
    values = {"attempt": "$(AIF_ATTEMPT)"}
    if run.schedule is not None:
        values["run"] = "$(AIF_RUN)"
    if unknown:
        values["known"] = ",".join(f"{name}={{{{inputs.parameters.{task}}}}}" for name, task in unknown)
    written = [_verbatim(each) for each in contract.to_arguments(step.spec, site)]
    kept = [each for each in written if each.removeprefix("--").partition("=")[0] not in values]
    return kept + [f"--{name}={value}" for name, value in values.items()]


def _variables(step: ir.Step, target: ir.Target, run: ir.Run, arguments: list[str]) -> list[pods.Variable]:
    variables = (*target.pods.variables, *step.variables)
    given = [ir.Variable(name=each.name, value=_verbatim(each.value)) for each in variables]
    braced = any(f"$({BRACE})" in text for text in (*arguments, *(each.value for each in given)))
    fixed: list[pods.Variable] = [
        *([{"name": BRACE, "value": "{"}] if braced else []),
        {"name": "AIF_ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *(
            [{"name": "AIF_RUN", "valueFrom": {"fieldRef": {"fieldPath": WORKFLOW}}}]
            if run.schedule is not None
            else []
        ),
        *steps.HOME,
    ]
    return pods.environment(fixed, given, step.secrets)


def _verbatim(text: str) -> str:
    """Args or env text that reaches the program as it is: no Argo tag, no variable of the kubelet.

    `{{` is broken by a variable that holds one brace; Argo is done before the kubelet puts it in.
    """
    return pods.literal(text).replace("{{", f"{{$({BRACE})")


def _tasks(run: ir.Run) -> dict[str, str]:
    """Step name → name in the Workflow (letters, digits, `-`). Names that would meet get a piece of their hash."""
    found: dict[str, str] = {}
    for step in run.steps:
        name = re.sub(r"[^A-Za-z0-9-]", "-", step.name).lstrip("-") or "step"
        taken = name in found.values() or name == "run"
        found[step.name] = f"{name}-{digest.of_text(step.name)[:8]}" if taken else name
    return found


def _digest_of(step: ir.Step, name: str) -> str | None:
    return step.spec.inputs[name] if name in step.spec.inputs else step.spec.needs[name]


def _is_read(step: ir.Step, run: ir.Run) -> bool:
    return any(step.name in other.after and _digest_of(other, step.name) is None for other in run.steps)


# Findings


def _findings(bundle: ir.Bundle, run: ir.Run) -> Iterator[Diagnostic]:
    if len(run.steps) >= TEMPLATE_LIMIT:
        yield Diagnostic("AIF510", f"the run has {len(run.steps)} steps, Argo takes {TEMPLATE_LIMIT - 1}")
    yield from steps.findings(bundle, run)
    for place, text in _read_by_argo(bundle, run):
        if "{{" in text:
            message = f"Argo would read `{text}` ({place}) as a tag"
            yield Diagnostic("AIF508", message, "take `{{` out: this field has no way to carry it")


def _read_by_argo(bundle: ir.Bundle, run: ir.Run) -> Iterator[tuple[str, str]]:
    """Text of the IR that goes below a Workflow's `spec` as it stands: (what it is, the text)."""
    yield "model", bundle.model
    yield "store secret", bundle.target.store_secret or ""
    copied = replace(bundle.target.pods, variables=())
    yield from (("pod_defaults", text) for text in _texts(contract.plain(copied)))
    yield from (("variable of pod_defaults", each.name) for each in bundle.target.pods.variables)
    for file in run.code.files if run.code is not None else ():
        yield "path of a code file", file.path
    for step in run.steps:
        yield f"image of step {step.name}", step.image or ""
        for secret in step.secrets:
            yield from ((f"secret of step {step.name}", text) for text in (secret.name, secret.secret, secret.key))
        yield from ((f"variable of step {step.name}", variable.name) for variable in step.variables)
        if step.accelerator is not None:
            for text in _texts(contract.plain(step.accelerator)):
                yield f"accelerator {step.accelerator.name}", text


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain values, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
