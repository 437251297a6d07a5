"""Pages of docs/ whose fenced blocks are run: what a page says that a command says, it says.

A ```console block holds commands (`$ command`, going on in the next line after a `\\`), each with what it says below
it: both streams, as a terminal shows them, and `(exit code N)` where it is not 0. A block whose first line names a
file after its language (```yaml platform.yaml) is that file.
"""

from __future__ import annotations

import getpass
import os
import re
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby
from pathlib import Path

BLOCK = re.compile(r"^```(?P<info>\w[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (?P<command>(?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
WHO = {f"GIT_{role}_{what}": said for role in ("AUTHOR", "COMMITTER") for what, said in
       {"NAME": "Ann", "EMAIL": "ann@acme.example"}.items()}  # fmt: skip
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Block:
    """`file` is the name of the file that it is; None for one of commands, or one to look at."""

    language: str
    file: str | None
    body: str

    @property
    def commands(self) -> list[str]:
        return [found["command"] for found in COMMAND.finditer(self.body)] if self.language == "console" else []


def blocks(page: str) -> Iterator[Block]:
    return map(_block, BLOCK.finditer(page))


def recorded(page: str, say: Callable[[str], str], write: Callable[[str, str], None] | None = None) -> str:
    """The page with what its commands say now, one after the other; `write` gets the name and text of each file."""

    def again(found: re.Match[str]) -> str:
        block = _block(found)
        if block.file is not None and write is not None:
            write(block.file, block.body)
        if block.language != "console":
            return found[0]
        told = "".join(f"$ {command}\n{_lines(neutral(say(command)))}" for command in block.commands)
        return f"```{found['info']}\n{told}```"

    return BLOCK.sub(again, page)


def neutral(text: str) -> str:
    """Without what belongs to this machine."""
    text = re.sub(r"identity=\S+", "identity=laptop", text)
    return text.replace(f"{getpass.getuser()}@{socket.gethostname()}", "ann@laptop")


def differences(expected: str, found: str) -> list[str]:
    """Lines in which two recordings of a page differ; see `comparable`."""
    pages = (comparable(each).splitlines() for each in (expected, found))
    return list(unified_diff(*pages, "the page", "what was said", lineterm="", n=1))


def comparable(page: str) -> str:
    """Without times, digests, names of pods, decimals and the order in which objects happened to be written.

    Plans have objects in the order of their names, and names of runs are digests.
    """
    lines = [_told(line) for line in page.splitlines() if " event=standby " not in line]
    kinds = groupby(lines, key=lambda line: bool(re.match(r" ?(created|changed|deleted|healthy) | [-+=] ", line)))
    return "\n".join(line for written, block in kinds for line in (sorted(block) if written else block))


class Shell:
    """One bash for all commands of a page, as a reader has one terminal: `cd` and variables last."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=folder, env={**environment, **WHO, "COLUMNS": "100"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def say(self, command: str, patience: float = PATIENCE) -> str:
        """What a command says; it gets no input. A shell that ends, or is ended after so many seconds, is a fault."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        mark = uuid.uuid4().hex
        stdin.write(f"{{ {command}\n}} < /dev/null\nprintf '\\n{mark} %d\\n' $?\n")
        stdin.flush()
        impatience = threading.Timer(patience, self.end)
        impatience.start()
        said: list[str] = []
        try:
            for line in stdout:
                if line.startswith(mark):
                    code = int(line.split()[1])
                    return "".join(said).rstrip("\n") + (f"\n(exit code {code})" if code else "")
                said.append(line)
        finally:
            impatience.cancel()
        raise AssertionError(f"the shell ended in `{command}` (after {patience:.0f} s it is ended):\n{''.join(said)}")

    def end(self) -> None:
        """With whatever it has started: else that would hold on to its output."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _block(found: re.Match[str]) -> Block:
    language, _, file = found["info"].partition(" ")
    return Block(language, file or None, found["body"])


def _lines(text: str) -> str:
    """Of a block: it begins with text, and its last line is closed."""
    return f"{text}\n" if (text := text.strip("\n")) else ""


def _told(line: str) -> str:
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line)
    line = re.sub(r"\bseconds=[\d.]+", "seconds=N", line)
    line = re.sub(r"\b(iris|rose)-[0-9a-z]{6,10}-[b-df-hj-np-tv-z2-9]{5}\b(?!-)", r"\1-POD", line)
    line = re.sub(r"\b[0-9a-f]{10,64}\b", "DIGEST", line)
    line = re.sub(r"(?<=-)[0-9a-f]{8}(?=-\d+$)", "ATTEMPT", line)
    line = re.sub(r"-?\d+\.\d{4,}", "DECIMAL", line)
    return re.sub(r" +", " ", re.sub(r" \d+[smhd]$", " AGE", line))
