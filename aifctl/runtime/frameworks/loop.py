"""aifctl's own training loop, used when the spec names none: epochs, progress, checkpoints, and how it goes on.

What a framework adds is a `Learner`. A resumed training computes what an uninterrupted one would have: a checkpoint
holds the next batch, the sums over the rows before it, and the learner's state; weights and random generators are the
context's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from aifctl.runtime.context import Context, diverged
from aifctl.runtime.job import Stopped


class Learner(Protocol):
    """One model, its loss and its optimizer. Batches are the framework's tensors, as `context.data` gives them."""

    def state(self) -> dict[str, Any]:
        """What the optimizer goes on from, in types that a checkpoint keeps."""

    def restore(self, state: Mapping[str, Any]) -> None: ...

    def step(self, features: Any, label: Any) -> float:
        """Learns one batch; its mean loss before that."""

    def look(self, features: Any, label: Any) -> tuple[float, int | None]:
        """Mean loss of a batch, and how many rows of it are right (None where there are no classes)."""


@dataclass(slots=True)
class Progress:
    """The next batch of an epoch, and the sums over the rows before it."""

    epoch: int = 0
    batch: int = 0
    rows: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float:
        return self.total / max(self.rows, 1)


@dataclass(slots=True)
class Loop:
    context: Context
    learner: Learner
    progress: Progress = field(default_factory=Progress)

    def run(self) -> None:
        """Raises Stopped after saving, when the step was told to stop, and Report (AIF823) where the loss is none."""
        if (state := self.context.latest()) is not None:
            self.learner.restore(state)
            self.progress = Progress(**state["progress"])
        while self.progress.epoch < self.context.epochs:
            self._train_epoch()
            self.context.log("train_loss", self.progress.mean, self.progress.epoch)
            if "validation" in self.context.splits:
                self._validate()
            self.progress = Progress(epoch=self.progress.epoch + 1)
            self._save()

    def _save(self) -> None:
        self.context.save({**self.learner.state(), "progress": asdict(self.progress)})
        if self.context.should_stop:
            raise Stopped

    def _train_epoch(self) -> None:
        progress = self.progress
        for features, label in self.context.data("train", progress.epoch).starting_at(progress.batch):
            value = self.learner.step(features, label)
            if not math.isfinite(value):
                raise diverged("train_loss", value, progress.epoch)
            progress.batch += 1
            progress.rows += len(label)
            progress.total += value * len(label)
            if self.context.due or self.context.should_stop:
                self._save()

    def _validate(self) -> None:
        rows, loss = 0, 0.0
        hits: list[int] = []
        for features, label in self.context.data("validation"):
            value, right = self.learner.look(features, label)
            loss += value * len(label)
            rows += len(label)
            hits += [] if right is None else [right]
        self.context.log("val_loss", loss / rows, self.progress.epoch)
        if hits:
            self.context.log("val_accuracy", sum(hits) / rows, self.progress.epoch)
