"""Server processes on free ports, stopped at the end; nothing of the server runs in the process of the tests."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

FAKE = Path(__file__).with_name("fake_server.py")
VERSION = "0123456789"
ROW = {"p0": 1.0, "p1": 2.0, "p2": 0.5, "p3": 0, "colour": "blue"}


@dataclass
class Running:
    process: subprocess.Popen[str]
    address: str
    """host:port, as tritonclient wants it."""
    client: httpx.Client

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=20)

    def counter(self, name: str, **labels: str) -> float:
        """Sum of the series of a metric that have these labels."""
        found = 0.0
        for line in self.client.get("/metrics").text.splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
                found += float(match[2])
        return found


@contextmanager
def running(command: list[str]) -> Iterator[Running]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.search(r"http://(\S+)$", line.strip())
        assert found, f"not ready: {line!r} {process.stderr.read()}"
        with httpx.Client(base_url=f"http://{found[1]}", timeout=20) as client:
            yield Running(process, found[1], client)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """start(*flags) -> a server of the fake model, with these flags."""
    open_ones = []

    def run(*flags: str) -> Running:
        context = running([sys.executable, str(FAKE), *flags])
        open_ones.append(context)
        return context.__enter__()

    yield run
    for context in open_ones:
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """One server of the fake model for tests that leave it as it is."""
    with running([sys.executable, str(FAKE), "--max-batch", "8", "--max-body-bytes", "65536"]) as found:
        yield found


@pytest.fixture
def row() -> dict[str, object]:
    return dict(ROW)
