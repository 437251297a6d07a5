"""`/predict` and `/batch_predict`: raw rows in, as the training table had them; label, confidence and outputs out."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from aifctl.runtime.server.errors import MALFORMED, SIGNATURE, TOO_LARGE, RequestError, brief
from aifctl.runtime.server.model import Model, describe
from aifctl.runtime.server.tensors import check_text, to_json
from aifctl.runtime.signature import Arrays

Row = dict[str, Any]
_LARGEST = 2**1023
"""Integers beyond are no doubles; Python would raise where they are converted."""


def decode(model: Model, value: object, max_batch: int) -> list[Row]:
    """A JSON list of rows, or {"rows": [...]}. Raises RequestError 400 or 413."""
    rows = value.get("rows") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise RequestError(MALFORMED, 'the body is neither a list of rows nor {"rows": [...]}')
    if not rows:
        raise RequestError(MALFORMED, "there are no rows")
    if len(rows) > max_batch:
        raise RequestError(TOO_LARGE, f"{len(rows)} rows, the server takes {max_batch} at once")
    return [decode_row(model, row, f"row {number}: ") for number, row in enumerate(rows, 1)]


def decode_row(model: Model, row: object, where: str = "") -> Row:
    """The model's columns of one JSON object; what else it has (an id, the label) is left out. RequestError 400."""
    if not isinstance(row, dict):
        raise RequestError(MALFORMED, f"{where}not an object of column to value")
    missing = [column for column in model.columns if column not in row]
    if missing:
        raise RequestError(SIGNATURE, where + _missing(missing, row))
    for column in model.columns:
        _check(f"{where}column `{column}`", row[column])
    return {column: row[column] for column in model.columns}


def columns(model: Model, rows: list[Row]) -> dict[str, Any]:
    """Rows by column, numbers as arrays: what takes a third of the time to encode that lists of objects take."""
    return {name: _compact([row[name] for row in rows]) for name in model.columns}


def encode(model: Model, outputs: Arrays) -> list[dict[str, Any]]:
    """One {label, confidence, outputs} a row (value in place of both for a regression)."""
    descriptions = describe(model, outputs)
    return [
        {**description, "outputs": {name: _plain(array, index) for name, array in outputs.items()}}
        for index, description in enumerate(descriptions)
    ]


def _plain(array: Any, index: int) -> Any:
    """One row of an output, nested as it is; NaN and infinities are null."""
    part = array[index : index + 1]
    values = to_json(part)
    if array.ndim == 1:
        return values[0]
    for size in reversed(array.shape[2:]):
        values = [values[start : start + size] for start in range(0, len(values), size)] if size else []
    return values


def _compact(values: list[Any]) -> Any:
    """Booleans, text, empty values and integers of more than 64 bits stay as they are: encoding tells them apart."""
    if not all(type(value) in (int, float) for value in values):
        return values
    array: np.ndarray[Any, np.dtype[Any]] = np.array(values)
    return array if array.dtype.kind in "if" else values


def _check(where: str, value: object) -> None:
    if isinstance(value, str):
        check_text(where, value)
    elif isinstance(value, list | dict):
        raise RequestError(SIGNATURE, f"{where} is {brief(value)}, not a single value")
    elif isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        raise RequestError(SIGNATURE, f"{where} is out of range")


def _missing(missing: list[str], row: Row) -> str:
    shown = ", ".join(f"`{column}`" for column in missing[:5]) + (" …" if len(missing) > 5 else "")
    near = difflib.get_close_matches(missing[0], [name[:80] for name in list(row)[:200]], n=1)
    guess = f"; did you mean `{missing[0]}` by {brief(near[0])}?" if near else ""
    return f"missing column{'s' if len(missing) > 1 else ''} {shown}{guess}"
