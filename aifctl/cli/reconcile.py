"""`aifctl reconcile`: keep a cluster what Git says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def reconcile(
    repo: Annotated[str, typer.Option("--repo", help="URL or path of the Git repository.", show_default=False)],
    env: Annotated[
        str, typer.Option("--env", "-e", help="Environment of the repository's platform.", show_default=False)
    ],
    ref: Annotated[str, typer.Option("--ref", help="Branch, tag or whole commit id to follow.")] = "main",
    interval: Annotated[str, typer.Option("--interval", help="Time between two looks at Git.")] = "60s",
    once: Annotated[bool, typer.Option("--once", help="Look once, do what is to be done, and end.")] = False,
    detect_only: Annotated[
        bool, typer.Option("--detect-only", help="Write nothing, report drift; with --once exit code 2 says so.")
    ] = False,
    admin: Annotated[
        bool, typer.Option("--admin", help="Write the platform's own objects too, as the account `aifctl-admin`.")
    ] = False,
    as_myself: Annotated[
        bool, typer.Option("--as-myself", help="Write everything as the kubeconfig's user, not as tenants' accounts.")
    ] = False,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take fields that controllers or other tools have set otherwise.")
    ] = False,
    listen: Annotated[
        str, typer.Option("--listen", help="Address of /healthz and /readyz; empty for none.", metavar="HOST:PORT")
    ] = ":8081",
    metrics: Annotated[
        str, typer.Option("--metrics", help="Address of /metrics; empty for none.", metavar="HOST:PORT")
    ] = ":8080",
    namespace: Annotated[
        str, typer.Option("--namespace", help="Where inventories, the leader's lease and events are.")
    ] = "aif-system",
    state: Annotated[
        Path, typer.Option("--state", help="Folder for the copy of the repository.", show_default=False)
    ] = Path(".aif/reconcile"),
    compile_timeout: Annotated[
        str, typer.Option("--compile-timeout", help="How long a commit may take to compile.")
    ] = "5m",
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
    form: Annotated[
        output.Output, typer.Option("--output", "-o", help="text: lines for people, json: the same as JSON.")
    ] = output.Output.TEXT,
) -> int:
    """Keep a cluster what Git says: fetch, compile, apply, prune; watch what lives, and repair what drifts.

    Each model goes its own way: one that is broken, stuck, suspended or held holds up no other, and one that does not
    compile stays as it is. A suspended or held model is left alone altogether, its drift too. Of several processes one
    leads, by a lease; the others stand by. A tenant's objects are written as its own account. `aifctl init
    --reconciler` writes the manifests that run this in the cluster.

    Ends well on SIGTERM and Ctrl-C: what is being written is the last, and put on record.

    Exit code with --once: 0 all is as it should be, 1 an error, 2 drift (--detect-only).

    Examples:
        aifctl reconcile --repo https://git.example/models --env prod
        aifctl reconcile --repo . --env lab --once --detect-only
    """
    from aifctl.reconcile.loop import Reconciler
    from aifctl.reconcile.settings import Settings
    from aifctl.reconcile.telemetry import Log

    settings = Settings(
        repository=repo,
        environment=env,
        state=state,
        ref=ref,
        interval=arguments.seconds(interval, "--interval"),
        namespace=namespace,
        once=once,
        detect_only=detect_only,
        admin=admin,
        impersonate=not as_myself,
        force_conflicts=force_conflicts,
        compile_timeout=arguments.seconds(compile_timeout, "--compile-timeout"),
        listen="" if once else listen,
        metrics="" if once else metrics,
        door=arguments.door(context, kubeconfig),
    )
    as_json = form is output.Output.JSON
    stream = sys.stdout if as_json else sys.stderr
    log = Log(lambda line: print(line, file=stream, flush=True), as_json=as_json)

    async def run() -> int:
        return await Reconciler(settings, log).run()

    return asyncio.run(run())
