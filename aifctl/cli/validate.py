"""`aifctl validate`: check specs in every environment."""

from __future__ import annotations

from typing import Annotated

import typer

from aifctl.cli import arguments, output


def validate(
    paths: arguments.Paths = None,
    env: arguments.Env = None,
    platform: arguments.PlatformFile = None,
    form: Annotated[
        output.Format, typer.Option("--output", "-o", help="text; json and sarif for tools; github for annotations.")
    ] = output.Format.TEXT,
) -> int:
    """Check specs: YAML, schema, references between sections, what fits together, what the platform offers.

    Nothing is run and no cluster is asked. Exit code 1 if anything is wrong; warnings alone are 0.

    Examples:
        aifctl validate
        aifctl validate models/ --env prod
        aifctl validate --output github
    """
    from aifctl import pipeline

    loaded = arguments.repository(paths, platform)
    compiled = [pipeline.compile_environment(loaded, each) for each in arguments.environments(loaded, env)]
    found = pipeline.merge(compiled)
    output.show(found, loaded.texts, form)
    if form is output.Format.TEXT and not output.failed(found):
        names = {model.unit.name for each in compiled for model in each.models}
        count = f"{len(names)} model" + ("s" if len(names) != 1 else "")
        print(f"{count} valid in {', '.join(each.environment.name for each in compiled)}")
    return 1 if output.failed(found) else 0
