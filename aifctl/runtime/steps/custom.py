"""custom: calls a user's own step, which reads `context.inputs` and writes to the paths of `context.outputs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aifctl.contract import CustomConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.job import Job, import_attribute

SUFFIXES = {"file": "", "folder": ""}
"""Format of an output → its file's ending, where that is not the format's name."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a user's step is called with."""

    inputs: Mapping[str, Path]
    """Name → a step's output file, or its folder where the spec names only the step."""
    outputs: Mapping[str, Path]
    """Name → the path to write; its folder exists."""
    params: Mapping[str, Any]
    _job: Job

    def log(self, **fields: Any) -> None:
        self._job.log(**fields)


def run(job: Job) -> dict[str, Any]:
    config = job.config(CustomConfig)
    names = {name: f"{name}{SUFFIXES.get(form, f'.{form}')}" for name, form in config.outputs.items()}
    context = Context(
        inputs={name: _input(job, source) for name, source in config.inputs.items()},
        outputs={name: job.path / file for name, file in names.items()},
        params=dict(config.params),
        _job=job,
    )
    import_attribute(config.call, job.code)(context)
    for name, file in names.items():
        _check_output(config.call, name, job.path / file)
    return names


def _input(job: Job, source: str) -> Path:
    """`step` is the folder it published, `step.output` one file of it."""
    step, _, output = source.partition(".")
    published = job.input(step)
    if not output:
        return published.path
    name = published.outputs.get(output)
    if not isinstance(name, str):
        known = ", ".join(
            sorted(k for k, v in published.outputs.items() if isinstance(v, str) and v in published.files)
        )
        raise Report(Diagnostic("AIF804", f"step `{step}` has no output `{output}`", f"it has {known or 'none'}"))
    return published.path / name if (published.path / name).is_dir() else published.file(name)


def _check_output(call: str, name: str, path: Path) -> None:
    if path.is_symlink() or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        message = f"`{call}` has not written its output `{name}`"
        raise Report(Diagnostic("AIF804", message, f'write to `context.outputs["{name}"]`'))
