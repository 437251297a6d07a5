"""Steps as processes of this machine: a `Launcher`. Each step is `python -m aifctl.runtime.entry` below a `guard`.

Of each step three files lie in the log folder: `<step>.log` (its output, appended to over attempts), and of the last
attempt `<step>.result.json` and `<step>.events.jsonl`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aifctl import contract
from aifctl.ir import Step
from aifctl.runtime.launcher import Ended, Handle, Verdict

ENTRY = "aifctl.runtime.entry"
GUARD = Path(__file__).with_name("guard.py")
CLOSE_SLACK = 15.0
"""Seconds beyond the grace that a guard may take to sweep up before it is killed itself."""
MAX_ARGUMENT = 100_000
"""Characters of one argument; Linux takes 128 KiB. A longer step goes by a file."""
MAX_LINE = 2000
"""Characters kept of one line of a log that is shown."""
TAIL_BYTES = 64 * 1024

VERDICTS = {0: Verdict.DONE, contract.EXIT_FAILED: Verdict.FAILED, contract.EXIT_RETRY: Verdict.RETRY}
KILLING = frozenset({signal.SIGKILL, signal.SIGTERM})


@dataclass(slots=True)
class _Process:
    guard: subprocess.Popen[bytes]
    life: int
    status: int
    log: Path
    result: Path
    events: Path
    position: int = 0
    """Bytes of `events` read so far."""
    told: bytearray = field(default_factory=bytearray)
    stopped: bool = False
    ended: Ended | None = None


class ProcessLauncher:
    """`shared` gives the lock files that a step's guard holds on to, by the step's digest. `grace` is in seconds."""

    def __init__(
        self,
        logs: Path,
        variables: Mapping[str, str],
        *,
        grace: float = 10.0,
        shared: Callable[[str | None], tuple[int, ...]] = lambda _: (),
        entry: str = ENTRY,
    ) -> None:
        self._logs, self._variables, self._grace, self._shared, self._entry = logs, variables, grace, shared, entry
        self._processes: dict[str, _Process] = {}

    def start(self, step: Step, site: contract.Site) -> Handle:
        self._logs.mkdir(parents=True, exist_ok=True)
        paths = [self._logs / f"{step.name}.{suffix}" for suffix in ("log", "result.json", "events.jsonl")]
        log, result, events = paths
        for stale in (result, events):
            stale.unlink(missing_ok=True)
        command = self._command(step, replace(site, result=str(result), events=str(events)))
        with log.open("ab") as output:
            output.write(f"--- {step.name} {site.attempt} {datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())
            output.flush()
            process = _Process(*self._spawn(command, step, site, output.fileno()), log, result, events)
        key = f"{step.name}/{site.attempt}"
        self._processes[key] = process
        return Handle(step.name, key, str(log))

    def wait(self, handles: Collection[Handle], timeout: float) -> None:
        watched = [self._processes[h.key].status for h in handles if self._processes[h.key].ended is None]
        if watched:
            select.select(watched, [], [], timeout)
        else:
            time.sleep(timeout)

    def poll(self, handle: Handle) -> Ended | None:
        process = self._processes[handle.key]
        if process.ended is None and _guard_has_ended(process):
            process.ended = _conclude(process)
        return process.ended

    def events(self, handle: Handle) -> Sequence[Mapping[str, Any]]:
        process = self._processes[handle.key]
        try:
            with process.events.open("rb") as file:
                file.seek(process.position)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]  # a line that is being written is read next time
        process.position += len(whole)
        return [event for line in whole.splitlines() if (event := _json_object(line)) is not None]

    def logs(self, handle: Handle, lines: int) -> Sequence[str]:
        return tail(self._processes[handle.key].log, lines)

    def stop(self, handle: Handle, *, now: bool = False) -> None:
        process = self._processes[handle.key]
        if process.ended is not None:
            return
        for _ in range(2 if now else 1):  # the guard takes a second SIGTERM for "at once"
            process.guard.send_signal(signal.SIGTERM)
            time.sleep(0.05 if now else 0.0)  # two at the same moment would arrive as one
        process.stopped = True

    def close(self) -> None:
        running = [p for p in self._processes.values() if p.ended is None]
        for process in running:
            process.stopped = True
            process.guard.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace + CLOSE_SLACK
        for process in running:
            while not _guard_has_ended(process):
                if time.monotonic() > deadline:
                    process.guard.kill()
                select.select([process.status], [], [], 0.5)
            process.ended = _conclude(process)

    def _command(self, step: Step, site: contract.Site) -> list[str]:
        arguments = contract.to_arguments(step.spec, site)
        if len(arguments[0]) > MAX_ARGUMENT:
            file = self._logs / f"{step.name}.step.json"
            file.write_text(contract.encode(step.spec), encoding="ascii")
            arguments[0] = f"--step=@{file}"
        # -P: the folder it is started in must not shadow modules of the standard library
        return [sys.executable, "-P", "-m", self._entry, *arguments]

    def _spawn(
        self, command: list[str], step: Step, site: contract.Site, output: int
    ) -> tuple[subprocess.Popen[bytes], int, int]:
        keep = self._shared(step.spec.digest)
        life_read, life = os.pipe()
        status, status_write = os.pipe()
        guard = [sys.executable, "-I", "-S", str(GUARD), str(life_read), str(status_write), str(self._grace)]
        try:
            started = subprocess.Popen(
                [*guard, ",".join(map(str, keep)), "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=site.code,
                env=self._environment(step),
                pass_fds=(life_read, status_write, *keep),
                start_new_session=True,  # no controlling terminal: Ctrl-C reaches the executor alone
            )
        except BaseException:
            os.close(life)
            os.close(status)
            raise
        finally:
            os.close(life_read)
            os.close(status_write)
        os.set_blocking(status, False)
        return started, life, status

    def _environment(self, step: Step) -> dict[str, str]:
        own = {variable.name: variable.value for variable in step.variables}
        return {"PYTHONUNBUFFERED": "1", **os.environ, **self._variables, **own}


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a text file, [] if there is none; bytes that are no UTF-8 are shown as \\xNN."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "backslashreplace")
    except FileNotFoundError:
        return []
    # A progress bar writes its line over and over, parted by \r: the last state counts.
    shown = (line.rsplit("\r", 1)[-1][:MAX_LINE] for line in text.replace("\r\n", "\n").split("\n"))
    return list(deque((line for line in shown if line), lines))


def _guard_has_ended(process: _Process) -> bool:
    """Reads what the guard tells; it closes the pipe by ending."""
    while True:
        try:
            told = os.read(process.status, 4096)
        except BlockingIOError:
            return False
        if not told:
            return True
        process.told += told


def _conclude(process: _Process) -> Ended:
    code = process.guard.wait()
    os.close(process.status)
    os.close(process.life)
    told = [message for line in process.told.splitlines() if (message := _json_object(line)) is not None]
    last: Mapping[str, Any] = told[-1] if told else {}
    if "exit" not in last:
        if (
            "pid" in last
        ):  # the guard itself was killed; the kernel ended the step with it, its children are ours to end
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(int(last["pid"]), signal.SIGKILL)
        verdict = Verdict.STOPPED if process.stopped else Verdict.KILLED
        return Ended(verdict=verdict, how=f"its guard ended with code {code}", result=_read_result(process.result))
    return Ended(
        verdict=_verdict(last["exit"], last["signal"], stopped=process.stopped),
        how=_how(last["exit"], last["signal"]),
        result=_read_result(process.result),
        peak_memory=last["max_rss"] or None,
    )


def _verdict(code: int | None, number: int | None, *, stopped: bool) -> Verdict:
    if code == 0:
        return Verdict.DONE
    if stopped:
        return Verdict.STOPPED
    if code is not None:
        return VERDICTS.get(code, Verdict.FAILED)
    return Verdict.KILLED if number in KILLING else Verdict.CRASHED


def _how(code: int | None, number: int | None) -> str:
    if number is None:
        return f"exit code {code}"
    name = next((known.name for known in signal.Signals if known == number), None)
    return f"signal {number}" if name is None else f"signal {number} ({name})"


def _read_result(path: Path) -> Mapping[str, Any] | None:
    try:
        return _json_object(path.read_bytes())
    except FileNotFoundError:
        return None


def _json_object(text: bytes | bytearray) -> dict[str, Any] | None:
    """None for what is no JSON object: user code may write to these files too, and a kill may cut them short."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
