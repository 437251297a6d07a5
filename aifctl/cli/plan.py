"""`aifctl plan`: what would change, and which steps would run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aifctl.cli import arguments, output

CLUSTER = "cluster"


def plan(
    paths: arguments.Paths = None,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    against: Annotated[
        str,
        typer.Option("--against", help="What to compare with: `tree` (the rendered files), `cluster`, or a Git ref."),
    ] = "tree",
    out: Annotated[Path | None, typer.Option("--out", help="Folder that holds `rendered/`.")] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Keep the plan against a cluster in a file, for `aifctl apply --plan`."),
    ] = None,
    allow_prune: Annotated[
        bool, typer.Option("--allow-prune", help="Plan pruning beyond the environment's limit (cluster).")
    ] = False,
    context: arguments.Context = None,
    kubeconfig: arguments.Kubeconfig = None,
    cache: arguments.Cached = True,
    form: Annotated[
        output.View, typer.Option("--output", "-o", help="text, json (versioned), or markdown for a pull request.")
    ] = output.View.TEXT,
) -> int:
    """Show what would change, field by field, and which steps would run again and why. Writes nothing.

    Against a Git ref, the specs as they were then are compiled and compared, so a rendered tree need not exist.
    Against a cluster, its API server says what an apply would do (server-side dry-run): defaults, webhooks and fields
    of other managers are no changes. A tree or a ref needs no cluster.

    Exit code 0 if nothing changes, 2 if something does, 1 on an error.

    Examples:
        aifctl plan
        aifctl plan models/digits --env lab
        aifctl plan --env prod --against main
        aifctl plan --against origin/main --output markdown
        aifctl plan --against cluster --env prod --save prod.plan
    """
    if against == CLUSTER:
        from aifctl.delivery import beforehand

        beforehand.load("aifctl.delivery.applying")
        found = arguments.desired(paths, env, platform, cached=cache)
        from aifctl.delivery import applying

        how = applying.How(allow_prune=allow_prune)
        planned = applying.plan(found, arguments.door(context, kubeconfig), how, save, paths or [])
        texts = found.texts
    elif save is not None:
        raise typer.BadParameter("only a plan against a cluster can be saved", param_hint="--save")
    else:
        from aifctl.delivery import planning, tree

        loaded = arguments.repository(paths, platform)
        rendered = tree.render(
            loaded, arguments.environments(loaded, env, clusters_only=True), complete=arguments.whole(paths, platform)
        )
        planned = planning.plan(rendered, against, out, paths or [])
        texts = loaded.texts
    output.show(planned.diagnostics, texts)
    output.plan(planned, form)
    if output.failed(planned.diagnostics):
        return 1
    return 2 if planned.differs else 0
