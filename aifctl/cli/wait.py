"""`aifctl wait`: until a run has ended, or a model is healthy."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from aifctl.cli import arguments

if TYPE_CHECKING:
    from aifctl.cluster.client import Client
    from aifctl.cluster.records import Records


class What(StrEnum):
    RUN = "run"
    HEALTHY = "healthy"


def wait(
    what: Annotated[What, typer.Argument(help="`run`: until it has ended. `healthy`: until all objects are.")],
    model: arguments.OnRecord,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    timeout: Annotated[str, typer.Option("--timeout", help="How long to wait at most.")] = "24h",
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
) -> int:
    """Wait in a cluster: until a model's newest run has ended, or until the model is healthy.

    Exit code 0 when it went well, 1 when the run failed, something is stuck, or the time is over.

    Examples:
        aifctl wait run digits --env lab
        aifctl wait healthy digits --env prod --timeout 10m
    """
    from aifctl.delivery import clusters, environments
    from aifctl.delivery import status as reading

    loaded = arguments.repository(None, platform)
    environment = arguments.one_environment(loaded, env)
    limit = arguments.seconds(timeout, "--timeout")

    async def until(client: Client, records: Records) -> str:
        if what is What.RUN:
            identity, verdict = await reading.ended(client, records, model, limit)
            return f"{identity}: {verdict.phase or verdict.state}"
        return await reading.healthy(client, records, model, limit)

    print(clusters.run(environments.address(environment), arguments.door(context, kubeconfig), until))
    return 0
