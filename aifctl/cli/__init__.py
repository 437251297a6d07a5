"""The commands, one thin file each: no rule or default lives here. The only join of compile, plan and runtime.

A command module is imported when it is called (all of them for `--help` and completion), and imports what it needs
inside its function, so that `aifctl --help` stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import typer

from aifctl.cli import output
from aifctl.diagnostics import Report

COMMANDS = {
    "init": "Start",
    "validate": "Compile",
    "lock": "Compile",
    "render": "Compile",
    "plan": "Compile",
    "run": "Run",
    "runs": "Run",
    "retry": "Run",
    "build": "Deliver",
    "push": "Deliver",
    "promote": "Deliver",
    "serve": "Deliver",
    "gc": "Deliver",
    "explain": "Look up",
    "schema": "Look up",
}
"""Command → the panel of `--help` that lists it. The module of `x` is `aifctl.cli.x`, its function `x`."""

HELP = """One short YAML spec per model, compiled to plain Argo and Kubernetes manifests, planned, run and served.

Start with [bold]aifctl init[/bold], or look at a spec with [bold]aifctl validate[/bold].

Exit codes: 0 done or nothing to change, 1 an error, 2 changes found (plan, render --check).
"""


def application(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The typer application with these commands."""
    app = typer.Typer(
        name="aifctl",
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in names:
        function = getattr(importlib.import_module(f"aifctl.cli.{name}"), name)
        app.command(name, rich_help_panel=COMMANDS[name])(function)
    return app


def _root(
    version: bool = typer.Option(False, "--version", "-V", help="Show the version.", is_eager=True),
) -> None:
    if version:
        from aifctl import __version__

        print(f"aifctl {__version__}")
        raise typer.Exit


_root.__doc__ = HELP


def main(arguments: Sequence[str]) -> int:
    """Runs one command; the exit code. Findings are printed, never raised; only a fault of ours shows a traceback."""
    known = [argument for argument in arguments[:1] if argument in COMMANDS]
    completing = "_AIFCTL_COMPLETE" in os.environ
    try:
        app = application(known if known and not completing else tuple(COMMANDS))
        code = app(args=list(arguments), standalone_mode=False, prog_name="aifctl")
        return code if isinstance(code, int) else 0
    except Report as report:
        output.show(report.diagnostics, getattr(report, "texts", {}))
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader went away (`aifctl plan | head`): not a fault, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return 1
    except typer.TyperException as error:  # usage; its own exit code would be 2, which means "changes found" here
        show = getattr(error, "show", None)
        show() if show is not None else print(error, file=sys.stderr)
        return 1
