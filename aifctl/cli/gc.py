"""`aifctl gc`: free what nothing reaches."""

from __future__ import annotations

from typing import Annotated

import typer

from aifctl.cli import arguments, output


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; without, only say what could go.")] = False,
    older_than: Annotated[str, typer.Option("--older-than", help="Leave alone what is younger.")] = "7d",
    keep_runs: Annotated[int, typer.Option("--keep-runs", min=0, help="Newest runs of each model that stay.")] = 5,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Free artifacts of this machine's store (.aif) that no release, no recent run and no running one reaches.

    Says what could go, and deletes only with --delete. Pruning manifests never touches artifacts; this does.

    Examples:  aifctl gc    aifctl gc --older-than 1d --keep-runs 1 --delete
    """
    from aifctl.delivery import collecting

    plan = collecting.plan(arguments.root(), collecting.age(older_than), keep_runs)
    output.show(plan.diagnostics, {})
    garbage = plan.garbage
    if delete:
        from aifctl.runtime.gc import collect

        done = collect(plan)
        output.show(done.diagnostics, {})
        garbage = done.freed
    show = collecting.as_json if form is output.Output.JSON else collecting.as_text
    print(show(garbage, delete))
    return 0
