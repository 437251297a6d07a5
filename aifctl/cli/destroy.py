"""`aifctl destroy`: take models out of a cluster."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def destroy(
    models: arguments.Models = None,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    everything: Annotated[bool, typer.Option("--all", help="Every model, and the platform's own objects.")] = False,
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Also Namespaces, volumes and CRDs, with all that is in them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until everything is gone.")] = False,
    timeout: arguments.Timeout = None,
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
) -> int:
    """Take models out of a cluster: all that their inventories have, running runs too. Artifacts in the store stay.

    Shows what goes and wants the environment's name typed. Namespaces and volumes stay unless `--with-data`. A model
    whose spec is still in Git comes back with the next apply.

    Examples:
        aifctl destroy digits --env lab
        aifctl destroy --all --env lab --with-data --yes
    """
    from aifctl.cluster.outcome import Options, failed
    from aifctl.delivery import applying, undoing
    from aifctl.plan.views.text import text

    if bool(models) == everything:
        raise typer.BadParameter("name the models, or take --all of them", param_hint="MODEL")
    loaded = arguments.repository(None, platform)
    environment = arguments.one_environment(loaded, env)
    door = arguments.door(context, kubeconfig)
    plan = undoing.doomed(environment, door, models or [], data=with_data)
    output.show(plan.findings, loaded.texts)
    if not plan.units:
        print(f"{environment.name}: nothing is on record here")
        return 1 if output.failed(plan.findings) else 0
    print(text(plan.changes, colour=output.colored(sys.stdout), width=output.width()), end="")
    for run in undoing.running(plan):
        print(f"kills {run}, which has not ended")
    if not yes:
        arguments.confirm(f"type `{environment.name}` to destroy this: ", environment.name)
    progress = output.Progress(sys.stderr, quiet=False)
    options = Options(wait=wait, timeout=arguments.seconds(timeout, "--timeout") if timeout else None)
    outcomes = undoing.destroy(environment, door, models or [], options, progress.tell, data=with_data)
    progress.end()
    output.show([found for outcome in outcomes for found in outcome.findings], {})
    gone = [str(outcome.unit) for outcome in outcomes if not outcome.failed]
    print(f"{environment.name}: destroyed {', '.join(gone) or 'no model'}; {applying.written(outcomes)}")
    return 1 if failed(outcomes) or output.failed(plan.findings) else 0
