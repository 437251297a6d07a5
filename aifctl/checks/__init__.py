"""Rules across the sections of a spec, before a GPU-hour is spent. Pure: a `Subject` in, diagnostics out, no I/O.

One file a rule family; `CHECKS` is their order. A check may rely on the schema, never on another check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aifctl.diagnostics import Diagnostic
from aifctl.spec.load import Unit
from aifctl.spec.models.platform import Platform


@dataclass(frozen=True, slots=True)
class Subject:
    """What a check looks at: a model in one environment, and the platform (None: this machine, with defaults)."""

    unit: Unit
    platform: Platform | None


Check = Callable[[Subject], Iterator[Diagnostic]]

CHECKS: tuple[Check, ...] = ()


def check(subject: Subject) -> list[Diagnostic]:
    """Every finding of every check, in the order of CHECKS."""
    return [diagnostic for rule in CHECKS for diagnostic in rule(subject)]
