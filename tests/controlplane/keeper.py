"""The process that owns the control plane of a test run, for as long as any process of that run holds `users.lock`.

A worker may end, or be killed, before the others: none of them can own what all of them use. `python -m
tests.controlplane.keeper FOLDER` starts one in FOLDER, writes FOLDER/url or FOLDER/failed, and waits for the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.controlplane.binaries import MissingBinaries, binaries, locked
from tests.controlplane.cluster import Cluster
from tests.controlplane.plane import CannotStart, ControlPlane

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def shared_control_plane(folder: Path) -> Iterator[Cluster]:
    """The one control plane of everyone who names this folder; the first starts it, it ends after the last.

    Raises MissingBinaries, CannotStart.
    """
    binaries()
    with (folder / "users.lock").open("a") as users:
        with locked(folder / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            cluster = _running(folder) or _start(folder)
        yield cluster
        cluster.client.close()


def _running(folder: Path) -> Cluster | None:
    """The control plane that is there and answers: that of a keeper that was killed does not."""
    current = folder / "current"
    if not current.is_symlink():
        return None
    cluster = _opened(current.readlink())
    return cluster if cluster.answers("/readyz") else None


def _opened(plane: Path) -> Cluster:
    return Cluster(plane, (plane / "url").read_text())


def _start(folder: Path) -> Cluster:
    plane = Path(tempfile.mkdtemp(prefix="plane-", dir=folder))
    with (plane / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.controlplane.keeper", str(plane)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    while keeper.poll() is None:
        if (plane / "url").exists():
            return _opened(plane)
        time.sleep(0.05)
    raise CannotStart(f"the control plane's keeper ended:\n{(plane / 'keeper.log').read_text()[-6000:]}")


def main(plane: Path) -> int:
    """Keep a control plane in `plane` until nobody uses it; says on stderr why there is none."""
    current = plane.parent / "current"
    try:
        with ControlPlane(folder=plane) as control_plane:
            current.unlink(missing_ok=True)
            current.symlink_to(plane)
            _publish(plane / "url", control_plane.url)
            with locked(plane.parent / "users.lock"):
                current.unlink()
                control_plane.stop()
    except (CannotStart, MissingBinaries) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _publish(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.rename(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
