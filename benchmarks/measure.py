"""Times whole processes, as a person at a terminal would: interpreter start, imports and writing of files included."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

AIFCTL = (sys.executable, "-m", "aifctl")
QUIET = {"NO_COLOR": "1", "TERM": "dumb"}


@dataclass(frozen=True, slots=True)
class Timing:
    """One process. `peak` is the resident memory of its largest process in bytes, `processor` user + system seconds."""

    seconds: float
    processor: float
    peak: int


def run(command: Sequence[str], cwd: Path, expected: Sequence[int] = (0,)) -> Timing:
    """Runs the command once. Raises RuntimeError with its output when it ends otherwise than expected."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | QUIET
    with (cwd / ".benchmark.log").open("w+b") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in expected:
            log.seek(0)
            text = log.read().decode(errors="replace")[-4000:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    # Linux counts ru_maxrss in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Timing(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def best(command: Sequence[str], cwd: Path, times: int) -> tuple[Timing, float]:
    """(fastest, median seconds) of several runs, after one that is not counted: it fills the caches of files."""
    run(command, cwd)
    timings = [run(command, cwd) for _ in range(times)]
    return min(timings, key=lambda each: each.seconds), statistics.median(each.seconds for each in timings)


def machine() -> str:
    return f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, {sys.platform}"
