"""Since when the pods of a workload are in what they hardly come out of by themselves.

One look does not tell. The kubelet's words change all the time while nothing gets better: a container in a crash loop
waits (CrashLoopBackOff), runs, has ended, and waits again, each time for twice as long; a pull that fails is
ErrImagePull and ImagePullBackOff by turns. So a streak begins with the first crash or failed pull that is seen, lasts
over what comes between two of them, and ends when pods are well, or run for longer than they did before.
"""

from __future__ import annotations

from dataclasses import dataclass

from aifctl.cluster.health.pods import Trouble

STUCK = frozenset(
    {
        "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ErrImagePull", "ImageInspectError",
        "ImagePullBackOff", "InvalidImageName", "RegistryUnavailable", "SignatureValidationFailed",
    }
)  # fmt: skip
"""What a container that never ran waits with."""
CRASHES = 3
"""Lives that ended before a crash counts as more than an accident."""
LIFE = 15.0
"""Seconds that a container runs after a crash, at least, before it counts as better than last time."""


@dataclass(slots=True)
class Streak:
    """`since` is None while there is nothing to despair of. Times are seconds of one monotonic clock."""

    since: float | None = None
    down: bool = False
    """Stuck, or crashed often enough, in the last look."""
    _life: tuple[str, str, int] = ("", "", -1)
    _began: float = 0.0

    def note(self, trouble: Trouble | None, now: float) -> None:
        """A look at the pods: the worst that ails them, None where nothing does."""
        self.down = trouble is not None and _is_down(trouble)
        if trouble is None or not (_ails(trouble) or self._runs_again(trouble, now)):
            self.since = None
        elif self.since is None and not trouble.running:
            self.since = now

    def lasts(self, now: float) -> float:
        """Seconds for which there has been no hope; 0 while a container runs, or may still be an accident."""
        return now - self.since if self.since is not None and self.down else 0.0

    def _runs_again(self, trouble: Trouble, now: float) -> bool:
        """Between two crashes: not yet much longer than last time."""
        life = (trouble.pod, trouble.container, trouble.restarts)
        if life != self._life:
            self._life, self._began = life, now
        return trouble.running and trouble.crashes > 0 and now - self._began <= max(2 * trouble.lived, LIFE)


def _ails(trouble: Trouble) -> bool:
    return not trouble.running and (trouble.phase in STUCK or trouble.crashes > 0)


def _is_down(trouble: Trouble) -> bool:
    return not trouble.running and (trouble.phase in STUCK or trouble.crashes >= CRASHES)
