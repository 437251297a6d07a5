"""The sessions in docs/ are what the commands really say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane.cluster import Cluster
from tests.delivery import garden
from tests.session import page, record


@pytest.mark.parametrize("name", record.DOCUMENTS)
def test_a_recorded_session(
    name: str, control_plane: Cluster, nodes: Cluster, tmp_path: Path, update_golden: bool
) -> None:
    found = garden.new(tmp_path / "acme", control_plane, "iris", "rose", environment=record.name())
    path = record.DOCS / name
    again = record.recorded(path.read_text("utf-8"), found)
    found.fell()
    if update_golden:
        path.write_text(again, "utf-8")
    differing = page.differences(path.read_text("utf-8"), again)
    assert not differing, "\n".join(differing)


def test_what_is_taken_out_before_pages_are_compared() -> None:
    told = "3         rolled-back    e7fabe4196  175995f4af  2026-11-21T16:26:39Z  ann@laptop"
    assert page.comparable(told) == "3 rolled-back DIGEST DIGEST TIME ann@laptop"
    assert page.comparable(" healthy b\n created a\nend 12s") == " created a\n healthy b\nend AGE"
    assert page.comparable("iris-85c5bb69b8-djqn9 stays") == "iris-POD stays"
    assert page.comparable("    + iris-055a91b8d7-steps\n    + b") == " + b\n + iris-DIGEST-steps"


def test_decimals_and_attempts_are_taken_out_and_words_are_not() -> None:
    assert page.comparable('{"label":"setosa","confidence":0.999777}') == '{"label":"setosa","confidence":DECIMAL}'
    assert page.comparable("job.batch/iris-bd9c27d280-train-de146075-1") == "job.batch/iris-DIGEST-train-ATTEMPT-1"
    assert page.comparable("v1.36.3 in 2.5 s") == "v1.36.3 in 2.5 s"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[page.Shell]:
    shell = page.Shell(tmp_path, os.environ)
    yield shell
    shell.end()


class TestAShell:
    def test_goes_on_where_the_last_command_left_it(self, shell: page.Shell, tmp_path: Path) -> None:
        assert shell.say("mkdir garden && cd garden && kind=rose") == ""
        assert shell.say('echo "$PWD $kind"') == f"{tmp_path}/garden rose"

    def test_has_both_streams_and_the_exit_code(self, shell: page.Shell) -> None:
        assert shell.say("echo one; echo two >&2; (exit 3)") == "one\ntwo\n(exit code 3)"
        assert shell.say("false") == "\n(exit code 1)"
        assert shell.say("printf 'no end of line'") == "no end of line"

    def test_gives_a_command_no_input(self, shell: page.Shell) -> None:
        assert shell.say("cat") == ""

    def test_that_ends_is_a_fault(self, shell: page.Shell) -> None:
        with pytest.raises(AssertionError, match="the shell ended in `echo bye; exit 4`"):
            shell.say("echo bye; exit 4")

    def test_does_not_wait_for_ever(self, shell: page.Shell) -> None:
        with pytest.raises(AssertionError, match="after 1 s"):
            shell.say("echo begun; sleep 100; true", patience=1)


def test_differences_name_the_line() -> None:
    assert page.differences("one\nsince 3s", "one\nsince 12s") == []
    assert page.differences("one\ntwo\n", "one\nthree\n")[-2:] == ["-two", "+three"]


class TestAPage:
    PAGE = "Say\n\n```yaml a.yaml\nb: 1\n```\n\n```console\n$ one \\\n    two\nold\n$ three\n```\n\n```sh\nc\n```\n"

    def test_is_files_and_commands(self) -> None:
        found = list(page.blocks(self.PAGE))
        assert [(each.language, each.file) for each in found] == [("yaml", "a.yaml"), ("console", None), ("sh", None)]
        assert found[1].commands == ["one \\\n    two", "three"]

    def test_is_written_anew(self) -> None:
        heard: list[str] = []

        def say(command: str) -> str:
            heard.append(command)
            return "new\n(exit code 2)" if command.startswith("one") else ""

        again = page.recorded(self.PAGE, say, lambda name, text: heard.append(f"{name}: {text}"))
        assert heard == ["a.yaml: b: 1\n", "one \\\n    two", "three"]
        assert again == self.PAGE.replace("old\n", "new\n(exit code 2)\n")
