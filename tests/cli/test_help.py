"""`--help` teaches: what a command does, in whole lines at 80 columns, with examples that can be typed."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import subprocess
import sys

import pytest
import typer

from aifctl.cli import COMMANDS, application, layout
from tests.cli.conftest import Command

WIDTH = 80
HELP_OF = {name: getattr(importlib.import_module(f"aifctl.cli.{name}"), name).__doc__ for name in COMMANDS}


def examples(command: str) -> list[str]:
    _, _, listed = inspect.cleandoc(HELP_OF[command]).partition("Examples:\n")
    return [line.strip() for line in listed.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, aifctl: Command) -> None:
    done = aifctl(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert max(map(len, lines)) <= WIDTH
    assert lines[1].startswith(f" Usage: aifctl {command} ")
    assert examples(command)
    for example in examples(command):
        assert f"     {example}" in lines, "an example stands on a line of its own, indented"
    undescribed = [line for line in lines if re.match(r"│ \*? *-{1,2}[a-z-]+ +(-\w +)?(<[^>]*>|[A-Z=]+)? *│$", line)]
    assert undescribed == []


@pytest.mark.parametrize("command", COMMANDS)
def test_no_word_of_a_docstring_is_lost_or_broken(command: str, aifctl: Command) -> None:
    """Markup would swallow what stands in square brackets; a long word would be cut by the panel's width."""
    shown = aifctl(command, "--help").stdout.split()
    assert set(HELP_OF[command].split()) - set(shown) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_typed(command: str) -> None:
    group = typer.main.get_command(application())
    for example in examples(command):
        program, *words = shlex.split(example)
        if program != "aifctl":
            continue
        with group.make_context("aifctl", words, resilient_parsing=False) as context:
            name, chosen, rest = group.resolve_command(context, words)
            with chosen.make_context(name, rest, parent=context):
                pass


def test_the_front_page_lists_every_command_and_the_exit_codes(aifctl: Command) -> None:
    done = aifctl("--help")
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= WIDTH
    assert set(re.findall(r"^│ ([a-z]+) +\S", done.stdout, re.MULTILINE)) == set(COMMANDS)
    for line in ("     aifctl validate", "     aifctl run iris", "     aifctl serve iris"):
        assert line in [each.rstrip() for each in done.stdout.splitlines()]
    assert "Exit codes: 0 done" in done.stdout


def test_no_command_at_all_shows_the_front_page(aifctl: Command) -> None:
    done = aifctl()
    assert done.returncode == 1
    assert "Usage: aifctl" in done.stdout + done.stderr


def test_paragraphs_flow_and_lists_do_not() -> None:
    text = "One\n    line.\n\n    More of\n    it.\n\n    Examples:\n        a\n        b\n    "
    assert layout(text) == "One line.\n\nMore of it.\n\nExamples:\n    a\n    b"


def test_version(aifctl: Command) -> None:
    from aifctl import __version__

    for option in ("--version", "-V"):
        done = aifctl(option)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"aifctl {__version__}\n", "")


def test_version_loads_nothing(aifctl: Command) -> None:
    code = (
        "import sys; sys.argv[1:] = ['--version']; from aifctl.__main__ import main; main();"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'typer', 'pydantic', 'yaml', 'rich', 'json'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=aifctl.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1] == ""
