"""`aifctl retry`: one more attempt at a run of a cluster."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def retry(
    model: arguments.Name,
    env: arguments.OneEnv,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> None:
    """Try a failed run again: count one more attempt in the lock file, which gives the run object a new name.

    Run objects are created once and never changed. What the failed attempt finished is found by its digest and not
    done again. On this machine, `aifctl run` goes on by itself.

    Examples:
        aifctl retry digits --env lab
        aifctl render --env lab
    """
    from aifctl.delivery import retrying

    loaded, name = arguments.one_model(model)
    done = retrying.retry(loaded, name, env)
    if form is output.Output.JSON:
        output.as_json(asdict(done))
    else:
        print(f"{done.file}  written: attempt {done.attempt} is {done.run}; render and commit it")
