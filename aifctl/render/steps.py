"""What steps of a run need of a manifest, whichever engine runs them: folders, resources, code, and what can't be."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

from aifctl import digest, ir
from aifctl.contract import Kind
from aifctl.diagnostics import Diagnostic
from aifctl.render import ownership, pods

CODE = "/aif/code"
IMAGE_CODE = "/app"
WORK = "/aif/work"
RESERVED = "AIF_"
HOME: tuple[pods.Variable, ...] = (
    # The root file system is read-only, and the user has no entry in /etc/passwd.
    {"name": "HOME", "value": WORK},
    {"name": "TMPDIR", "value": WORK},
    {"name": "USER", "value": "aif"},
    {"name": "PYTHONUNBUFFERED", "value": "1"},
)
ARGUMENT_LIMIT = 128 << 10
"""Linux takes no longer argument (MAX_ARG_STRLEN)."""
TTL = 7 * 24 * 3600
"""Seconds that a finished run stays. An applier that then makes it again costs seconds: every step finds its marker."""


def resources(step: ir.Step) -> dict[str, dict[str, str]]:
    """Limits are the requests: such pods are the last to be evicted, and a run takes what its quota says."""
    amounts = {"cpu": pods.cpu(step.resources.cpu), "memory": pods.memory(step.resources.memory)}
    return {"requests": amounts, "limits": {**amounts, **pods.devices(step.accelerator)}}


def deadline(step: ir.Step) -> int | None:
    """Whole seconds that its pod may take, from its start on."""
    return None if step.timeout is None else max(1, round(step.timeout))


def shared_memory(step: ir.Step) -> str | None:
    """Size of /dev/shm, through which loaders of training data pass batches.

    It is memory, and counted in the limit; half of that, as Linux itself gives it.
    """
    return pods.memory(step.resources.memory // 2) if step.spec.kind is Kind.TRAIN else None


# Code


def code_folder(step: ir.Step, run: ir.Run) -> str | None:
    if step.spec.code is None or run.code is None:
        return None
    return {"inline": CODE, "archive": f"{WORK}/code", "image": IMAGE_CODE}[run.code.delivery]


def mounts_code(step: ir.Step, run: ir.Run) -> bool:
    return step.spec.code is not None and run.code is not None and run.code.delivery == "inline"


def code_map(bundle: ir.Bundle, code: ir.Code) -> dict[str, Any]:
    """Shared by all runs of the model that have this code; immutable, for its name holds its digest."""
    return {
        "name": _code_name(bundle, code),
        "namespace": bundle.target.namespace,
        "labels": ownership.labels(bundle, "run"),
        "annotations": {**ownership.provenance(bundle), **ownership.CREATE_ONLY},
        "files": {_code_key(file.path): file.text for file in code.files},
    }


def code_volume(bundle: ir.Bundle, code: ir.Code | None) -> dict[str, Any] | None:
    """Files lie below `tree`, which is mounted by subPath: the volume's top is made of symbolic links, that is not."""
    if code is None or code.delivery != "inline":
        return None
    items = [{"key": _code_key(file.path), "path": f"tree/{file.path}"} for file in code.files]
    return {"name": _code_name(bundle, code), "items": items, "folder": CODE}


def _code_name(bundle: ir.Bundle, code: ir.Code) -> str:
    return f"{bundle.model}-code-{ownership.short(code.digest)}"


def _code_key(path: str) -> str:
    """A ConfigMap's keys have no slashes: a piece of the path's hash, then the file's name for people."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", posixpath.basename(path))
    return f"{digest.of_text(path)[:8]}-{name[-200:]}"


# Findings


def findings(bundle: ir.Bundle, run: ir.Run) -> Iterator[Diagnostic]:
    """AIF507 (no store, image or back end), AIF509, AIF511."""
    target = bundle.target
    if target.store is None:
        hint = "give it `store: {uri: …}` in the platform file"
        yield Diagnostic("AIF507", f"environment `{target.environment}` has no store, which every step needs", hint)
    for step in run.steps:
        yield from _step_findings(step)


def too_large(arguments: Iterable[tuple[str, list[str]]]) -> Iterator[Diagnostic]:
    """AIF510 for arguments of (step's name, arguments) that Linux would refuse."""
    for name, given in arguments:
        size = max(len(each.encode()) for each in given)
        if size >= ARGUMENT_LIMIT:
            message = f"an argument of step `{name}` takes {size} bytes, Linux allows {ARGUMENT_LIMIT}"
            yield Diagnostic("AIF510", message, "move long parameters into a file of the code")


def _step_findings(step: ir.Step) -> Iterator[Diagnostic]:
    if not step.image:
        hint = "give the platform file an image for the framework, or the model `code: {image: …}`"
        yield Diagnostic("AIF507", f"step `{step.name}` has no image", hint)
    if step.nodes > 1:
        message = f"step `{step.name}` asks for {step.nodes} nodes; a step runs on one"
        yield Diagnostic("AIF507", message, "use `nodes: 1`; no back end for several nodes is there yet")
    if not ownership.is_label(step.name):
        message = f"`{step.name}` can't be the name of a step"
        yield Diagnostic("AIF509", message, "letters, digits, `-`, `_` and `.`, at most 63 characters")
    for name in (*(each.name for each in step.variables), *(each.name for each in step.secrets)):
        if name.startswith(RESERVED):
            hint = f"choose a name that does not start with `{RESERVED}`"
            yield Diagnostic("AIF511", f"variable `{name}` of step `{step.name}` is aifctl's own", hint)
