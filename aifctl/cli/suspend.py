"""`aifctl suspend`: let nobody reconcile a model for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aifctl.cli import arguments

if TYPE_CHECKING:
    from aifctl.cluster.client import Client
    from aifctl.cluster.inventory import Inventory
    from aifctl.cluster.records import Records


def suspend(
    model: arguments.OnRecord,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever wonders.")] = "",
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
) -> int:
    """Let nobody reconcile a model until it is resumed: its commits are not delivered and its drift is not repaired.

    `aifctl reconcile` and `aifctl status` say so. An `aifctl apply` by hand still writes it.

    Examples:
        aifctl suspend digits --env prod --reason "incident 42"
        aifctl resume digits --env prod
    """
    from aifctl.delivery import clusters, environments
    from aifctl.delivery import status as reading
    from aifctl.reconcile import pausing

    loaded = arguments.repository(None, platform)
    environment = arguments.one_environment(loaded, env)
    why = f"{clusters.who()}: {reason or 'no reason given'}"

    async def act(client: Client, records: Records) -> Inventory:
        found = await reading.history(records, model)
        return await pausing.suspend(records, found.unit, why)

    found = clusters.run(environments.address(environment), arguments.door(context, kubeconfig), act)
    print(f"{found.unit}: suspended ({found.suspended})")
    return 0
