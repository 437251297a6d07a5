"""How a run and its steps ended, and the findings for a step that ended otherwise than it should."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aifctl.contract import StepSpec
from aifctl.diagnostics.model import Diagnostic, Severity
from aifctl.digest import SHORT
from aifctl.ir import Step
from aifctl.runtime.launcher import Ended

FINISHED = frozenset({"done", "cached"})


KILLED_HINT = "most often the system ran out of memory: use a smaller batch or sample, or fewer steps side by side"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """`state` is done, cached, failed, skipped or interrupted; `log` is where its output lies, None if it never ran."""

    name: str
    state: str
    digest: str | None = None
    seconds: float = 0.0
    outputs: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    log: str | None = None


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """`state` is done, failed or interrupted; steps are in the run's order."""

    run: str
    state: str
    steps: tuple[StepOutcome, ...]

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(finding for step in self.steps for finding in step.diagnostics)

    @property
    def exit_code(self) -> int:
        return 0 if self.state == "done" else 1


def reported(result: Mapping[str, Any]) -> list[Diagnostic]:
    """The findings of a step's result; what does not look like one is left out."""
    listed = result.get("diagnostics")
    found = [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, Sequence) else []
    return [
        Diagnostic(
            str(item["code"]),
            str(item["message"]),
            hint=None if item.get("hint") is None else str(item["hint"]),
            severity=Severity.WARNING if item.get("severity") == Severity.WARNING else Severity.ERROR,
            notes=tuple(str(note) for note in item.get("notes") or ()),
        )
        for item in found
        if "code" in item and "message" in item
    ]


def silent(step: Step, ended: Ended, log: str, lines: Sequence[str]) -> Diagnostic:
    message = f"step `{step.name}` ended with {ended.how} and said nothing about it"
    return Diagnostic("AIF842", message, hint=f"read its log: {log}", notes=tuple(lines))


def given_up(step: Step, tried: int, lines: Sequence[str]) -> Diagnostic:
    message = f"step `{step.name}` met a fault of its surroundings {tried} times and was given up"
    hint = "check that the store, the tracking server and the data can be reached, then run again"
    return Diagnostic("AIF844", message, hint=hint, notes=tuple(lines))


def killed(step: Step, ended: Ended, *, retried: bool) -> Diagnostic:
    memory = "" if ended.peak_memory is None else f", having used {ended.peak_memory / 2**30:.1f} GiB of memory"
    again = "; it was started again" if retried else ""
    return Diagnostic(
        "AIF843",
        f"step `{step.name}` was killed from outside ({ended.how}){memory}{again}",
        hint=ended.hint or KILLED_HINT,
        severity=Severity.WARNING if retried else Severity.ERROR,
    )


def late(step: Step) -> Diagnostic:
    message = f"step `{step.name}` was stopped after its time limit of {step.timeout:g} s"
    return Diagnostic("AIF846", message, hint="raise its timeout; training goes on from its last checkpoint")


def contradiction(spec: StepSpec, digest: str | None) -> Diagnostic:
    said = "left no result" if digest is None else f"reported digest {digest[:SHORT]}"
    expected = spec.digest
    wanted = "" if expected is None or expected == digest else f", expected was {expected[:SHORT]}"
    message = f"step `{spec.name}` ended well but {said}{wanted}, and its result is not in the store"
    return Diagnostic("AIF847", message, hint="user code must not end the process (`os._exit`) or clean up the store")


def missing_secrets(step: Step) -> list[Diagnostic]:
    """Secrets of a cluster are here what the caller's environment has under their names."""
    missing = [secret for secret in step.secrets if secret.name not in os.environ]
    return [
        Diagnostic(
            "AIF851",
            f"step `{step.name}` wants the secret `{secret.name}`, which is not set here",
            hint=f"export {secret.name}=… before `aifctl run`, if this step needs it",
            severity=Severity.WARNING,
        )
        for secret in missing
    ]
