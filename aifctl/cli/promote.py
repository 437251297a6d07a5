"""`aifctl promote`: release a run to an environment."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aifctl.cli import arguments, completion, output


def promote(
    model: arguments.Name,
    env: arguments.OneEnv,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            help="Run of this machine to release; the newest finished one when left out.",
            autocompletion=completion.runs,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Environment that the run was made in; the only one that trains when left out.",
            metavar="ENV",
            autocompletion=completion.environments,
        ),
    ] = None,
    allow_worse: Annotated[
        bool, typer.Option("--allow-worse", help="Release it even if what serves now is better on the same rows.")
    ] = False,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> None:
    """Release a run that passed its gates: write releases/<env>/<model>.yaml, for a commit.

    The comparison with what serves now is made again, on the candidate's test rows. Where the environments' stores
    differ, the bundle is copied. A rollback is a revert of the release's commit.

    Examples:
        aifctl promote digits --env local
        aifctl promote digits --env local --run local-digits-3f9a1c20b7
        aifctl promote digits --env prod --from lab
    """
    from aifctl.delivery import promotion

    loaded, name = arguments.one_model(model)
    request = promotion.Request(environment=env, run=run, source=source, allow_worse=allow_worse)
    done = promotion.promote(loaded, name, request)
    output.show(done.diagnostics, loaded.texts)
    if form is output.Output.JSON:
        output.as_json({key: value for key, value in asdict(done).items() if key != "diagnostics"})
        return
    print(f"{done.file}  {'written' if done.changed else 'unchanged'}")
    print(f"  run        {done.run}")
    print(f"  exports    {', '.join(done.exports)}")
    print(f"  metrics    {', '.join(f'{metric} {value:.4g}' for metric, value in done.metrics.items())}")
    if done.champion is not None:
        print(f"  champion   {', '.join(f'{metric} {value:.4g}' for metric, value in done.champion.items())}")
