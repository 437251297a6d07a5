"""Shell completion: scripts for three shells, and what they get as answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def completed(command: Command, line: str) -> list[str]:
    """What bash would offer at the end of this line."""
    words = line.split(" ")
    done = command(COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), _AIFCTL_COMPLETE="complete_bash")
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str, aifctl: Command) -> None:
    done = aifctl(_AIFCTL_COMPLETE=f"source_{shell}")
    assert done.returncode == 0
    assert f"_AIFCTL_COMPLETE=complete_{shell}" in done.stdout
    assert done.stderr == ""


def test_the_bash_script_works_in_bash(examples: Command) -> None:
    """Loaded into a real bash, with `aifctl` a function there."""
    source = examples(_AIFCTL_COMPLETE="source_bash").stdout
    python = examples.words()[0]
    program = examples.folder / "bin/aifctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nexec "{python}" -m aifctl "$@"\n')
    program.chmod(0o755)
    script = f"{source}\nCOMP_WORDS=({program} run dig)\nCOMP_CWORD=2\n_aifctl_completion {program}\n"
    script += "complete -p aifctl; echo ${COMPREPLY[*]}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=examples.folder,
        env=examples.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["complete -o default -F _aifctl_completion aifctl", "digits digits-tf"]


def test_commands_and_options(examples: Command) -> None:
    assert completed(examples, "aifctl pro") == ["promote"]
    assert "--allow-worse" in completed(examples, "aifctl promote --al")
    assert completed(examples, "aifctl validate -o ") == ["text", "json", "github", "sarif"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("aifctl run ", ["digits", "digits-tf", "iris", "wine"]),
        ("aifctl promote dig", ["digits", "digits-tf"]),
        ("aifctl serve w", ["wine"]),
        ("aifctl runs --model i", ["iris"]),
        ("aifctl promote digits --env ", ["local", "lab", "prod"]),
        ("aifctl render -e l", ["local", "lab"]),
        ("aifctl explain AIF36", ["AIF360", "AIF361", "AIF362", "AIF363", "AIF364", "AIF365"]),
        ("aifctl init --framework ", ["custom", "pytorch", "tensorflow"]),
        ("aifctl schema ", ["model", "platform", "lock", "release"]),
    ],
)
def test_names(line: str, offered: list[str], examples: Command) -> None:
    assert completed(examples, line) == offered


def test_runs(examples: Command) -> None:
    runs = examples.folder / ".aif/runs"
    runs.mkdir(parents=True)
    for name in ("local-digits-1a", "local-iris-2b"):
        (runs / f"{name}.json").write_text("{}")
    assert completed(examples, "aifctl runs local-") == ["local-digits-1a", "local-iris-2b"]
    assert completed(examples, "aifctl promote iris --run local-i") == ["local-iris-2b"]


def test_zsh_is_told_what_a_name_means(examples: Command) -> None:
    done = examples(_TYPER_COMPLETE_ARGS="aifctl promote digits --env ", _AIFCTL_COMPLETE="complete_zsh")
    assert '"lab":"train"' in done.stdout
    assert '"prod":"serve"' in done.stdout


def test_below_the_root_too(examples: Command) -> None:
    assert completed(examples.at(examples.folder / "minimal/src"), "aifctl run i") == ["iris"]


@pytest.mark.parametrize("text", ["", "kind: [", "apiVersion: aif.dev/v1alpha1\nkind: Platform\n", "\0"])
def test_nothing_is_offered_and_nothing_said_where_the_repository_is_broken(text: str, aifctl: Command) -> None:
    (aifctl.folder / "platform.yaml").write_text(text)
    for line in ("aifctl run ", "aifctl promote x --env "):
        assert completed(aifctl, line) == []


def test_without_a_platform_file_the_disk_is_not_searched(aifctl: Command, examples: Command) -> None:
    (examples.folder / "platform.yaml").unlink()
    assert completed(aifctl, "aifctl run ") == []
    assert Path(examples.folder / "minimal/model.yaml").is_file()
