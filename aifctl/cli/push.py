"""`aifctl push`: put code and data where pods find them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def push(
    env: arguments.OneEnv,
    paths: arguments.Paths = None,
    platform: arguments.PlatformFile = None,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Send `path` data, and code too large for a manifest, into an environment's store, by content.

    What is there already is not sent again. Pods hold what they fetch against the digests in their arguments.

    Examples:
        aifctl push --env lab
        aifctl push --env lab models/digits
    """
    from aifctl.delivery import pushing

    loaded = arguments.repository(paths, platform)
    rows, found = pushing.push(loaded, loaded.environment(env))
    output.show(found, loaded.texts)
    if form is output.Output.JSON:
        output.as_json({"pushed": [asdict(row) for row in rows]})
    else:
        for row in rows:
            print(f"{row.model}  {row.what}  {row.size:,} bytes  {'sent' if row.sent else 'there already'}  {row.uri}")
        if not rows and not output.failed(found):
            print("nothing to push: code travels in the manifests, and data is read where it lies")
    return 1 if output.failed(found) else 0
