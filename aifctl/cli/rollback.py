"""`aifctl rollback`: bring a former revision of a model back."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def rollback(
    model: arguments.OnRecord,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    to: Annotated[
        int | None,
        typer.Option("--to", help="Number of the revision; the newest good one of another tree if left out."),
    ] = None,
    any_tree: Annotated[
        bool, typer.Option("--any-tree", help="Take the commit even if this aifctl compiles it to other manifests.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until everything is healthy.")] = False,
    timeout: arguments.Timeout = None,
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
) -> int:
    """Bring a former revision of a model back: the recorded commit is compiled again and applied.

    The revision that is left is held: neither apply nor reconcile brings it again until the model changes in Git (or
    `aifctl apply --release-hold`). Git is not touched: revert the commit there too.

    Examples:
        aifctl rollback digits --env prod
        aifctl rollback digits --env prod --to 3 --wait --timeout 5m
    """
    from aifctl.cluster.outcome import Options, Result
    from aifctl.delivery import environments, undoing

    loaded = arguments.repository(None, platform)
    environment = arguments.one_environment(loaded, env)
    limit = environments.timeout(environment, arguments.seconds(timeout, "--timeout") if timeout else None)
    options = Options(wait=wait, timeout=limit)
    progress = output.Progress(sys.stderr, quiet=False)
    door = arguments.door(context, kubeconfig)
    outcome, revision = undoing.rollback(loaded, environment, door, (model, to, any_tree), options, progress.tell)
    progress.end()
    output.show(outcome.findings, {})
    if outcome.failed:
        return 1
    where = f"revision {revision.number} (commit {revision.commit[:10]})"
    if outcome.result is Result.UNCHANGED or not outcome.done:
        print(f"{outcome.unit}: is as {where} already")
    else:
        held = "; the one left is held" if outcome.inventory is not None and outcome.inventory.held else ""
        print(f"{outcome.unit}: back at {where}{held}")
    return 0
