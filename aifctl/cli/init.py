"""`aifctl init`: start a project, or the reconciler of one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from aifctl.cli import arguments, completion, output

RECONCILER = "With --reconciler"


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
    reconciler: Annotated[
        bool, typer.Option("--reconciler", help="Write manifests that run `aifctl reconcile` in a cluster instead.")
    ] = False,
    repo: Annotated[
        str | None, typer.Option(help="URL of the Git repository.", rich_help_panel=RECONCILER, metavar="URL")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="Image with aifctl and Git, best pinned by digest; aif-reconciler of this version, from where the "
            "platform's images are, when left out.",
            rich_help_panel=RECONCILER,
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            "--env",
            "-e",
            help="Environment to reconcile; the one that aifctl delivers when left out.",
            rich_help_panel=RECONCILER,
            autocompletion=completion.environments,
        ),
    ] = None,
    ref: Annotated[str, typer.Option(help="Branch, tag or commit to follow.", rich_help_panel=RECONCILER)] = "main",
    interval: Annotated[str, typer.Option(help="Time between two looks at Git.", rich_help_panel=RECONCILER)] = "60s",
    namespace: Annotated[
        str, typer.Option(help="Namespace to run in; inventories are kept there.", rich_help_panel=RECONCILER)
    ] = "aif-system",
    admin: Annotated[
        bool,
        typer.Option("--admin", help="Let it make tenants' namespaces, quotas and rights.", rich_help_panel=RECONCILER),
    ] = False,
    git_secret: Annotated[
        str | None,
        typer.Option(
            help="Secret with credentials for Git, of type basic-auth or ssh-auth.", rich_help_panel=RECONCILER
        ),
    ] = None,
    replicas: Annotated[
        int, typer.Option(help="Pods; one leads, the others stand by.", rich_help_panel=RECONCILER)
    ] = 2,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the manifests; FOLDER/reconciler.", rich_help_panel=RECONCILER),
    ] = None,
) -> None:
    """Write a small project that works at once: a platform file, one model with its data and code, editor schemas.

    Nothing that is there is overwritten. With --reconciler the folder is a project that is there, and what is written
    are manifests that apply it from within the cluster; they are written anew each time.

    Examples:
        aifctl init my-models
        aifctl init wines --framework custom
        aifctl init --reconciler --repo https://git.example/models
    """
    if reconciler:
        if repo is None:
            raise typer.BadParameter("--reconciler needs --repo")
        arguments.seconds(interval, "--interval")
        from aifctl.delivery.installing import Wish, install

        wish = Wish(
            repository=repo,
            image=image,
            ref=ref,
            environment=env,
            namespace=namespace,
            interval=interval,
            admin=admin,
            git_secret=git_secret,
            replicas=replicas,
        )
        written = install(folder, wish, out)
        following = f"kubectl apply --server-side --filename {shlex.quote(str(written[0].parent))}"
    else:
        from aifctl.delivery import starting

        written = starting.start(folder, framework)
        go = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
        following = f"{go}aifctl validate && aifctl run iris"
    if form is output.Output.JSON:
        output.as_json({"files": [path.as_posix() for path in written]})
    else:
        print("\n".join(map(str, written)))
        print(f"\nnext:  {following}")
