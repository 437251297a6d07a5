"""Arguments that several commands take, and what they become: a loaded repository, its environments, one model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aifctl.cli import completion
from aifctl.diagnostics import Diagnostic, Report

if TYPE_CHECKING:
    from aifctl.delivery.clusters import Door
    from aifctl.delivery.desired import Desired
    from aifctl.spec.load import Repository
    from aifctl.spec.models.platform import Environment

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Spec files, folders or globs; the whole repository when left out.", show_default=False, metavar="PATH"
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        help="A model's name, its spec file, or a folder with one.",
        show_default=False,
        metavar="MODEL",
        autocompletion=completion.models,
    ),
]
PlatformFile = Annotated[
    Path | None,
    typer.Option("--platform", help="Platform file; the nearest platform.yaml above the specs when left out."),
]
Env = Annotated[
    str | None,
    typer.Option(
        "--env",
        "-e",
        help="Environment of the platform; every one that applies when left out.",
        autocompletion=completion.environments,
    ),
]
OneEnv = Annotated[
    str, typer.Option("--env", "-e", help="Environment of the platform.", autocompletion=completion.environments)
]
Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Names of models; all of them when left out.",
        show_default=False,
        metavar="MODEL",
        autocompletion=completion.models,
    ),
]
OnRecord = Annotated[
    str,
    typer.Argument(
        help="Name of a model that was applied; `platform` is what the environment itself needs.",
        show_default=False,
        metavar="MODEL",
        autocompletion=completion.models,
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Context of the kubeconfig; the environment's own when left out.")
]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="Kubeconfig file; $KUBECONFIG, then ~/.kube/config when left out.")
]
Cached = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Compile no model of which nothing has changed since the last time.")
]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout", help="How long one object may take (10m, 90s); each kind has its own time when left out."
    ),
]


STORE = ".aif"
"""Store of this machine's runs, beside the platform file."""


def root() -> Path:
    """The repository's root above the working folder: where its platform file lies, else the folder itself."""
    from aifctl.spec.files import find_platform

    platform = find_platform([Path()])
    return platform.parent if platform is not None else Path.cwd()


def repository(paths: list[Path] | None, platform: Path | None = None) -> Repository:
    """What lies below the paths; the whole repository when there are none, from wherever in it that is asked."""
    from aifctl.spec import load

    return load.load(roots(paths, platform), platform)


def roots(paths: list[Path] | None, platform: Path | None = None) -> list[Path]:
    """The paths, or the repository's own. Raises Report where the platform file is not there."""
    from aifctl.spec.paths import shown

    if platform is not None and not platform.is_file():
        raise Report(Diagnostic("AIF113", f"no such file: {platform}"))
    return paths or [Path(shown(root() if platform is None else platform.parent, Path.cwd()))]


def whole(paths: list[Path] | None, platform: Path | None = None) -> bool:
    """Whether the whole repository is asked for: by no path, or by the folder that its platform file lies in."""
    from aifctl.spec.files import find_platform

    if not paths:
        return True
    found = platform or find_platform(paths)
    return found is not None and found.parent.resolve() in {path.resolve() for path in paths}


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


def one_environment(loaded: Repository, name: str | None) -> Environment:
    """The named environment, or the only one with a cluster that aifctl applies. Raises Report (AIF620, AIF706)."""
    if name is not None:
        return environments(loaded, name, clusters_only=True)[0]
    found = environments(loaded, None, clusters_only=True)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"`{each.name}`" for each in found) or "none"
    raise Report(Diagnostic("AIF706", f"which environment? with a cluster: {listed}", "choose one with `--env`"))


def desired(paths: list[Path] | None, name: str | None, platform: Path | None, *, cached: bool = True) -> Desired:
    """What one environment should hold; of what is known from an earlier run nothing is compiled. Raises Report."""
    from aifctl.delivery import desired

    asked = desired.Asked(
        roots=roots(paths, platform),
        whole=whole(paths, platform),
        platform=platform,
        name=name,
        choose=lambda loaded: one_environment(loaded, name),
        cached=cached,
    )
    return desired.find(asked)


def door(context: str | None, kubeconfig: str | None) -> Door:
    """How to reach a cluster, as far as the command line says it."""
    from aifctl.delivery.clusters import Door

    return Door(context=context, kubeconfig=kubeconfig)


def seconds(text: str, option: str) -> float:
    """A duration such as `10m`. A usage error for anything else."""
    from aifctl.spec.quantities import parse_duration

    try:
        return float(parse_duration(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no duration such as 90s or 10m", param_hint=option) from error


def confirm(question: str, answer: str) -> None:
    """Asks, where somebody can answer. Raises Report (AIF745) for another answer, and where nobody can."""
    if not sys.stdin.isatty():
        hint = "`--yes` says it beforehand"
        raise Report(Diagnostic("AIF745", "this wants a confirmation, and nobody is at the terminal", hint))
    if input(question).strip() != answer:
        raise Report(Diagnostic("AIF745", "not confirmed: nothing was done"))


def one_model(target: str) -> tuple[Repository, str | None]:
    """The repository that a model's name or spec file lies in, and the name where it was one. Raises Report.

    A word that is both a model's name and a folder here (its own, or that of its code) is the name.
    """
    path = Path(target)
    if path.suffix in (".yaml", ".yml") or os.sep in target or target in (os.curdir, os.pardir):
        return repository([path]), None
    if not path.exists():
        return repository(None).narrowed(target), target
    try:
        whole = repository(None)
    except Report:
        return repository([path]), None
    named = any(document.model_name == target for document in whole.documents)
    return (whole.narrowed(target), target) if named else (repository([path]), None)
