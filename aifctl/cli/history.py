"""`aifctl history`: what was applied of a model, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aifctl.cli import arguments, output

if TYPE_CHECKING:
    from aifctl.cluster.client import Client
    from aifctl.cluster.inventory import Inventory
    from aifctl.cluster.records import Records


def history(
    model: arguments.OnRecord,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """List what was applied of a model: revision, outcome, commit, when and by whom. The newest comes first.

    A revision is a tree of manifests and the commit it came from. Drift that was repaired is no new revision.

    Examples:
        aifctl history digits --env prod
        aifctl history platform --env prod --output json
    """
    from aifctl.cli import tables
    from aifctl.delivery import clusters, environments
    from aifctl.delivery import status as reading

    loaded = arguments.repository(None, platform)
    environment = arguments.one_environment(loaded, env)

    async def read(client: Client, records: Records) -> Inventory:
        return await reading.history(records, model)

    found = clusters.run(environments.address(environment), arguments.door(context, kubeconfig), read)
    if form is output.Output.JSON:
        output.as_json(reading.history_as_json(found))
    else:
        tables.show(tables.history(found))
    return 0
