"""Wrong use: exit code 1 (2 means "changes found"), no traceback, and a hint at what was meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Command, Done

WRONG = [
    (["rnder"], "Did you mean 'render'"),
    (["--bogus"], "No such option: --bogus"),
    (["render", "--envv", "lab"], "--env"),
    (["render", "--ckeck"], "--check"),
    (["run"], "Missing argument 'MODEL'"),
    (["promote", "digits"], "Missing option '--env'"),
    (["plan", "--against"], "requires an argument"),
    (["run", "digits", "--sample", "0"], "x>=1"),
    (["run", "digits", "--sample", "many"], "valid int"),
    (["serve", "digits", "--port", "99999"], "65535"),
    (["validate", "--output", "xml"], "'text', 'json', 'github', 'sarif'"),
    (["plan", "--output", "html"], "'text', 'json', 'markdown'"),
    (["gc", "--keep-runs", "-1"], "x>=0"),
    (["gc", "--older-than", "5"], "expected a duration"),
    (["gc", "--older-than", "soon"], "expected a duration"),
    (["explain", "AIF999"], "no diagnostic has the code"),
    (["explain", "AIF63O"], "did you mean `AIF630`?"),
    (["schema", "modle"], "did you mean `model`?"),
    (["init", "--framework", "pytroch"], "did you mean `pytorch`?"),
    (["validate", "--env", "prd"], "did you mean `prod`?"),
    (["render", "--env", "local"], "has no cluster"),
    (["validate", "--platform", "nowhere.yaml"], "no such file: nowhere.yaml"),
    (["validate", "nowhere.yaml"], "no such file or folder"),
    (["run", "digit"], "did you mean `digits`?"),
    (["run", "digits", "--debug", "trian"], "its steps are `prepare`, `train`"),
    (["run", "digits", "--set", "training.epochs"], "training.epochs=3"),
    (["run", "."], "several models here"),
    (["runs", "nothing"], "no run is named"),
    (["plan", "--against", "no-such-ref"], "error[AIF61"),
    (["serve", "digits"], "`aifctl promote digits --env local` releases a run"),
    (["serve", "iris"], "has no `serving` section"),
    (["serve", "digits", "--bundle", "nowhere"], "there is no such folder"),
    (["promote", "digits", "--env", "local"], "`aifctl run digits` makes one"),
    (["promote", "digits", "--env", "lab"], "does not serve"),
    (["retry", "digits", "--env", "prod"], "has no run objects to retry"),
    (["retry", "digits", "--env", "local"], "`aifctl run` goes on by itself"),
    (["build", "digits", "--env", "lab"], "run `aifctl lock` first"),
    (["push", "--env", "local"], "has no store"),
]


@pytest.mark.parametrize(("words", "hint"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_use(words: list[str], hint: str, examples: Command, inside: Callable[..., Done]) -> None:
    done = inside(examples.folder, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert hint in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "Value error" not in done.stderr, "that is pydantic's word, not ours"


def test_a_usage_error_says_how_to_get_help(aifctl: Command) -> None:
    assert "Try 'aifctl render --help' for help." in aifctl("render", "--bogus").stderr


def test_control_characters_of_a_name_do_not_reach_the_terminal(examples: Command, inside: Callable[..., Done]) -> None:
    for words in (["run", "a\x1b[31mb"], ["explain", "\x1b]0;x\x07"], ["validate", "--env", "\x1b[2J"], ["\x1b[1m"]):
        assert "\x1b" not in inside(examples.folder, *words).stderr


def test_what_the_shell_sees(examples: Command) -> None:
    """The exit code of a process, not only of the function."""
    assert examples("rnder").returncode == 1
    assert examples("run", "digit").returncode == 1
    assert examples("validate").returncode == 0
    assert examples("plan", "--env", "lab").returncode == 2
