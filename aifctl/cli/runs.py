"""`aifctl runs`: list runs of this machine, look at one, compare two."""

from __future__ import annotations

from typing import Annotated

import typer

from aifctl.cli import arguments, completion, output


def runs(
    first: Annotated[
        str | None,
        typer.Argument(
            help="A run, or the first digits of its digest.",
            metavar="RUN",
            show_default=False,
            autocompletion=completion.runs,
        ),
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(
            help="A run to compare it with.", metavar="OTHER", show_default=False, autocompletion=completion.runs
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Only runs of this model.", autocompletion=completion.models),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            help="Store of the runs, a folder or URL; .aif beside the platform file when left out.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """List the runs of this machine; show one; or compare two: spec, parameters, metrics, artifacts, commit.

    A run goes by its name, or by the first digits of the digest in it.

    Examples:
        aifctl runs
        aifctl runs 3f9a1c
        aifctl runs 3f9a1c 77b0e2
        aifctl runs --store s3://acme-models
    """
    from aifctl.runtime import comparison, run_tables
    from aifctl.runtime import runs as records
    from aifctl.runtime.store import Store

    listing = records.list_runs(Store(store if store is not None else arguments.root() / arguments.STORE), model)
    output.show(listing.diagnostics, {})
    as_data = form is output.Output.JSON
    if first is None:
        output.as_json(records.listing_to_json(listing)) if as_data else print(run_tables.listing_to_text(listing))
    elif second is None:
        record = records.find(listing, first)
        output.as_json(records.record_to_json(record)) if as_data else print(run_tables.record_to_text(record))
    else:
        compared = comparison.compare(records.find(listing, first), records.find(listing, second))
        output.as_json(comparison.comparison_to_json(compared)) if as_data else print(
            run_tables.comparison_to_text(compared)
        )
    return 0
