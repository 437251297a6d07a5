"""`aifctl apply`: make a cluster what the specs say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def apply(
    paths: arguments.Paths = None,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan", help="Apply exactly this plan (`aifctl plan --against cluster --save FILE`), or refuse."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, by the server's dry-run.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until everything is healthy, and runs are accepted, before pruning.")
    ] = False,
    timeout: arguments.Timeout = None,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take fields that controllers or other tools have set otherwise.")
    ] = False,
    confirm_replace: Annotated[
        bool, typer.Option("--confirm-replace", help="Replace running jobs too where a field can't change in place.")
    ] = False,
    allow_prune: Annotated[bool, typer.Option("--allow-prune", help="Prune beyond the environment's limit.")] = False,
    rollback_on_failure: Annotated[
        bool,
        typer.Option(
            "--rollback-on-failure", help="Bring the former revision of a model back if it fails. Implies --wait."
        ),
    ] = False,
    release_hold: Annotated[
        bool, typer.Option("--release-hold", help="Apply a revision again that failed and was rolled back.")
    ] = False,
    lock_timeout: Annotated[
        str, typer.Option("--lock-timeout", help="How long to wait for another applier of the same model.")
    ] = "60s",
    cache: arguments.Cached = True,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Make a cluster what the specs say: create, change, wait, then prune.

    Each model is applied by itself: one that is broken or stuck holds up no other. Objects that are as they should be
    are not written. Fields of other managers are left alone, and a conflict names the field and its owner.

    Exit code 0 when everything is as it should be, 1 on an error.

    Examples:
        aifctl apply --env lab
        aifctl apply --env prod --wait --timeout 10m --rollback-on-failure
        aifctl apply --plan prod.plan
    """
    from aifctl.delivery import beforehand

    beforehand.load("aifctl.delivery.applying")
    approved = None
    if plan is not None:
        from aifctl.delivery import saved

        approved = saved.load(plan)
        if paths or env not in (None, approved.environment):
            raise typer.BadParameter("it says what is applied, and where", param_hint="--plan")
        top = platform.parent if platform is not None else arguments.root()
        paths, env = [top / each for each in approved.paths], approved.environment
        allow_prune = allow_prune or approved.allow_prune
    found = arguments.desired(paths, env, platform, cached=cache)
    from aifctl.cluster.ground import Choices
    from aifctl.cluster.outcome import Options
    from aifctl.delivery import applying, environments

    options = Options(
        wait=wait or rollback_on_failure,
        timeout=arguments.seconds(timeout, "--timeout") if timeout else None,
        lock_timeout=arguments.seconds(lock_timeout, "--lock-timeout"),
        release_hold=release_hold,
    )
    how = applying.How(
        choices=Choices(force_conflicts=force_conflicts, confirm_replace=confirm_replace),
        options=options,
        allow_prune=allow_prune,
        rollback_on_failure=rollback_on_failure,
        approved=approved,
    )
    door = arguments.door(context, kubeconfig)
    if dry_run:
        environments.refuse_others(found.address)
        planned = applying.plan(found, door, how)
        output.show(planned.diagnostics, found.texts)
        output.plan(planned, output.View(form))
        return 1 if output.failed(planned.diagnostics) else 0
    progress = output.Progress(sys.stderr, quiet=form is output.Output.JSON)
    applied = applying.apply(found, door, how, progress.tell)
    progress.end()
    output.show(applied.diagnostics, found.texts)
    if form is output.Output.JSON:
        output.as_json(applying.as_json(applied))
    else:
        print(applying.as_text(applied))
    return 1 if applied.failed else 0
