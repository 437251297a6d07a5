"""The commands, one thin file each: no rule or default lives here. The only join of compile, plan and runtime.

A command module is imported when it is called (all of them for `--help` and completion), and imports what it needs
inside its function, so that `aifctl --help` stays quick.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import typer

from aifctl.cli import output
from aifctl.diagnostics import Diagnostic, Report

COMMANDS = {
    "init": "Start",
    "validate": "Compile",
    "lock": "Compile",
    "render": "Compile",
    "plan": "Compile",
    "apply": "Cluster",
    "status": "Cluster",
    "wait": "Cluster",
    "history": "Cluster",
    "rollback": "Cluster",
    "destroy": "Cluster",
    "reconcile": "Cluster",
    "suspend": "Cluster",
    "resume": "Cluster",
    "run": "Run",
    "runs": "Run",
    "retry": "Run",
    "build": "Deliver",
    "push": "Deliver",
    "promote": "Deliver",
    "serve": "Deliver",
    "gc": "Deliver",
    "doctor": "Look up",
    "explain": "Look up",
    "schema": "Look up",
}
"""Command → the panel of `--help` that lists it. The module of `x` is `aifctl.cli.x`, its function `x`."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of every program (128 + SIGINT)."""

HELP = """One short YAML spec per model, compiled to plain Argo and Kubernetes manifests, planned, run and served.

A first model, from a spec to predictions:
    aifctl init my-models && cd my-models
    aifctl validate
    aifctl run iris
    aifctl promote iris --env local
    aifctl serve iris

Each command explains itself: aifctl COMMAND --help. Each finding has a code: aifctl explain CODE.

Exit codes: 0 done or nothing to change, 1 an error, 2 changes or drift found (plan, render --check,
reconcile --detect-only).
"""


def application(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The typer application with these commands."""
    app = typer.Typer(
        name="aifctl",
        help=layout(HELP),
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_root)
    for name in names:
        function = getattr(importlib.import_module(f"aifctl.cli.{name}"), name)
        app.command(name, help=layout(function.__doc__), rich_help_panel=COMMANDS[name])(function)
    return app


def layout(text: str) -> str:
    """A docstring as help: paragraphs flow, whatever the width; one with indented lines (examples) keeps its lines."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(each if "\n " in each else each.replace("\n", " ") for each in paragraphs)


def _root(
    version: bool = typer.Option(False, "--version", "-V", help="Show the version.", is_eager=True),
) -> None:
    if version:
        from aifctl import __version__

        print(f"aifctl {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str]) -> int:
    """Runs one command; the exit code. Findings are printed, never raised; only a fault of ours shows a traceback."""
    _prepare_streams()
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, and not when the interpreter ends, where nobody could answer for a closed pipe
        return code
    except Report as report:
        output.show(report.diagnostics, report.texts)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()  # the reader went away (`aifctl plan | head`): not a fault, and nothing more can be said
    except OSError as error:  # the outside world where no command expects it: a full disk, a folder that is not ours
        place = f"{error.filename}: " if error.filename is not None else ""
        output.show([Diagnostic("AIF641", f"{place}{error.strerror or error}")], {})
        _drop_output()
    except typer.Abort:
        pass
    except typer.TyperException as error:  # usage; its own exit code would be 2, which means "changes found" here
        _show_usage(error)
    return 1


def _run(arguments: Sequence[str]) -> int:
    known = [argument for argument in arguments[:1] if argument in COMMANDS]
    completing = "_AIFCTL_COMPLETE" in os.environ
    app = application(known if known and not completing else tuple(COMMANDS))
    try:
        code = app(args=list(arguments), standalone_mode=False, prog_name="aifctl")
    except typer.Exit as stop:
        return stop.exit_code
    if code == INTERRUPTED:  # typer's answer to Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _prepare_streams() -> None:
    """Text that a stream's encoding lacks is escaped, not raised; a closed stream takes everything in silence."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """What a stream could not take would be written again, and raise again, when the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_usage(error: typer.TyperException) -> None:
    message = getattr(error, "message", None)
    if isinstance(message, str):
        error.message = message.replace("Value error, ", "")
    show = getattr(error, "show", None)
    show() if show is not None else print(error, file=sys.stderr)
