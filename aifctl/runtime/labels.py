"""What a label column holds: its classes in the order of their codes, or numbers. Held against what is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aifctl.contract import Label
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.data import LabelSchema, RowError, encode_label, plain
from aifctl.runtime.splits import row_list

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 10_000
"""More distinct labels than this are taken for a wrong column."""


def learn_label(column: pd.Series, label: Label, task: str) -> LabelSchema:
    """The label with its classes learned. Raises Report (AIF816) for values that do not fit, with their rows."""
    empty = np.flatnonzero(column.isna().to_numpy())
    if len(empty):
        hint = "leave rows without a label out of the dataset"
        raise _bad_label(f"label `{column.name}` has no value in {row_list(empty)}", hint)
    schema = _classes(column, label) if _is_classes(column, label, task) else LabelSchema(column=str(column.name))
    try:
        encode_label(column.to_numpy(), schema)
    except RowError as error:
        hint = "a regression's label is a number; declare `classes` for a classification"
        rows = row_list(list(error.rows), error.count)
        raise _bad_label(f"label `{error.column}` {error.problem} in {rows}", hint) from error
    return schema


def _is_classes(column: pd.Series, label: Label, task: str) -> bool:
    if label.classes is not None or label.names is not None or "classification" in task:
        return True
    return task != "regression" and column.dtype.kind not in "iuf"


def _classes(column: pd.Series, label: Label) -> LabelSchema:
    found = list({plain(value) for value in column.unique()})
    texts = any(isinstance(value, str) for value in found)
    values = _text_values(column, found, label) if texts else _number_values(column, found, label)
    names = label.names or tuple(str(value) for value in values)
    if len(names) != len(values):
        raise _bad_label(
            f"label `{column.name}` has {len(values)} classes, `names` names {len(names)}", "name each class"
        )
    return LabelSchema(column=str(column.name), classes=len(values), values=tuple(values), names=tuple(names))


def _text_values(column: pd.Series, found: list[Any], label: Label) -> list[Any]:
    """Declared names are the values, in their order; else the values found, sorted as text."""
    if label.names is None:
        return _as_declared(column, sorted(found, key=str), label)
    unknown = np.flatnonzero(~column.isin(list(label.names)).to_numpy())
    if len(unknown):
        value = column.iloc[unknown[0]]
        message = f"label `{column.name}` has {value!r} in {row_list(unknown)}, which `names` does not name"
        raise _bad_label(message, f"declared are {_some(list(label.names))}")
    return list(label.names)


def _number_values(column: pd.Series, found: list[Any], label: Label) -> list[Any]:
    """Codes 0…classes-1 where the label holds nothing else (a class may be absent); else the values found, sorted."""
    broken = [value for value in found if isinstance(value, float)]
    if broken:
        rows = np.flatnonzero((column == broken[0]).to_numpy())
        hint = "a class is a whole number or a text; `task: regression` learns numbers"
        raise _bad_label(f"label `{column.name}` has {broken[0]:g} in {row_list(rows)}", hint)
    declared = label.classes or (len(label.names) if label.names is not None else None)
    if declared is not None and all(0 <= value < declared for value in found):
        return list(range(declared))
    return _as_declared(column, sorted(found), label)


def _as_declared(column: pd.Series, values: list[Any], label: Label) -> list[Any]:
    declared = label.classes
    if declared is not None and len(values) != declared:
        found = f"{len(values)} distinct values ({_some(values)})"
        message = f"label `{column.name}` has {found}, {declared} classes are declared"
        codes = column.map(plain)
        odd = [v for v in values if not isinstance(v, str) and not 0 <= v < declared]
        rows = np.flatnonzero((codes == odd[0]).to_numpy()) if odd else np.array([], dtype=np.int64)
        notes = (f"{odd[0]!r} is in {row_list(rows)}",) if len(rows) else ()
        raise _bad_label(message, "correct `classes`, or the rows", notes)
    if not 2 <= len(values) <= MAX_CLASSES:
        message = f"label `{column.name}` has {len(values)} distinct value{'s' * (len(values) != 1)}"
        raise _bad_label(message, f"a classification tells 2 to {MAX_CLASSES} classes apart")
    return values


def _bad_label(message: str, hint: str | None = None, notes: tuple[str, ...] = ()) -> Report:
    return Report(Diagnostic("AIF816", message, hint, notes=notes))


def _some(items: list[Any], limit: int = 8) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more
