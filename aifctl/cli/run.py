"""`aifctl run`: execute a model's steps on this machine."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def run(
    model: arguments.Name,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a value of the spec, e.g. training.epochs=3; may be given again.",
            metavar="PATH=VALUE",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, mps …; what the framework finds when left out.")
    ] = None,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="Keep this many rows of each dataset.")] = None,
    parallel: Annotated[
        int | None, typer.Option("--parallel", min=1, help="Steps side by side; the number of cores when left out.")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop everything at the first failure.")] = False,
    debug: Annotated[
        str | None, typer.Option("--debug", help="Run this one step in this process, for a debugger.", metavar="STEP")
    ] = None,
    tracking: Annotated[
        bool, typer.Option("--tracking/--no-tracking", help="Record in MLflow (.aif/mlflow.db).")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")] = False,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Run a model's steps on this machine: read, train, evaluate, export, verify, register.

    A process a step, with the very arguments that a pod would get. What is done already is not done again: after
    Ctrl-C or a crash, the same command goes on where it was. Artifacts, logs and runs lie in .aif/.

    Examples:
        aifctl run digits
        aifctl run models/digits/model.yaml --device cpu
        aifctl run digits --set training.epochs=2 --sample 500
        aifctl run digits --debug train
    """
    from aifctl.delivery import local

    loaded, name = arguments.one_model(model)
    request = local.Request(
        assignments=tuple(set_ or ()),
        device=device,
        sample=sample,
        parallel=parallel,
        fail_fast=fail_fast,
        tracking=tracking,
    )
    prepared = local.prepare(loaded, request, name)
    output.show(prepared.diagnostics, loaded.texts)
    if debug is not None:
        # What the step prints would stand between a script and its JSON.
        with redirect_stdout(sys.stderr) if form is output.Output.JSON else nullcontext():
            result = local.debug(prepared, debug)
        output.show(result.diagnostics, loaded.texts)
        output.as_json(dict(result.outputs))
        return 0
    from aifctl.runtime import progress

    silent = quiet or form is output.Output.JSON
    outcome = local.execute(
        prepared, request, progress.view(sys.stderr, quiet=silent), ("aifctl", "run", *sys.argv[2:])
    )
    output.show(outcome.diagnostics, loaded.texts)
    if form is output.Output.JSON:
        output.as_json(local.as_json(outcome))
    else:
        print(local.as_text(outcome, prepared))
    return outcome.exit_code
