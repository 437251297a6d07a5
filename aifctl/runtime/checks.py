"""A dataset's declared checks: row counts, empty values, repeated values, ranges. Findings name the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from aifctl.contract import DataChecks
from aifctl.diagnostics import Diagnostic
from aifctl.runtime.data import plain
from aifctl.runtime.splits import row_list

if TYPE_CHECKING:
    import pandas as pd


def check_rows(table: pd.DataFrame, checks: DataChecks, dataset: str) -> Iterator[Diagnostic]:
    if checks.min_rows is not None and len(table) < checks.min_rows:
        yield _finding(dataset, f"has {len(table)} rows, at least {checks.min_rows} were asked for")
    if checks.max_rows is not None and len(table) > checks.max_rows:
        yield _finding(dataset, f"has {len(table)} rows, at most {checks.max_rows} were asked for")
    for column in checks.no_nulls:
        empty = np.flatnonzero(table[column].isna().to_numpy())
        if len(empty):
            yield _finding(dataset, f"has no value in column `{column}` in {row_list(empty)}")
    for column in checks.unique:
        again = np.flatnonzero((table[column].duplicated() & table[column].notna()).to_numpy())
        if len(again):
            value = plain(table[column].iloc[again[0]])
            yield _finding(
                dataset, f"repeats a value of column `{column}` in {row_list(again)} ({value!r} is the first)"
            )
    for column, (least, greatest) in checks.ranges.items():
        yield from _check_range(table[column], (least, greatest), dataset)


def _check_range(column: pd.Series, limits: tuple[float | None, float | None], dataset: str) -> Iterator[Diagnostic]:
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    text = np.flatnonzero(np.isnan(values) & column.notna().to_numpy())
    if len(text):
        yield _finding(dataset, f"has no number in column `{column.name}` in {row_list(text)}")
    least, greatest = limits
    for bound, bad, word in (
        (least, values < (-np.inf if least is None else least), "less than"),
        (greatest, values > (np.inf if greatest is None else greatest), "more than"),
    ):
        where = np.flatnonzero(bad)
        if len(where):
            first = f"{values[where[0]]:g} is the first"
            yield _finding(dataset, f"has {word} {bound:g} in column `{column.name}` in {row_list(where)} ({first})")


def _finding(dataset: str, problem: str) -> Diagnostic:
    return Diagnostic("AIF815", f"dataset `{dataset}` {problem}", "mend the data, or change the dataset's `checks`")
