"""`aifctl plan`: what would change, and which steps would run again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def plan(
    paths: arguments.Paths = None,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    against: Annotated[
        str, typer.Option("--against", help="What to compare with: `tree` (the rendered files), or a Git ref.")
    ] = "tree",
    out: Annotated[Path | None, typer.Option("--out", help="Folder that holds `rendered/`.")] = None,
    form: Annotated[
        output.View, typer.Option("--output", "-o", help="text, json (versioned), or markdown for a pull request.")
    ] = output.View.TEXT,
) -> int:
    """Show what would change, field by field, and which steps would run again and why. Needs no cluster.

    Against a Git ref, the specs as they were then are compiled and compared, so a rendered tree need not exist.

    Exit code 0 if nothing changes, 2 if something does, 1 on an error.

    Examples:
        aifctl plan
        aifctl plan models/digits --env lab
        aifctl plan --env prod --against main
        aifctl plan --against origin/main --output markdown
    """
    from aifctl.delivery import planning, tree

    loaded = arguments.repository(paths, platform)
    rendered = tree.render(loaded, arguments.environments(loaded, env, clusters_only=True), complete=not paths)
    planned = planning.plan(rendered, against, out, paths or [])
    output.show(planned.diagnostics, loaded.texts)
    width = shutil.get_terminal_size((100, 24)).columns
    shown = planned.view(form, output.colored(sys.stdout), width)
    print(shown, end="") if form is output.View.TEXT else output.data(shown)
    if output.failed(planned.diagnostics):
        return 1
    return 2 if planned.differs else 0
