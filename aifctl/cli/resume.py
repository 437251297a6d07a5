"""`aifctl resume`: let a suspended model be reconciled again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aifctl.cli import arguments

if TYPE_CHECKING:
    from aifctl.cluster.client import Client
    from aifctl.cluster.inventory import Inventory
    from aifctl.cluster.records import Records


def resume(
    model: arguments.OnRecord,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
) -> int:
    """Let a model be reconciled again that `aifctl suspend` has stopped.

    A reconciler that runs goes on at once: what changed in Git meanwhile is applied, and what drifted is repaired.

    Examples:
        aifctl resume digits --env prod
        aifctl resume platform --env prod
    """
    from aifctl.delivery import clusters, environments
    from aifctl.delivery import status as reading
    from aifctl.reconcile import pausing

    loaded = arguments.repository(None, platform)
    environment = arguments.one_environment(loaded, env)

    async def act(client: Client, records: Records) -> Inventory:
        found = await reading.history(records, model)
        return await pausing.resume(records, found.unit)

    found = clusters.run(environments.address(environment), arguments.door(context, kubeconfig), act)
    print(f"{found.unit}: is reconciled again")
    return 0
