"""`aifctl init`: start a project."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from aifctl.cli import completion, output


def init(
    folder: Annotated[
        Path, typer.Argument(help="Folder to write into; made where it is not there.", metavar="FOLDER")
    ] = Path(),
    framework: Annotated[
        str,
        typer.Option(
            "--framework",
            "-f",
            help="pytorch, tensorflow or custom (scikit-learn).",
            autocompletion=completion.frameworks,
        ),
    ] = "pytorch",
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> None:
    """Write a small project that works at once: a platform file, one model with its data and code, editor schemas.

    Nothing that is there is overwritten.

    Examples:
        aifctl init my-models
        aifctl init wines --framework custom
    """
    from aifctl.delivery import starting

    written = starting.start(folder, framework)
    if form is output.Output.JSON:
        output.as_json({"files": [path.as_posix() for path in written]})
        return
    print("\n".join(map(str, written)))
    go = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    print(f"\nnext:  {go}aifctl validate && aifctl run iris")
