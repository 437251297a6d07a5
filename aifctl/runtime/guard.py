"""Runs one command and sees to it that nothing of it outlives its step. Standard library only; started as a file.

`python -I -S guard.py LIFE STATUS GRACE KEEP -- COMMAND…`

LIFE is the read end of a pipe whose other end only the executor holds: when it ends, the executor is gone and the
command is stopped. STATUS is a pipe that gets one JSON line with the command's `pid`, and one at the end: `exit` (code
or null), `signal` (number or null), `max_rss` (bytes) and `stopped` (we ended it). KEEP are open lock files, held until
every process is gone. GRACE is in seconds. SIGTERM to the guard stops the command, a second one kills it at once.

Stopping: the command gets SIGTERM at once, as the main process of a pod does; all its descendants at half the grace;
SIGKILL at its end. When the command has ended by itself, what it left behind gets a moment to go, then SIGTERM, then
SIGKILL. On Linux the guard adopts orphans (PR_SET_CHILD_SUBREAPER), so a daemonised descendant is found too, and the
command dies with a guard that is killed (PR_SET_PDEATHSIG); elsewhere the command's process group is what is found.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"
TICK = 0.02
SWEEP = ((None, 1.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0))
"""What descendants get after the command has ended, and how many seconds they have to be gone."""
COULD_NOT_START = 127


class Guard:
    """One command under guard."""

    def __init__(self, life: int, status: int, grace: float) -> None:
        self.life, self.status, self.grace = life, status, grace
        self.wake, wake_write = os.pipe()
        for fd in (self.wake, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write)
        self.terms = 0
        self.pid = 0
        self.ended: tuple[int, int] | None = None  # wait status, ru_maxrss
        self.stopped_at: float | None = None
        self.sent: set[tuple[int, int]] = set()

    def run(self, command: list[str]) -> int:
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        if LINUX:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.pid = start(command)
        self._tell({"pid": self.pid})
        while self.ended is None:
            self._wait()
            self._stop_if_asked()
            self._reap()
        self._sweep()
        self._tell(self._result())
        return 0

    def _on_term(self, *_: object) -> None:
        self.terms += 1

    def _wait(self) -> None:
        watched = [self.wake] if self.life < 0 else [self.wake, self.life]
        ready, _, _ = select.select(watched, [], [], 60.0 if self.stopped_at is None else TICK)
        if self.wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)
        if self.life in ready and not os.read(self.life, 1):
            self.life = -1  # the executor is gone
            self.terms = max(self.terms, 1)

    def _stop_if_asked(self) -> None:
        if self.terms == 0 or self.ended is not None:
            return
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()
            self.sent.add((self.pid, signal.SIGTERM))
            send(self.pid, signal.SIGTERM)
            return
        waited = time.monotonic() - self.stopped_at
        if self.terms > 1 or waited >= self.grace:
            self._send_all(signal.SIGKILL)
        elif waited >= self.grace / 2:
            self._send_all(signal.SIGTERM)

    def _reap(self) -> bool:
        """Collects what has ended; whether children are left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.ended = (status, usage.ru_maxrss)

    def _sweep(self) -> None:
        for number, seconds in SWEEP:
            deadline = time.monotonic() + (0.0 if number is None and self.stopped_at is not None else seconds)
            while self._left() and time.monotonic() < deadline:
                if number is not None:
                    self._send_all(number)
                time.sleep(TICK)

    def _left(self) -> bool:
        return self._reap() or (not LINUX and bool(self._descendants()))

    def _send_all(self, number: int) -> None:
        """Once a process and signal: many programs take a second SIGTERM for impatience."""
        for pid in self._descendants():
            if (pid, number) not in self.sent:
                self.sent.add((pid, number))
                send(pid, number)

    def _descendants(self) -> list[int]:
        """Pids below the guard; elsewhere than on Linux the command's process group, as a negative number."""
        if LINUX:
            return below(os.getpid())
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return []
        return [-self.pid]

    def _result(self) -> dict[str, object]:
        status, max_rss = self.ended or (0, 0)
        killed = os.WIFSIGNALED(status)
        return {
            "exit": None if killed else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if killed else None,
            "max_rss": max_rss * (1024 if LINUX else 1),
            "stopped": self.stopped_at is not None,
        }

    def _tell(self, message: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens once the executor is gone
            os.write(self.status, json.dumps(message).encode() + b"\n")


def start(command: list[str]) -> int:
    """Forks and executes `command` in a process group of its own; the child's pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # both sides set the group, so that neither has to wait for the other
            os.setpgid(pid, pid)
        return pid
    try:
        signal.set_wakeup_fd(-1)
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if LINUX:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else the guard died before the line above
            os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(COULD_NOT_START)


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def below(root: int) -> list[int]:
    """Pids of all descendants of `root`, from /proc."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the guard's start-up time
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                parent = int(file.read().rpartition(b")")[2].split()[1])
                parents.setdefault(parent, []).append(int(name))
    found: list[int] = []
    queue = [root]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def main(arguments: list[str]) -> int:
    life, status, grace, keep, _, *command = arguments
    for fd in (int(life), int(status), *(int(fd) for fd in keep.split(",") if fd)):
        os.set_inheritable(fd, False)
    return Guard(int(life), int(status), float(grace)).run(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
