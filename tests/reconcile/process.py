"""`aifctl reconcile` as a process of its own, and what it says, line by line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

Line = dict[str, Any]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Reconciler:
    """Started when it is entered, killed when it is left unless it has ended. `lines` are what it said so far."""

    def __init__(self, repository: str | Path, environment: str, kubeconfig: Path, state: Path, *options: str) -> None:
        self.port = free_port()
        listen = f"127.0.0.1:{self.port}"
        self.command = [
            sys.executable, "-m", "aifctl", "reconcile", "--repo", str(repository), "--env", environment,
            "--kubeconfig", str(kubeconfig), "--context", "test", "--state", str(state), "--output", "json",
            "--interval", "1s", "--listen", listen, "--metrics", listen, *options,
        ]  # fmt: skip
        self.lines: list[Line] = []
        self.faults = ""

    def __enter__(self) -> Reconciler:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self._readers = [threading.Thread(target=each, daemon=True) for each in (self._read, self._read_faults)]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        if kind is not None:
            print("\n".join(json.dumps(line) for line in self.lines[-40:]), self.faults[-3000:], sep="\n")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(5)

    def terminate(self, seconds: float = 20) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended(seconds)

    def ended(self, seconds: float = 60) -> int:
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        return code

    def wait(self, event: str, seconds: float = 60, after: int = 0, **values: Any) -> Line:
        """The first line of this event (from line `after` on) that has these values."""
        return self.until(lambda: next(iter(self.said(event, after=after, **values)), None), seconds, event)

    def said(self, event: str, after: int = 0, **values: Any) -> list[Line]:
        return [
            line for line in self.lines[after:]
            if line["event"] == event and all(value in str(line.get(key, "")) for key, value in values.items())
        ]  # fmt: skip

    def until(self, condition: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            if self.process.poll() is not None:
                for reader in self._readers:
                    reader.join(5)
                if found := condition():
                    return found
                raise AssertionError(f"it ended with {self.process.returncode}: {self.faults[-3000:]}")
            time.sleep(0.02)
        raise AssertionError(f"not in {seconds} s: {what}")

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """A sample by its name and labels, as it is written; 0 where there is none."""
        rows = (line.rpartition(" ") for line in self.get("/metrics")[1].splitlines() if not line.startswith("#"))
        return next((float(value) for key, _, value in rows if key == f"aifctl_reconcile_{name}"), 0.0)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.lines.append(json.loads(line))

    def _read_faults(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.faults += line
