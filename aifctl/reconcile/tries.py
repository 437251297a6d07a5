"""How often a commit was compiled to no end, and when it is tried again."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from aifctl.reconcile.compiling import TOO_OFTEN

FIRST, LONGEST = 5.0, 300.0
"""Seconds between two tries: the first time, and at most."""


@dataclass(slots=True)
class Tries:
    """Of one commit. `count` are those in a row that came to nothing, `suspect` is the model that the last one ended
    in; times are seconds of a monotonic clock."""

    commit: str = ""
    count: int = 0
    suspect: str = ""
    not_before: float = 0.0
    _ended_in: Counter[str] = field(default_factory=Counter)

    def is_due(self, commit: str, now: float) -> bool:
        return commit != self.commit or now >= self.not_before

    def failed(self, commit: str, now: float, model: str = "") -> float:
        """Notes a try that came to nothing, and the model that it ended in; seconds until the next."""
        if commit != self.commit:
            self.commit, self.count, self._ended_in = commit, 0, Counter()
        pause = min(LONGEST, FIRST * 2.0 ** min(self.count, 10))
        self.count, self.suspect = self.count + 1, model
        self._ended_in.update([model] if model else [])
        self.not_before = now + pause * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
        return self.not_before - now

    def without(self, commit: str) -> frozenset[str]:
        """Models in which it ended too often."""
        known = self._ended_in if commit == self.commit else {}
        return frozenset(model for model, count in known.items() if count >= TOO_OFTEN)

    def went_well(self, commit: str) -> None:
        """What it ended in before is remembered: it would end there again."""
        if commit != self.commit:
            self._ended_in = Counter()
        self.commit, self.count, self.suspect, self.not_before = commit, 0, "", 0.0
