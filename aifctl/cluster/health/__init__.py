"""How a live object fares: `assess` says it in one word for machines, one for the place, and one line for people.

Pure functions over live objects as plain mappings; no I/O, no client. Whatever a status holds (it is written by
strangers), there is an answer and never an exception. The rules follow kstatus (kubernetes-sigs/cli-utils) where it is
right and differ where it is not: a running Job is no success, a condition that stays false is no progress, waiting for
quota or for a first consumer is no failure, and kinds without `observedGeneration` are not healthy at once.

A verdict reads one object. What its pods suffer is told by `stuck`, from those of the pods that `selector` finds that
are of the `newest` template.
"""

from aifctl.cluster.health.findings import Subject, ended_badly, failed, given_up, never_deleted, timed_out, vanished
from aifctl.cluster.health.model import Health, State
from aifctl.cluster.health.pods import Trouble, blame, selector, stuck
from aifctl.cluster.health.streak import Streak
from aifctl.cluster.health.templates import has_sets, newest
from aifctl.cluster.health.verdict import assess, ended, grace, is_run, settled, timeout, timeout_of

__all__ = [
    "Health",
    "State",
    "Streak",
    "Subject",
    "Trouble",
    "assess",
    "blame",
    "ended",
    "ended_badly",
    "failed",
    "given_up",
    "grace",
    "has_sets",
    "is_run",
    "never_deleted",
    "newest",
    "selector",
    "settled",
    "stuck",
    "timed_out",
    "timeout",
    "timeout_of",
    "vanished",
]
