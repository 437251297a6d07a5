"""Locks of one machine on a store: flock files below `<store>/locks`, freed by the kernel when their holder dies.

A run holds three kinds. `run-<run>` belongs to the executor alone: it is free the moment the executor is gone, however
it went. `steps-<run>` and `step-<digest>` are also held by the guard of each step's process (`runtime.guard` gets the
open file), so they are free only when the last process of a killed run has ended; two runs that share a step compute
it once. `gc` is held shared while a run looks steps up, and alone while garbage is taken away.

Files are opened without following symbolic links. Raises OSError where a folder can't be written or has no flock.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

POLL = 0.05
"""Seconds between two tries for a lock; flock itself can't wait with a limit."""
PROBE_WAIT = 0.5
"""A reader that only asks whether a run is going on holds its lock for an instant: wait that long before giving up."""
GC_WAIT = 60.0


@dataclass(slots=True)
class Lock:
    """A held lock. `fd` may be handed to a child, which then holds it too."""

    path: Path
    fd: int

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def take(path: Path, *, shared: bool = False, wait: float = 0.0) -> Lock | None:
    """The lock, or None if others still hold it after `wait` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait
    while True:
        lock = _try(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if lock is not None or time.monotonic() >= deadline:
            return lock
        time.sleep(POLL)


def _try(path: Path, mode: int) -> Lock | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
        if not _is_current(path, fd):  # its holder removed the file between our open and our flock
            os.close(fd)
            return None
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    return Lock(path, fd)


def _is_current(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def is_held(path: Path) -> bool:
    """Whether someone holds the lock alone. Creates nothing."""
    if not path.is_file() or path.is_symlink():
        return False
    lock = _try(path, fcntl.LOCK_SH)
    if lock is not None:
        lock.release()
    return lock is None


def discard(lock: Lock) -> None:
    """Releases a lock and removes its file; only for a lock that is held alone."""
    with suppress(OSError):
        lock.path.unlink()
    lock.release()


def run_path(store: Path, run: str) -> Path:
    return store / "locks" / f"run-{run}"


def steps_path(store: Path, run: str) -> Path:
    return store / "locks" / f"steps-{run}"


def step_path(store: Path, digest: str) -> Path:
    return store / "locks" / f"step-{digest}"


def gc_path(store: Path) -> Path:
    return store / "locks" / "gc"


def is_running(store: Path, run: str) -> bool:
    """Whether the run's executor, or a step that it left behind, is alive on this machine."""
    return is_held(run_path(store, run)) or is_held(steps_path(store, run))


@contextmanager
def looking_up(store: Path) -> Iterator[None]:
    """While it lasts no garbage collection takes steps away. Raises TimeoutError after a minute."""
    lock = take(gc_path(store), shared=True, wait=GC_WAIT)
    if lock is None:
        raise TimeoutError(f"{gc_path(store)}: a garbage collection has held it for {GC_WAIT:.0f} seconds")
    try:
        yield
    finally:
        lock.release()


@dataclass(slots=True)
class Claims:
    """What one executor holds: the run, its steps, and each step it works on."""

    store: Path
    run: Lock
    steps: Lock
    by_digest: dict[str, Lock] = field(default_factory=dict)

    def claim(self, digest: str) -> bool:
        """Makes the step with this digest ours; False while another run works on it."""
        if digest not in self.by_digest:
            lock = take(step_path(self.store, digest))
            if lock is None:
                return False
            self.by_digest[digest] = lock
        return True

    def looking_up(self) -> AbstractContextManager[None]:
        return looking_up(self.store)

    def release(self, digest: str) -> None:
        """Gives the step up and removes its lock file. Only when no guard holds it any more."""
        lock = self.by_digest.pop(digest, None)
        if lock is not None:
            discard(lock)

    def shared_with(self, digest: str | None) -> tuple[int, ...]:
        """Open files for the guard of this step's process."""
        own = self.by_digest.get(digest or "")
        return (self.steps.fd,) if own is None else (self.steps.fd, own.fd)

    def close(self) -> None:
        for digest in list(self.by_digest):
            self.release(digest)
        for lock in (self.steps, self.run):
            lock.release()
