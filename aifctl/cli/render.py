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
    cache: arguments.Cached = True,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> int:
    """Compile specs to plain manifests, one object a file, for Git.

    The tree is rendered/<environment>/<namespace>/<model>/, in it setup, run and serve. Its bytes depend on the specs
    alone; files of objects that are gone are removed. A model with errors keeps the files it has.

    Examples:
        aifctl render
        aifctl render models/digits --env lab --stdout
        aifctl render --check
    """
    if stdout:
        return _stream(paths, platform, env)
    from aifctl.delivery import fleet, tree

    request = fleet.Request(
        roots=arguments.roots(paths, platform),
        whole=arguments.whole(paths, platform),
        platform=platform,
        name=env,
        choose=lambda loaded: arguments.environments(loaded, env, clusters_only=True),
        out=out,
        dry=check,
        cached=cache,
    )
    done = fleet.render(request, tell=output.show)
    if form is output.Output.JSON:
        output.as_json(tree.as_json(done.written, check))
    else:
        print(tree.as_text(done.written, check))
    return 1 if done.failed else 2 if check and done.written.differs else 0


def _stream(paths: list[Path] | None, platform: Path | None, env: str | None) -> int:
    from aifctl.delivery import tree

    loaded = arguments.repository(paths, platform)
    rendered = tree.render(
        loaded, arguments.environments(loaded, env, clusters_only=True), complete=arguments.whole(paths, platform)
    )
    output.show(rendered.diagnostics, loaded.texts)
    output.data(rendered.stream())
    return 1 if output.failed(rendered.diagnostics) else 0
