"""Whose turn it is to write a step's checkpoints: one process at a time, wherever it runs and whatever the store is.

    steps/<digest>/turns/<number>.json    {"attempt", "run", "place", "pid", "born", "beat", "ended"}

Files are made exclusively, so a number has one owner; the highest one has the turn. Its owner writes the file anew
every `BEAT` seconds and marks it when it ends. Others wait: for the step's result, for that mark, or until the file has
stayed the same for `STALE` seconds by their own clock (clocks of two machines are never compared), or its owner's
process is gone from this machine. Then they make the next number. An owner that finds a higher one has lost its turn:
it is told to stop, and may write no checkpoint any more.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.store import Fault, Published, Store

BEAT = 5.0
"""Seconds between two signs of life."""
STALE = 30.0
"""Seconds without one after which an owner counts as dead."""
POLL = 1.0
"""Seconds between two looks of those that wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Asks for a turn. `stop` ends the wait, and is set where the turn is lost; `tell` gets text for people."""

    store: Store
    digest: str
    attempt: str
    run: str
    stop: threading.Event
    tell: Callable[[str], None] = lambda text: None


@dataclass(slots=True)
class Turn:
    """Held from `take` until `end`."""

    request: Request
    number: int
    about: Mapping[str, Any]
    """Its owner, as known when it was taken: a machine may be given another name meanwhile."""
    lost: bool = False
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def check(self) -> None:
        """Raises Fault where another has the turn by now, or where it can't be known."""
        request = self.request
        mine = _parse(request.store.read(_file(request.digest, self.number)) or b"")
        # A store that does not refuse a second writer of one name would give a number to two: the last one has it.
        self.lost |= any(mine.get(name) != value for name, value in self.about.items())
        self.lost |= request.store.read(_file(request.digest, self.number + 1)) is not None
        if self.lost:
            raise _taken_over(request)

    def end(self) -> None:
        """Lets the next one begin at once. A store that is away is no reason to fail: the turn gets stale."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.check()
            self._write(0, ended=True)
        except Fault:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._beat, name="turn", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        beat = 0
        while not self._over.wait(BEAT):
            beat += 1
            try:
                self.check()
                self._write(beat)
            except Fault:
                if self.lost:
                    self.request.stop.set()
                    return

    def _write(self, beat: int, *, ended: bool = False) -> None:
        self.request.store.write(_file(self.request.digest, self.number), _record(self.about, beat, ended=ended))


def take(request: Request) -> Turn | Published | None:
    """The turn; what another has published meanwhile; None where it was told to stop while it waited. Raises Fault."""
    about, known, since, told = _about(request), b"", time.monotonic(), False
    while True:
        published = request.store.find(request.digest)
        if published is not None:
            return published
        last = next(reversed(_numbers(request)), 0)
        raw = (request.store.read(_file(request.digest, last)) or b"") if last else b""
        if raw != known:
            known, since = raw, time.monotonic()
        if last == 0 or _is_over(raw) or time.monotonic() - since >= STALE:
            turn = Turn(request, last + 1, about)
            if request.store.write(_file(request.digest, last + 1), _record(about, 0), exclusive=True):
                if told:
                    request.tell("")
                return _begun(turn)
            continue
        if request.stop.is_set():
            return None
        if not told:
            request.tell(f"waits: {_owner(raw)} is at this step")
            told = True
        request.stop.wait(POLL)


def _begun(turn: Turn) -> Turn | Published:
    """The turn, unless its owner before has published and ended after this one last looked for a result."""
    turn.begin()
    try:
        published = turn.request.store.find(turn.request.digest)
    except Report:
        turn.end()
        raise
    if published is None:
        return turn
    turn.end()
    return published


def _numbers(request: Request) -> list[int]:
    names = request.store.names(f"steps/{request.digest}/turns")
    return sorted(int(stem) for stem, _, end in (name.partition(".") for name in names) if stem.isdigit())


def _file(digest: str, number: int) -> str:
    return f"steps/{digest}/turns/{number:06d}.json"


def _record(about: Mapping[str, Any], beat: int, *, ended: bool = False) -> bytes:
    return json.dumps({**about, "beat": beat, "ended": ended}).encode()


def _about(request: Request) -> dict[str, Any]:
    """What tells one owner from all others."""
    here = {"place": _place(), "pid": os.getpid(), "born": _born(os.getpid())}
    return {"attempt": request.attempt, "run": request.run, **here}


def _is_over(raw: bytes) -> bool:
    """Whether its owner has said that it has ended, or was a process of this machine and is none any more."""
    found = _parse(raw)
    if found.get("ended") is True:
        return True
    here = found.get("place") is not None and found.get("place") == _place()
    return here and found.get("born") is not None and found.get("born") != _born(found.get("pid"))


def _owner(raw: bytes) -> str:
    found = _parse(raw)
    return f"attempt {found.get('attempt')} of run {found.get('run')}"


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _place() -> str | None:
    """This machine since its start, and the processes that this one can see; None where the kernel does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _born(pid: Any) -> str | None:
    """When the process of this number began, in ticks since the machine's start; None where there is none.

    Field 22 of /proc/<pid>/stat, see proc(5): numbers of processes come again, with this they do not.
    """
    try:
        text = Path(f"/proc/{int(pid)}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()
    except (OSError, TypeError, ValueError):
        return None
    return None if fields[:1] == ["Z"] else fields[19]


def _taken_over(request: Request) -> Fault:
    message = f"another attempt has taken step {request.digest[:10]} over from {request.attempt}"
    hint = "it goes on from the same checkpoints; this one ends, and finds the result when it is tried again"
    return Fault(Diagnostic("AIF855", message, hint))
