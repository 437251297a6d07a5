"""Rules across the sections of a spec, before a GPU-hour is spent. Pure: a `Subject` in, diagnostics out, no I/O.

One file a rule family; `CHECKS` is their order. A check may rely on the schema, never on another check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aifctl.checks import (
    code,
    compatibility,
    data,
    environment,
    hardware,
    images,
    locks,
    metrics,
    names,
    pods,
    references,
    release,
    serving,
    unbuilt,
)
from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic

__all__ = ["CHECKS", "Check", "Subject", "check"]

Check = Callable[[Subject], Iterator[Diagnostic]]

CHECKS: tuple[Check, ...] = (
    names.check,
    references.check,
    data.check,
    metrics.check,
    code.check,
    locks.check,
    hardware.check,
    compatibility.check,
    serving.check,
    release.check,
    images.check,
    environment.check,
    pods.check,
    unbuilt.check,
)


def check(subject: Subject) -> list[Diagnostic]:
    """Every finding of every check, each once, in the order of CHECKS."""
    return list(dict.fromkeys(diagnostic for rule in CHECKS for diagnostic in rule(subject)))
