"""`aifctl status`: how models stand in a cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aifctl.cli import arguments, output

if TYPE_CHECKING:
    from aifctl.cluster.client import Client
    from aifctl.cluster.records import Records
    from aifctl.delivery.status import Status


def status(
    models: arguments.Models = None,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
    cache: arguments.Cached = True,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every two seconds, until Ctrl-C.")] = False,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Show how models stand in a cluster: in step with Git or not, healthy or not, which run, which version serves.

    What is not healthy is explained below the table: the object, the phase it is stuck in, and the last lines of the
    container. Reads only.

    Exit code 0 when everything is healthy, 1 when something is not.

    Examples:
        aifctl status --env prod
        aifctl status digits --env prod --watch
        aifctl status --env prod --output json
    """
    from aifctl.cli import tables
    from aifctl.delivery import clusters
    from aifctl.delivery import status as reading

    if watch and (form is output.Output.JSON or not sys.stdout.isatty()):
        raise typer.BadParameter("it draws a table on a terminal; ask again and again for JSON", param_hint="--watch")
    from aifctl.delivery import beforehand

    beforehand.load("aifctl.cluster.client")
    desired = arguments.desired(None, env, platform, cached=cache)
    git = reading.git_of(desired)
    door = arguments.door(context, kubeconfig)

    async def shown(client: Client, records: Records) -> int:
        if not watch:
            return _show(await reading.status(client, records, git, models or ()), form)
        with tables.live() as screen:
            async for found in reading.repeated(client, records, git, models or (), every=2.0):
                screen.update(tables.status(found, tables.columns()), refresh=True)
        return 0

    return clusters.run(desired.address, door, shown)


def _show(found: Status, form: output.Output) -> int:
    from aifctl.cli import tables
    from aifctl.delivery import status as reading

    output.show(found.problems, {})
    if form is output.Output.JSON:
        output.as_json(reading.as_json(found))
    else:
        tables.show(tables.status(found, tables.columns()))
    return 0 if found.healthy else 1
