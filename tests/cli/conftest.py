"""The real command, as a user starts it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aifctl import cli
from tests.delivery.garden import garden

__all__ = ["garden"]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "specs"
IGNORED = shutil.ignore_patterns("__pycache__", ".aif", "rendered", "releases")
DROPPED = ("NO_COLOR", "GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "TERM", "COLUMNS", "LC_ALL", "PYTHONIOENCODING")
"""Variables that change how a command talks."""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Command:
    """Runs `aifctl` in `folder`. `variables` are set over a plain environment."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
        return {**kept, "COLUMNS": "80", **self.variables}

    def __call__(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*words),
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=300,
        )

    def words(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "aifctl", *map(str, words)]

    def at(self, folder: Path) -> Command:
        return Command(folder, self.variables)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `aifctl` in this process, in the folder given first: for what does not need a process of its own."""

    def run(folder: Path, *words: str | Path) -> Done:
        monkeypatch.chdir(folder)
        capfd.readouterr()
        code = cli.main(list(map(str, words)))
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def aifctl(tmp_path: Path) -> Command:
    """In an empty folder."""
    return Command(tmp_path)


@pytest.fixture
def copy_examples(tmp_path: Path) -> Callable[[str], Path]:
    """Copies examples/specs to a folder of this name."""
    return lambda name: Path(shutil.copytree(EXAMPLES, tmp_path / name, ignore=IGNORED))


@pytest.fixture
def examples(copy_examples: Callable[[str], Path]) -> Command:
    """In a copy of examples/specs."""
    return Command(copy_examples("specs"))
