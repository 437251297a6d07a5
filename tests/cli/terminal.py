"""A command in a terminal of its own, as a person has it: so wide, answered by keys, and what it drew."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60
PAUSE = 0.3
"""Seconds between a text and its answer: Python's `input` draws its question before it listens to signals."""
CTRL_C = "\x03"
STYLES = re.compile(r"\x1b\[[0-9;]*m")
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Drawn:
    """`raw` with all control sequences, `text` without them."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        return CONTROLS.sub("", self.raw).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.text.splitlines()]


def run(*words: str | Path, columns: int = 80, keys: dict[str, str] | None = None, **variables: str) -> Drawn:
    """`keys`: what is typed once a text has been drawn. The folder and the environment are this process's."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    dropped = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    process = subprocess.Popen(
        [sys.executable, "-m", "aifctl", *map(str, words)],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm-256color", **variables},
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    try:
        return _talk(process, ours, dict(keys or {}))
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _talk(process: subprocess.Popen[bytes], terminal: int, keys: dict[str, str]) -> Drawn:
    drawn, until = b"", time.monotonic() + SECONDS
    while time.monotonic() < until:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            try:
                some = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                some = b""
            if not some:
                return Drawn(process.wait(SECONDS), drawn.decode())
            drawn += some
        for text in [text for text in keys if text.encode() in drawn]:
            time.sleep(PAUSE)
            os.write(terminal, keys.pop(text).encode())
    raise AssertionError(f"still running after {SECONDS} s: {drawn.decode()!r}")
