"""The user's preprocessing class: fitted once on the training rows, then the same in training, evaluation and serving.

The class has `fit(train)`, `transform(batch)` and `state`. Batches are dicts of feature name → array, batch first;
`transform` is arithmetic that works on NumPy arrays as well as on the framework's tensors, because `serve: graph`
traces it into the exported graph. `state` is a flat dict of numbers, text and arrays: all that `fit` learned. It is
kept as .npz without pickles, and put back after every load (floats as float32, so that training, which uses the
state as it was stored, and serving compute the same).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.signature import Arrays

FILE = "preprocessing.npz"


def fit(prep: Any, train: Arrays) -> None:
    """Fits on the training rows. Raises Report (AIF822) for a state that can't be stored."""
    prep.fit(_copies(train))
    prep.state = _stored(prep)


def save(prep: Any, path: Path) -> None:
    np.savez(path, **{name: np.asarray(value) for name, value in prep.state.items()})


def load(prep: Any, path: Path) -> Any:
    """The instance given, with the state of a file. Raises OSError and ValueError for a file that is no .npz."""
    with np.load(path, allow_pickle=False) as arrays:
        prep.state = {name: _plain(arrays[name]) for name in arrays.files}
    return prep


def transform(prep: Any, features: Arrays) -> Arrays:
    """What the model gets of the features given: arrays of the same rows, floats as float32.

    Raises Report (AIF822) when the class gives something else.
    """
    if prep is None:
        return features
    result = prep.transform(_copies(features))
    rows = len(next(iter(features.values())))
    if not isinstance(result, dict) or not result:
        raise _refused(prep, f"transform gives {type(result).__name__}", "give a dict of feature name to array")
    arrays = {name: _float32(np.asarray(array)) for name, array in result.items()}
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != rows:
            raise _refused(
                prep, f"transform gives `{name}` of shape {array.shape} for {rows} rows", "keep one entry a row"
            )
    return arrays


def _copies(features: Arrays) -> Arrays:
    """User code may work in place; the rows themselves are read again, by both sides of every comparison."""
    return {name: array.copy() for name, array in features.items()}


def in_graph(prep: Any, convert: Callable[[Any], Any]) -> Any:
    """A copy whose arrays are the framework's constants, to be traced. Numbers and text stay as they are."""
    traced = copy.copy(prep)
    traced.state = {name: convert(value) if _is_numeric(value) else value for name, value in prep.state.items()}
    return traced


def _stored(prep: Any) -> dict[str, Any]:
    state = getattr(prep, "state", None)
    if not isinstance(state, dict):
        raise _refused(
            prep, f"state is {type(state).__name__}", "keep in `state` a dict of what fit learned, {} if nothing"
        )
    stored = {str(name): _plain(np.asarray(value)) for name, value in state.items()}
    for name, value in stored.items():
        if isinstance(value, np.ndarray) and value.dtype.kind not in "biufU":
            raise _refused(
                prep, f"state `{name}` is no number, text or array of them", "keep plain numbers and arrays in `state`"
            )
    return stored


def _plain(array: Any) -> Any:
    """Arrays stay arrays; single values become Python's, which every framework takes without changing a dtype."""
    array = _float32(array)
    return array.item() if array.ndim == 0 and array.dtype.kind in "biufU" else array


def _float32(array: Any) -> Any:
    return array.astype("float32") if array.dtype == np.float64 else array


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _refused(prep: Any, what: str, hint: str) -> Report:
    return Report(Diagnostic("AIF822", f"preprocessing `{type(prep).__name__}`: {what}", hint=hint))
