"""A sampled log of predictions on stdout, one JSON object a line: what monitoring compares with the training rows."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aifctl.runtime.server.model import Model
from aifctl.runtime.server.rows import Row
from aifctl.runtime.signature import Arrays

REDACTED = "[redacted]"
LOGGED = ("label", "confidence", "value")
MOST_CHARACTERS = 16_384
"""Of a logged row; longer ones (images as text) are left out, only their prediction is logged."""


class Sampler:
    """`fraction` of all predicted rows, each drawn on its own. Values of `redact` columns are never written."""

    def __init__(
        self, model: Model, fraction: float, redact: frozenset[str], write: Callable[[str], object] | None = None
    ) -> None:
        self._model = model
        self._fraction = fraction
        self._redact = redact
        self._write = write or sys.stdout.write
        self._random = random.Random()  # noqa: S311 - draws which rows are logged, guards nothing

    def rows(self, endpoint: str, rows: list[Row], answers: list[dict[str, Any]]) -> None:
        for index in self._drawn(len(rows)):
            self._log(endpoint, answers[index], {"row": self._redacted(rows[index])})

    def tensors(self, endpoint: str, features: Arrays, answers: list[dict[str, Any]]) -> None:
        """Features have no columns that could be redacted one by one: only their shapes are written."""
        shapes = {name: list(array.shape[1:]) for name, array in features.items()}
        for index in self._drawn(len(answers)):
            self._log(endpoint, answers[index], {"shapes": shapes})

    def _redacted(self, row: Row) -> Row:
        return {name: REDACTED if name in self._redact else value for name, value in row.items()}

    def _drawn(self, count: int) -> list[int]:
        if self._fraction <= 0:
            return []
        return [index for index in range(count) if self._random.random() < self._fraction]

    def _log(self, endpoint: str, answer: dict[str, Any], given: dict[str, Any]) -> None:
        prediction: dict[str, Any] = {name: answer[name] for name in LOGGED if name in answer}
        text = json.dumps(given)
        line: dict[str, Any] = {
            "event": "prediction",
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "model": self._model.name,
            "version": self._model.version,
            "endpoint": endpoint,
            **prediction,
            **(given if len(text) <= MOST_CHARACTERS else {}),
        }
        self._write(json.dumps(line) + "\n")
        sys.stdout.flush()
