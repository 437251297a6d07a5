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

    Says what could go, and deletes only with --delete. Releases that a commit of the last --older-than named count as
    releases, so that a revert finds what it goes back to.

    Examples:
        aifctl gc
        aifctl gc --older-than 1d --keep-runs 1 --delete
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
    if form is output.Output.JSON:
        output.as_json(collecting.as_json(garbage, delete))
    else:
        print(collecting.as_text(garbage, delete))
    return 1 if output.failed(plan.diagnostics) else 0
