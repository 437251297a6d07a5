"""`aifctl explain CODE`: what a diagnostic code means."""

from __future__ import annotations

from typing import Annotated

import typer

from aifctl.cli import completion, output


def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            help="A diagnostic's code; all are listed when left out.",
            metavar="CODE",
            show_default=False,
            autocompletion=completion.codes,
        ),
    ] = None,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> None:
    """Explain a diagnostic code: what it says, why it is bad, an example, what to write instead.

    Without a code, every code with its title.

    Examples:
        aifctl explain AIF301
        aifctl explain
    """
    from aifctl.diagnostics import explain as pages
    from aifctl.diagnostics.codes import CODES

    if code is None:
        rows = [{"code": each.code, "title": each.title} for each in CODES.values()]
        if form is output.Output.JSON:
            output.as_json({"codes": rows})
        else:
            print("\n".join(f"{row['code']}  {row['title']}" for row in rows))
        return
    page = pages.page(code)
    if form is output.Output.JSON:
        output.as_json({"code": code.upper(), "page": page})
    else:
        print(page.rstrip())
