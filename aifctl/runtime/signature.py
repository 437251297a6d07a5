"""What a model takes and gives: names, dtypes and shapes of its tensors, the kind of its output, and its labels.

Plain data and a little NumPy; reads and writes JSON values, no files. Shapes are without the batch dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

CLASSIFICATION = frozenset({"classification", "sequence-classification"})
LOGITS, PROBABILITIES, VALUE = "logits", "probabilities", "value"
SUM_TOLERANCE = 1e-3
"""Rows of half-precision softmaxes sum to one within this."""

Arrays = dict[str, Any]
"""Tensor name → NumPy array, batch first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: str | None = None
    """Of an output: logits, probabilities or value."""
    type: str | None = None
    columns: tuple[str, ...] = ()
    """Of an input: the columns of a row it is made of; none where callers send it preprocessed."""
    values: tuple[str | int | bool, ...] | None = None
    """Of a category: its known values, in the order of their codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """`inputs` is what a caller of the model gives; user code's `build(params, signature)` sees in their place what
    preprocessing makes of them, and no outputs yet."""

    task: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()
    labels: tuple[str, ...] | None = None
    classes: int | None = None

    def input(self, name: str) -> Tensor:
        """Raises KeyError, naming the inputs there are."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        raise KeyError(f"no input {name!r}; there are: {', '.join(tensor.name for tensor in self.inputs)}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Signature:
        """Raises KeyError or TypeError for a value that is no signature."""
        labels = value.get("labels")
        return cls(
            task=value["task"],
            inputs=tuple(_tensor(item) for item in value["inputs"]),
            outputs=tuple(_tensor(item) for item in value.get("outputs", ())),
            labels=None if labels is None else tuple(str(label) for label in labels),
            classes=value.get("classes"),
        )


def after(signature: Signature, transformed: Arrays) -> Signature:
    """The signature of the model itself, whose inputs are what preprocessing gave for some rows."""
    return replace(signature, inputs=tuple(describe(name, array) for name, array in transformed.items()), outputs=())


def describe(name: str, array: Any, kind: str | None = None) -> Tensor:
    return Tensor(name=name, dtype=str(array.dtype), shape=tuple(int(size) for size in array.shape[1:]), kind=kind)


def output_kind(task: str, outputs: Any, others: Callable[[], Iterable[Any]] = tuple) -> str:
    """What a model's output is, seen on real rows: probabilities are in [0, 1] and sum to one, logits do not.

    A single column is the probability of class 1 when it is in [0, 1]. A logit may be, too, on a few rows of a model
    that has learned nothing yet: `others` gives outputs of the same model under other weights, where a probability
    stays one. It is called only then.
    """
    if task not in CLASSIFICATION:
        return VALUE
    values = np.asarray(outputs, dtype="float64")
    if not np.all((values >= 0) & (values <= 1 + SUM_TOLERANCE)):
        return LOGITS
    if values.ndim == 2 and values.shape[1] == 1:
        return LOGITS if any(map(_leaves_one, others())) else PROBABILITIES
    return PROBABILITIES if np.allclose(values.sum(axis=-1), 1.0, atol=SUM_TOLERANCE) else LOGITS


def _leaves_one(values: Any) -> bool:
    """Whether a value is outside [0, 1]; what is no number says nothing."""
    return bool(np.any((values < 0) | (values > 1 + SUM_TOLERANCE)))


def probabilities(outputs: Any, kind: str | None) -> Any:
    """Class probabilities, shape (rows, classes), float64, rows summing to one. One column is that of class 1."""
    values = np.asarray(outputs, dtype="float64")
    if values.ndim == 2 and values.shape[1] == 1:
        values = np.concatenate([np.zeros_like(values), values] if kind == LOGITS else [1 - values, values], axis=1)
    if kind == LOGITS:
        values = np.exp(values - values.max(axis=-1, keepdims=True))
    return values / values.sum(axis=-1, keepdims=True)


def _tensor(value: Mapping[str, Any]) -> Tensor:
    values = value.get("values")
    return Tensor(
        **{
            **value,
            "shape": tuple(value["shape"]),
            "columns": tuple(value.get("columns", ())),
            "values": None if values is None else tuple(values),
        }
    )
