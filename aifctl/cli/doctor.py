"""`aifctl doctor`: is this machine, and an environment's cluster, as aifctl needs it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aifctl.cli import arguments, output
from aifctl.delivery.doctor.purpose import Purpose

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aifctl.delivery.examining import Examination, Patient


def doctor(
    env: Annotated[
        str | None,
        typer.Option(
            "--env",
            "-e",
            help="Environment of the platform; with a cluster, that is checked too.",
            autocompletion=arguments.completion.environments,
        ),
    ] = None,
    platform: arguments.PlatformFile = None,
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
    purpose: Annotated[
        Purpose | None,
        typer.Option(
            "--for",
            help="What this identity is to do there; apply where aifctl delivers, else plan, when left out.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Check this machine, and an environment's cluster, before they are used.

    Of the machine: versions, packages that the models need, Git, disk, accelerators. Of the cluster: its version and
    clock, who you are and what you may do, operators against those that the platform file declares, accelerators of
    nodes against the catalogue, namespaces, secrets (their names only), storage classes, what aifctl has on record.
    Each warning and problem says what to do; nothing is changed.

    Exit code 0 without problems (there may be warnings), 1 with one.

    Examples:
        aifctl doctor
        aifctl doctor --env lab
        aifctl doctor --env prod --for reconcile --output json
    """
    from aifctl.delivery import examining

    found = examining.examine(_patient(env, platform, purpose), arguments.door(context, kubeconfig))
    if form is output.Output.JSON:
        output.as_json(examining.as_json(found))
    else:
        from aifctl.cli import tables

        tables.show(_listed(found))
    return 0 if found.healthy else 1


def _patient(env: str | None, platform: Path | None, purpose: Purpose | None) -> Patient:
    """Without an environment's name, a folder without a repository is no fault."""
    from aifctl.delivery.examining import Patient
    from aifctl.diagnostics import Report

    root = platform.parent if platform is not None else arguments.root()
    try:
        loaded = arguments.repository(None, platform)
    except Report as report:
        if env is not None:
            raise
        return Patient(root=root, store=root / arguments.STORE, why=report.diagnostics)
    environment = loaded.environment(env) if env is not None else None
    store = loaded.root / arguments.STORE
    return Patient(root=loaded.root, store=store, repository=loaded, environment=environment, purpose=purpose)


def _listed(found: Examination) -> RenderableType:
    """A section's findings below its name: what was looked at, what was found, what to do."""
    from itertools import groupby

    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "warning": "yellow", "problem": "red"}
    parts: list[RenderableType] = []
    for section, findings in groupby(found.findings, key=lambda finding: finding.section):
        table = Table.grid(padding=(0, 2))
        for width in (7, 20):
            table.add_column(no_wrap=True, min_width=width)
        table.add_column(overflow="fold")
        for finding in findings:
            answer = finding.answer
            message = Text(f"{answer.code}: {answer.message}" if answer.code else answer.message)
            if answer.hint:
                message.append(f"\n→ {answer.hint}", style="dim")
            table.add_row(Text(answer.level, style=styles[answer.level]), Text(finding.check), message)
        parts += [Text(section.capitalize(), style="bold"), Padding(table, (0, 0, 1, 2))]
    return Group(*parts, Text(found.summary, style="green" if found.healthy else "red"))
