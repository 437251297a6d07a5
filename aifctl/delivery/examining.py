"""`aifctl doctor`: this machine and, with an environment that has one, its cluster, checked before use. Only reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aifctl.cluster.client import Client
from aifctl.cluster.records import Records
from aifctl.delivery import clusters, environments
from aifctl.delivery.clusters import Door
from aifctl.delivery.doctor import cluster, machine
from aifctl.delivery.doctor.answer import Finding, Level, told
from aifctl.delivery.doctor.machine import Machine
from aifctl.delivery.doctor.purpose import Purpose
from aifctl.delivery.doctor.subject import Subject
from aifctl.diagnostics import Diagnostic, Report
from aifctl.pipeline import Compiled, compile_environment
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment

VERSION = 1
"""Of the JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """`environment` is empty where none was named."""

    environment: str
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """No problem; warnings may be there."""
        return self.count(Level.PROBLEM) == 0

    def count(self, level: Level) -> int:
        return sum(finding.answer.level is level for finding in self.findings)

    @property
    def summary(self) -> str:
        counts = ((count, name) for level, name in _NAMES if (count := self.count(level)))
        return ", ".join(f"{count} {name}{'s' * (count != 1 and name != 'ok')}" for count, name in counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is examined. `repository` None: there is none at `root`, for the reasons `why`."""

    root: Path
    store: Path
    repository: Repository | None = None
    why: tuple[Diagnostic, ...] = ()
    environment: Environment | None = None
    purpose: Purpose | None = None
    """What whoever asks wants to do in the cluster; None: what the environment's deliverer leaves to aifctl."""


def examine(patient: Patient, door: Door) -> Examination:
    """Every check's findings, machine first. Nothing that a check meets ends the examination."""
    environment, compiled = patient.environment, None
    if environment is not None and patient.repository is not None:
        compiled = compile_environment(patient.repository, environment)
    found = machine.examine(
        Machine(
            root=patient.root, store=patient.store, repository=patient.repository, why=patient.why,
            environment=environment, compiled=compiled,
        )
    )  # fmt: skip
    if environment is not None and compiled is not None and not environment.local:
        found += _of_cluster(compiled, patient.purpose or _purpose(environment), door)
    return Examination(environment=environment.name if environment is not None else "", findings=tuple(found))


def _of_cluster(compiled: Compiled, purpose: Purpose, door: Door) -> list[Finding]:
    async def act(client: Client, records: Records) -> list[Finding]:
        subject = Subject(
            client=client, records=records, environment=compiled.environment, compiled=compiled, purpose=purpose
        )
        return await cluster.examine(subject)

    try:
        return clusters.run(environments.address(compiled.environment), door, act)
    except Report as report:  # no way there: no kubeconfig, no such context, credentials that can't be read
        return [Finding(section="cluster", check="access", answer=told(each)) for each in report.diagnostics]


def _purpose(environment: Environment) -> Purpose:
    return Purpose.APPLY if environment.deliverer == "aifctl" else Purpose.PLAN


def as_json(examination: Examination) -> dict[str, Any]:
    return {
        "version": VERSION,
        "environment": examination.environment or None,
        "healthy": examination.healthy,
        "summary": {str(level): examination.count(level) for level in Level},
        "findings": [
            {
                "section": finding.section,
                "check": finding.check,
                "level": str(finding.answer.level),
                "code": finding.answer.code or None,
                "message": finding.answer.message,
                "hint": finding.answer.hint or None,
            }
            for finding in examination.findings
        ],
    }


_NAMES = ((Level.PROBLEM, "problem"), (Level.WARNING, "warning"), (Level.OK, "ok"))
