"""Arguments that several commands take, and what they become: a loaded repository, its environments, one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aifctl.diagnostics import Diagnostic, Report

if TYPE_CHECKING:
    from aifctl.spec.load import Repository
    from aifctl.spec.models.platform import Environment

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Spec files, folders or globs; this folder when left out.", show_default=False, metavar="[PATH]..."
    ),
]
Spec = Annotated[Path, typer.Argument(help="A model's spec file, or a folder that holds one.", show_default=False)]
Name = Annotated[str, typer.Argument(help="A model's name, or its spec file.", show_default=False, metavar="MODEL")]
PlatformFile = Annotated[
    Path | None,
    typer.Option("--platform", help="Platform file; the nearest platform.yaml above the specs when left out."),
]
Env = Annotated[
    str | None, typer.Option("--env", "-e", help="Environment of the platform; every one that applies when left out.")
]
OneEnv = Annotated[str, typer.Option("--env", "-e", help="Environment of the platform.")]


STORE = ".aif"
"""Store of this machine's runs, beside the platform file."""


def root() -> Path:
    """The repository's root above the working folder: where its platform file lies, else the folder itself."""
    from aifctl.spec import load

    platform = load.find_platform([Path()])
    return platform.parent if platform is not None else Path.cwd()


def repository(paths: list[Path] | None, platform: Path | None = None) -> Repository:
    from aifctl.spec import load

    if platform is not None and not platform.is_file():
        raise Report(Diagnostic("AIF113", f"no such file: {platform}"))
    return load.load(paths or [Path()], platform)


def environments(loaded: Repository, name: str | None, *, clusters_only: bool = False) -> list[Environment]:
    """The named environment, or all (those with a cluster only, where manifests are asked for). Raises Report."""
    from aifctl.spec import load

    if name is not None:
        chosen = loaded.environment(name)
        if clusters_only and chosen.local:
            hint = "it runs processes: use `aifctl run` and `aifctl serve`"
            raise Report(
                Diagnostic("AIF620", f"environment `{name}` has no cluster, so there is nothing to render", hint)
            )
        return [chosen]
    return [e for e in load.environments(loaded.platform) if not (clusters_only and e.local)]


def one_model(target: str) -> tuple[Repository, str | None]:
    """The repository that a model's name or spec file lies in, and the name where it was one. Raises Report."""
    path = Path(target)
    if path.exists() or path.suffix in (".yaml", ".yml"):
        return repository([path]), None
    return repository(None).narrowed(target), target
