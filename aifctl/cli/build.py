"""`aifctl build`: the Containerfile of a model's own image."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aifctl.cli import arguments, output


def build(
    model: arguments.Name,
    env: arguments.OneEnv,
    form: Annotated[output.Output, typer.Option("--output", "-o", help="text or json.")] = output.Output.TEXT,
) -> None:
    """Write the Containerfile of a model whose requirements go beyond the platform's runtime image.

    It starts from that image, installs the locked packages by hash and adds the code. Build and push it with any
    builder, then name it by digest in `code.image`.

    Examples:
        aifctl lock models/digits
        aifctl build digits --env lab
    """
    from aifctl.delivery import image

    loaded, name = arguments.one_model(model)
    built = image.build(loaded, name, env)
    if form is output.Output.JSON:
        output.as_json(asdict(built))
        return
    print("\n".join(f"{file}  written" for file in built.files))
    print(f"build it:  {built.command}")
    print("then set   code: {image: REGISTRY/NAME@sha256:…}")
