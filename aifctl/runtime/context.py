"""What a user's own training loop is given: `fit(context)`. aifctl's own loops use the same object.

`context.model` is what `build` returned, on its device. `context.data(split, epoch)` gives batches of
`(features, label)` as the framework's tensors, preprocessed, the training split shuffled by seed and epoch.
`context.log` records metrics, `context.save` and `context.latest` keep and find checkpoints; weights and random
generators are in them without being asked for. Everything a loop needs to go on after `kill -9` is:

    if (state := context.latest()) is not None:
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aifctl.contract import TrainConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.checkpoints import Checkpoints
from aifctl.runtime.data import shuffled
from aifctl.runtime.job import Stopped, user_failure
from aifctl.runtime.signature import Arrays, Signature
from aifctl.runtime.store import Fault


@dataclass(frozen=True, slots=True)
class Rows:
    """One split as the model gets it: preprocessed features and, where there is one, the label."""

    features: Arrays
    label: Any | None

    def __len__(self) -> int:
        return len(next(iter(self.features.values())))

    def take(self, index: Any) -> Rows:
        label = None if self.label is None else self.label[index]
        return Rows({name: array[index] for name, array in self.features.items()}, label)


class Framework(Protocol):
    """What a context asks of a framework; each has one in `frameworks/`."""

    def tensors(self, rows: Rows) -> tuple[Any, Any]:
        """(features by name, label) as tensors on the model's device."""

    def capture(self) -> Any:
        """Weights and states of random generators, as `write` can keep them."""

    def restore(self, captured: Any) -> None:
        """Puts back all that `capture` gave."""

    def restore_weights(self, captured: Any) -> None:
        """The weights alone: the best checkpoint's become the model."""

    def write(self, value: Any, path: Path) -> None: ...

    def read(self, path: Path) -> Any:
        """Must not run code that the file holds."""

    def autocast(self) -> AbstractContextManager[Any]: ...


class Surroundings(Protocol):
    """What a context asks of the step it runs in: where metrics go, and whether it was told to stop."""

    def metric(self, name: str, value: float, step: int) -> None: ...

    def event(self, event: str, **fields: Any) -> None: ...

    def keep_checkpoints(self) -> None:
        """Sends the checkpoint folder to where it outlives this machine."""

    @property
    def should_stop(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a split in one epoch, in an order that depends on nothing but seed and epoch.

    A single row left over joins the batch before: batch normalisation can't learn from one.
    """

    rows: Rows
    size: int
    order: Any
    framework: Framework

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self.starting_at(0)

    def starting_at(self, batch: int) -> Iterator[tuple[Any, Any]]:
        starts = self._starts()
        for start in starts[batch:]:
            end = len(self.rows) if start == starts[-1] else start + self.size
            yield self.framework.tensors(self.rows.take(self.order[start:end]))

    def _starts(self) -> range:
        rows = len(self.rows)
        return range(0, rows - 1 if rows > self.size > 1 else rows, self.size)


@dataclass(slots=True, kw_only=True)
class Context:
    config: TrainConfig
    signature: Signature
    """Of the model itself: inputs after preprocessing."""
    splits: Mapping[str, Rows]
    checkpoints: Checkpoints
    surroundings: Surroundings
    device: str | None
    """As asked for; None lets the framework choose."""
    folder: Path
    """Where the trained model is written."""
    code: Path | None
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment of a custom command: where its data lies, and the run that it tracks to."""
    rank: int = 0
    model: Any = None
    framework: Framework | None = None
    output: str | None = None
    """Kind of the model's output, where the framework has found it out: logits, probabilities or value."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Every logged value: {name, value, step}."""
    resumed_from: int | None = None
    """Number of the checkpoint this process went on from."""
    _unsaved: dict[str, float] = field(default_factory=dict, init=False)
    _saved_at: float = field(default_factory=time.monotonic, init=False)

    @property
    def params(self) -> Mapping[str, Any]:
        return self.config.params

    @property
    def epochs(self) -> int:
        return self.config.epochs

    @property
    def should_stop(self) -> bool:
        """Whether the step was told to end: save and return."""
        return self.surroundings.should_stop

    @property
    def due(self) -> bool:
        """Whether a checkpoint in the middle of an epoch is due (`checkpoint.every` has passed)."""
        every = self.config.checkpoint.every
        return every is not None and time.monotonic() - self._saved_at >= every

    def data(self, split: str, epoch: int = 0) -> Batches:
        """Raises KeyError, naming the splits there are."""
        if split not in self.splits:
            raise KeyError(f"no split {split!r}; there are: {', '.join(self.splits)}")
        rows = self.splits[split]
        order = shuffled(len(rows), self.config.seed, epoch) if split == "train" else np.arange(len(rows))
        return Batches(rows, self.config.batch, order, self._framework())

    def autocast(self) -> AbstractContextManager[Any]:
        """Runs the block in the precision asked for (`training.precision`)."""
        return self._framework().autocast()

    def log(self, name: str, value: float, step: int) -> None:
        """Records a metric; `step` is the epoch. Raises Report (AIF823) for a loss that is no number."""
        value = float(value)
        if not math.isfinite(value) and name.endswith("loss"):
            raise diverged(name, value, step)
        self.history.append({"name": name, "value": value, "step": int(step)})
        self._unsaved[name] = value
        self.surroundings.metric(name, value, int(step))

    def save(self, state: Any) -> None:
        """Keeps a checkpoint with `state` (numbers, text, tensors, and lists and dicts of them).

        Call it as often as you like: it writes when one is due, when the metric that selects the best has improved,
        and when the step was told to stop. Only rank 0 writes.
        """
        metric = self._unsaved.get(self.config.checkpoint.best or "")
        self._unsaved.clear()
        wanted = self.config.checkpoint.every is None or self.due or self.should_stop
        if self.rank != 0 or not (wanted or self.checkpoints.improves(metric)):
            return
        framework = self._framework()
        value = {"state": state, "framework": framework.capture(), "history": list(self.history)}
        try:
            record = self.checkpoints.save(lambda path: framework.write(value, path), metric)
            self.surroundings.keep_checkpoints()
        except OSError as error:
            raise Fault(Diagnostic("AIF802", f"can't write a checkpoint: {error.strerror or error}")) from error
        self._saved_at = time.monotonic()
        self.surroundings.event("checkpoint", number=record.number, size=record.size)

    def latest(self) -> Any | None:
        """What the newest whole checkpoint was saved with, its weights and random generators put back; else None."""
        record = self.checkpoints.newest()
        if record is None:
            return None
        value = self._framework().read(self.checkpoints.path(record.number))
        self._framework().restore(value["framework"])
        self.history[:] = value["history"]
        self._saved_at = time.monotonic()
        self.resumed_from = record.number
        self.surroundings.event("resumed", number=record.number)
        return value["state"]

    def take_best(self) -> int | None:
        """Makes the best checkpoint's weights the model's, when one is to be selected; its number."""
        if self.config.checkpoint.best is None:
            return None
        record = self.checkpoints.best()
        if record is None:
            known = sorted({entry["name"] for entry in self.history})
            hint = f"logged were: {', '.join(known)}" if known else "log it with `context.log`"
            message = f"no checkpoint was saved with metric `{self.config.checkpoint.best}`"
            raise Report(Diagnostic("AIF825", message, hint=hint))
        value = self._framework().read(self.checkpoints.path(record.number))
        self._framework().restore_weights(value["framework"])
        return record.number

    def _framework(self) -> Framework:
        assert self.framework is not None, "train() sets it before user code runs"
        return self.framework


@contextmanager
def user_code(doing: str, code: Path | None) -> Iterator[None]:
    """Around a call of user code. Raises Report (AIF806) with the user's own frames for whatever it raised."""
    try:
        yield
    except (Report, Stopped):
        raise
    except Exception as error:  # user code may raise anything
        raise Report(user_failure(error, code, doing)) from error


def diverged(name: str, value: float, step: int) -> Report:
    hint = "lower the learning rate, clip gradients, or look for missing values in the features"
    return Report(Diagnostic("AIF823", f"`{name}` is {value} in epoch {step}: training has diverged", hint=hint))
