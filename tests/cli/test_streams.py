"""Pipes, full disks, other locales, terminals and Ctrl-C: a command never answers with a traceback."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command

ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
UNICODE_SPEC = """\
apiVersion: aif.dev/v1alpha1
kind: Model
metadata: {name: grün}
spec: {task: classification, größe: 3}
"""


def start(command: Command, *words: str, **streams: int) -> subprocess.Popen[bytes]:
    taken = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(command.words(*words), cwd=command.folder, env=command.environment, **taken)


class TestPipes:
    def test_a_reader_that_goes_away_in_the_middle(self, examples: Command) -> None:
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        process = start(examples, "explain", stdout=writing)
        os.close(writing)
        assert os.read(reading, 7) == b"AIF101 "
        os.close(reading)
        assert process.communicate()[1] == b""
        assert process.returncode == 1

    @pytest.mark.parametrize(
        "words", [["explain", "AIF301"], ["--help"], ["validate"], ["schema", "lock"]], ids=" ".join
    )
    def test_a_reader_that_was_never_there(self, words: list[str], examples: Command) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        process = start(examples, *words, stdout=writing)
        os.close(writing)
        assert process.communicate()[1] == b""
        assert process.returncode == 1

    @pytest.mark.parametrize("words", [["explain", "AIF301"], ["schema", "model"], ["--help"]], ids=" ".join)
    def test_a_full_disk(self, words: list[str], examples: Command) -> None:
        with Path("/dev/full").open("wb") as full:
            process = start(examples, *words, stdout=full.fileno())
            error = process.communicate()[1].decode()
        assert process.returncode == 1
        assert f"error[AIF641]: {os.strerror(errno.ENOSPC)}" in error
        assert "Traceback" not in error

    @pytest.mark.parametrize("stream", [">&-", "2>&-", ">&- 2>&-"])
    def test_closed_streams(self, stream: str, examples: Command) -> None:
        for words, code in ((["validate"], 0), (["run", "digit"], 1)):
            done = subprocess.run(
                ["bash", "-c", f'exec "$@" {stream}', "bash", *examples.words(*words)],
                cwd=examples.folder,
                env=examples.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code
            assert "Traceback" not in done.stdout + done.stderr


class TestPlaces:
    def test_a_folder_that_can_not_be_written(self, examples: Command) -> None:
        done = examples("schema", "--write", "/proc/schemas")
        assert done.returncode == 1
        assert done.stderr.startswith("error[AIF641]: /proc/schemas: ")


class TestLocale:
    def test_text_is_escaped_where_the_locale_has_no_letters_for_it(self, aifctl: Command) -> None:
        (aifctl.folder / "model.yaml").write_text(UNICODE_SPEC, encoding="utf-8")
        ascii_only = Command(aifctl.folder, ASCII)
        done = ascii_only("validate")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "gr\\xf6\\xdfe" in done.stderr
        assert "größe" in aifctl("validate").stderr
        for words in (["--help"], ["run", "--help"], ["explain", "AIF301"]):
            assert ascii_only(*words).returncode == 0

    def test_data_is_the_same_bytes_in_every_locale(self, aifctl: Command) -> None:
        (aifctl.folder / "model.yaml").write_text(UNICODE_SPEC, encoding="utf-8")
        for form in ("json", "sarif", "github"):
            here, there = (each("validate", "-o", form).stdout for each in (aifctl, Command(aifctl.folder, ASCII)))
            assert here == there
            assert "größe" in here

    def test_manifests_are_utf_8(self, examples: Command) -> None:
        (examples.folder / "minimal/src/iris.py").write_text("# Größe\ndef build(params, signature): ...\n", "utf-8")
        here, there = (
            each("render", "minimal", "--env", "lab", "--stdout").stdout
            for each in (examples, Command(examples.folder, ASCII))
        )
        assert here == there
        assert "Größe" in here
        assert len(list(yaml.safe_load_all(here))) == 6

    def test_a_file_whose_name_is_no_text(self, aifctl: Command) -> None:
        name = os.fsdecode(b"sp\xe9c.yaml")
        (aifctl.folder / name).write_text(UNICODE_SPEC, encoding="utf-8")
        done = aifctl("validate", "-o", "json")
        assert done.returncode == 1
        assert {each["file"] for each in json.loads(done.stdout)["diagnostics"]} == {name}


class TestColours:
    @pytest.mark.parametrize(
        ("variables", "coloured"),
        [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
        ids=["terminal", "NO_COLOR", "dumb"],
    )
    def test_only_on_a_terminal_that_wants_them(
        self, variables: dict[str, str], coloured: bool, examples: Command
    ) -> None:
        wanting = Command(examples.folder, variables)
        for words in (["run", "digit"], ["plan", "--env", "lab", "minimal"]):
            assert ("\x1b[" in on_terminal(wanting, *words)) is coloured

    def test_never_into_a_file(self, examples: Command) -> None:
        wanting = Command(examples.folder, {"TERM": "xterm"})
        for words in (["run", "digit"], ["plan", "--env", "lab", "minimal"], ["--help"]):
            done = wanting(*words)
            assert "\x1b" not in done.stdout + done.stderr


def on_terminal(command: Command, *words: str) -> str:
    """What it writes to a terminal that is its stdout and stderr."""
    main, side = pty.openpty()
    process = start(command, *words, stdout=side, stderr=side)
    os.close(side)
    written = b"".join(_chunks(main))
    process.wait()
    os.close(main)
    return written.decode("utf-8")


def _chunks(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux tells the end of a terminal so
            return
        if not chunk:
            return
        yield chunk


def test_ctrl_c(aifctl: Command) -> None:
    """While it reads a pipe that nobody writes to."""
    pipe = aifctl.folder / "model.yaml"
    os.mkfifo(pipe)
    process = start(aifctl, "validate", "model.yaml")
    writer = _open_when_read(pipe)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    os.close(writer)
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")


def _open_when_read(pipe: Path) -> int:
    deadline = time.monotonic() + 60
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
