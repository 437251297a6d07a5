"""What a shell may complete: names of models, environments, runs and codes. Never raises: no answer is one too."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path

from aifctl.diagnostics import Report

Rows = list[str] | list[tuple[str, str]]
Completer = Callable[[str], Rows]


def _silent(find: Callable[[], Rows]) -> Completer:
    """typer looks at the parameter's name (`incomplete`) and keeps of the answer what begins with it."""

    @wraps(find)
    def complete(incomplete: str) -> Rows:
        try:
            return find()
        except (Report, OSError):
            return []

    del complete.__wrapped__  # its signature is the one above
    return complete


@_silent
def models() -> Rows:
    """Names of the models of the repository that the working folder is in.

    None where no platform file marks one: it could be the whole disk that is searched.
    """
    from aifctl.cli import arguments
    from aifctl.spec import load

    if load.find_platform([Path()]) is None:
        return []
    return sorted({document.model_name for document in arguments.repository(None).documents} - {""})


@_silent
def environments() -> Rows:
    from aifctl.spec import load

    platform = load.ground([Path()], []).platform
    return [(each.name, ", ".join(each.roles)) for each in load.environments(platform)]


@_silent
def runs() -> Rows:
    from aifctl.cli import arguments

    return sorted(path.stem for path in (arguments.root() / arguments.STORE / "runs").glob("*.json"))


@_silent
def codes() -> Rows:
    from aifctl.diagnostics.codes import CODES

    return [(each.code, each.title) for each in CODES.values()]


@_silent
def frameworks() -> Rows:
    from aifctl.delivery import starting

    return list(starting.known())


@_silent
def kinds() -> Rows:
    from aifctl.spec import json_schema

    return list(json_schema.KINDS)
