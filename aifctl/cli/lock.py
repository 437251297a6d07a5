"""`aifctl lock`: pin every moving name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def lock(
    paths: arguments.Paths = None,
    platform: arguments.PlatformFile = None,
    update: Annotated[
        bool, typer.Option("--update", help="Look everything up anew, also what is locked already.")
    ] = False,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Resolve what moves (data without a pin, requirements) into <model>.lock.yaml beside the spec.

    The only command that needs the network or reads big data; everything else reads the lock. Only --update moves a
    pin that is there.

    Examples:
        aifctl lock models/digits
        aifctl lock --update
    """
    from aifctl.delivery import locking

    loaded = arguments.repository(paths, platform)
    done = locking.lock(loaded, update)
    output.show(done.diagnostics, loaded.texts)
    if form is output.Output.JSON:
        output.as_json({"locks": [asdict(row) for row in done.rows]})
    else:
        for row in done.rows:
            print(f"{row.file}  {'written' if row.changed else 'unchanged'}  {', '.join(row.pinned)}".rstrip())
    return 1 if output.failed(done.diagnostics) else 0
