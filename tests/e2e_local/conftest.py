"""The whole line on this machine, as a user goes it: each example is run once, and many tests look at it.

Tests of one example are in one file, so that `make test`, which keeps those of a file together, runs it once too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/specs"
IGNORED = shutil.ignore_patterns("__pycache__", ".aif", "rendered", "releases")
READY_WITHIN = 120.0
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
"""These models are small: more threads cost time, and on a busy machine a lot."""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def steps(self) -> dict[str, str]:
        """Of `run --output json`: step → state."""
        return {step["name"]: step["state"] for step in self.json["steps"]}

    def outputs(self, step: str) -> dict[str, Any]:
        (found,) = [each["outputs"] for each in self.json["steps"] if each["name"] == step]
        return dict(found)


@dataclass(frozen=True)
class Project:
    """A repository of specs, and the real command in it."""

    root: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *words: str) -> Done:
        done = subprocess.run(
            self._command(*words), cwd=self.root, env=self._environment, capture_output=True, text=True, check=False
        )
        assert not done.stderr.startswith("Traceback"), done.stderr
        assert "\nTraceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def well(self, *words: str) -> Done:
        done = self(*words)
        assert done.code == 0, done.out + done.err
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(*words),
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def serving(self, *words: str) -> Iterator[str]:
        """The server's address; when the context ends it gets SIGTERM, and has to leave in order."""
        process = self.start("serve", *words, "--port", "0")
        assert process.stderr is not None
        try:
            yield _address(process)
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=READY_WITHIN)
        assert process.returncode == 0, out + err

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        return {**kept, **THREADS, **self.variables}

    @staticmethod
    def _command(*words: str) -> list[str]:
        return [sys.executable, "-m", "aifctl", *words]


def _address(process: subprocess.Popen[str]) -> str:
    """From the line that says it serves, on either stream."""
    deadline = time.monotonic() + READY_WITHIN
    assert process.stdout is not None
    said = ""
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            raise AssertionError(f"the server ended: {said}{process.stderr.read()}")
        said += line
        if " on http://" in line:
            return line.rsplit(" on ", 1)[1].strip()
    raise AssertionError(f"the server was not ready: {said}")


def post(url: str, body: Any) -> tuple[int, Any]:
    """Status and answer."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def get(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.status, response.read().decode()


def copy_examples(folder: Path, *names: str) -> Project:
    for name in names:
        shutil.copytree(EXAMPLES / name, folder / name, ignore=IGNORED)
    shutil.copy(EXAMPLES / "platform.yaml", folder)
    return Project(folder)


@dataclass(frozen=True)
class Line:
    """An example that was run, released and is ready to be served."""

    project: Project
    ran: Done
    promoted: Done

    @property
    def run(self) -> str:
        return str(self.ran.json["run"])


@pytest.fixture(scope="session")
def stricter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Done]:
    """digits-pytorch under a gate that it does not pass: everything but the gate is done then."""
    project = copy_examples(tmp_path_factory.mktemp("digits"), "digits-pytorch")
    return project, project("run", "digits", "--set", "evaluation.gate.accuracy.min=0.999", "-o", "json")


@pytest.fixture(scope="session")
def digits(stricter: tuple[Project, Done]) -> Line:
    project, _ = stricter
    ran = project.well("run", "digits", "-o", "json")
    return Line(project, ran, project.well("promote", "digits", "--env", "local", "-o", "json"))


@pytest.fixture(scope="session")
def digits_tf(tmp_path_factory: pytest.TempPathFactory) -> Line:
    project = copy_examples(tmp_path_factory.mktemp("digits-tf"), "digits-tensorflow")
    ran = project.well("run", "digits-tf", "-o", "json")
    return Line(project, ran, project.well("promote", "digits-tf", "--env", "local", "-o", "json"))


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Line:
    project = copy_examples(tmp_path_factory.mktemp("wine"), "wine-sklearn")
    ran = project.well("run", "wine", "-o", "json")
    return Line(project, ran, project.well("promote", "wine", "--env", "local", "-o", "json"))
