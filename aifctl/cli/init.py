"""`aifctl init`: start a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write into; made where it is not there.")] = Path(),
    framework: Annotated[
        str, typer.Option("--framework", "-f", help="pytorch, tensorflow or custom (scikit-learn).")
    ] = "pytorch",
) -> None:
    """Write a small project that works at once: a platform file, one model with its data and code, editor schemas.

    Example:  aifctl init my-models && cd my-models && aifctl run iris
    """
    from aifctl.delivery import starting

    for path in starting.start(folder, framework):
        print(path)
    go = "" if folder == Path() else f"cd {folder} && "
    print(f"\nnext:  {go}aifctl validate && aifctl run iris")
