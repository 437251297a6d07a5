"""`aifctl render`: specs → the manifest tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def render(
    paths: arguments.Paths = None,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to put `rendered/` into; the platform file's when left out.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 2 if the tree is out of date.")
    ] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the manifests instead of writing files.")] = False,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Compile specs to plain manifests, one object a file, for Git.

    The tree is rendered/<environment>/<namespace>/<model>/{setup,run,serve}/<kind>-<name>.yaml. Its bytes depend on
    the specs alone; files of objects that are gone are removed. A model with errors keeps the files it has.

    Examples:  aifctl render    aifctl render models/digits --env lab --stdout    aifctl render --check
    """
    from aifctl.delivery import tree

    loaded = arguments.repository(paths, platform)
    rendered = tree.render(loaded, arguments.environments(loaded, env, clusters_only=True), complete=not paths)
    output.show(rendered.diagnostics, loaded.texts)
    errors = 1 if output.failed(rendered.diagnostics) else 0
    if stdout:
        print(rendered.stream(), end="")
        return errors
    written = tree.put(rendered, out, dry=check)
    if form is output.Output.JSON:
        output.as_json(tree.as_json(written, check))
    else:
        print(tree.as_text(written, check))
    return errors or (2 if check and written.differs else 0)
