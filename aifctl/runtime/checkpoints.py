"""Checkpoints of one training, in one folder: whole or not there, the newest few and the best kept.

A checkpoint is two files: `<number>.ckpt`, in whatever form the framework writes, and `<number>.json` with its size,
sha256 and metric, written after it. Both are written under a temporary name, flushed to the disk and renamed, so a
process killed at any moment leaves at worst a file without its record, which is ignored. A file that no longer fits
its record (a truncated copy, a full disk) is passed over for the one before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aifctl import digest

PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    number: int
    sha256: str
    size: int
    metric: float | None
    """The metric that selects the best; None when it was not measured with these weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    folder: Path
    keep: int = 2
    maximize: bool = False
    check: Callable[[], None] = lambda: None
    """Raises where somebody else writes here by now: asked before anything is."""

    def save(self, write: Callable[[Path], None], metric: float | None = None) -> Record:
        """Writes one more checkpoint by `write(path)`, then drops what is neither new nor best.

        Raises OSError, and what `check` raises.
        """
        self.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        number = max((record.number for record in self.records()), default=0) + 1
        partial = self.path(number).with_suffix(PARTIAL)
        write(partial)
        self.check()  # writing may have taken long
        record = Record(number=number, sha256=digest.of_file(partial), size=partial.stat().st_size, metric=metric)
        _settle(partial, self.path(number))
        partial.write_text(json.dumps(asdict(record)), encoding="utf-8")
        _settle(partial, self._record_path(number))
        self._drop_old()
        return record

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.ckpt"

    def records(self) -> list[Record]:
        """Every checkpoint with a record, oldest first; its file may still be damaged (`whole` tells)."""
        return sorted(self._read_records(), key=lambda record: record.number)

    def newest(self) -> Record | None:
        """The newest whole checkpoint."""
        return next((record for record in reversed(self.records()) if self.whole(record)), None)

    def best(self) -> Record | None:
        """The whole checkpoint with the best metric, the earliest of equals; None when none was measured."""
        measured = [record for record in self.records() if record.metric is not None and self.whole(record)]
        return min(measured, key=self._rank, default=None)

    def improves(self, metric: float | None) -> bool:
        """Whether a checkpoint with this metric would be the best one."""
        if metric is None:
            return False
        others = [record.metric for record in self.records() if record.metric is not None]
        return all(metric > other if self.maximize else metric < other for other in others)

    def whole(self, record: Record) -> bool:
        path = self.path(record.number)
        return path.is_file() and path.stat().st_size == record.size and digest.of_file(path) == record.sha256

    def _rank(self, record: Record) -> float:
        metric = record.metric or 0.0
        return -metric if self.maximize else metric

    def _drop_old(self) -> None:
        records = self.records()
        measured = [record for record in records if record.metric is not None]
        kept = {record.number for record in records[-max(self.keep, 1) :]}
        kept |= {min(measured, key=self._rank).number} if measured else set()
        for record in records:
            if record.number not in kept:
                self._record_path(record.number).unlink(missing_ok=True)
                self.path(record.number).unlink(missing_ok=True)

    def _record_path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"

    def _read_records(self) -> Iterator[Record]:
        for path in self.folder.glob("*.json"):
            try:
                values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                yield Record(**values)
            except (ValueError, TypeError):
                continue  # half a record is no record


def _settle(partial: Path, final: Path) -> None:
    """Gives a finished file its name, after its bytes are on the disk."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(final)
