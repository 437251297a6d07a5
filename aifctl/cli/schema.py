"""`aifctl schema`: the JSON Schemas that editors use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aifctl.cli import completion, output


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="model (when left out), platform, lock or release; --write takes all when left out.",
            metavar="KIND",
            show_default=False,
            autocompletion=completion.kinds,
        ),
    ] = None,
    write: Annotated[Path | None, typer.Option("--write", help="Folder to write <kind>.schema.json into.")] = None,
) -> None:
    """Print or write the JSON Schemas of the vocabulary.

    An editor with yaml-language-server completes and explains every field after this line at the top of a spec:
        # yaml-language-server: $schema=schemas/model.schema.json

    Examples:
        aifctl schema model
        aifctl schema --write schemas/
    """
    from aifctl.spec import json_schema

    if write is None:
        output.data(json_schema.text(kind or "model"))
        return
    write.mkdir(parents=True, exist_ok=True)
    for name in [kind] if kind is not None else json_schema.KINDS:
        (write / f"{name}.schema.json").write_text(json_schema.text(name), encoding="utf-8")
