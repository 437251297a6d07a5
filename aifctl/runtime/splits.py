"""Which rows train, validate and test: positions by split, the same on every machine, whatever NumPy's version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from aifctl.contract import Split as SplitConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.data import SHOWN, SPLITS, Array, random_keys

if TYPE_CHECKING:
    import pandas as pd

ALIASES = {"train": "train", "training": "train", "validation": "validation", "valid": "validation"} | {
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""What a split column may say."""
_SAMPLE = 1
"""Draws the sample's numbers from another stream than the split's, or the sample would be the training rows."""


def split(table: pd.DataFrame, config: SplitConfig) -> dict[str, Array]:
    """Split → positions (int64, ascending; in time order for `time`). Raises Report: AIF817."""
    if config.column is not None:
        return _by_column(table, config.column)
    shares = {name: config.fractions[name] for name in _ordered(config.fractions)}
    if abs(sum(shares.values()) - 1) > 1e-6 or any(share < 0 for share in shares.values()):
        raise Report(Diagnostic("AIF817", f"the shares of the splits add up to {sum(shares.values()):g}, not to 1"))
    counts = _counts(len(table), shares)
    if config.group is not None:
        parts = _by_group(table, config, shares)
    elif config.time is not None:
        parts = _cut(_time_order(table, config.time), counts)
    else:
        strata = None if config.stratify is None else table[config.stratify]
        parts = _cut(_drawn(len(table), config.seed, strata), counts)
        parts = {name: np.sort(positions) for name, positions in parts.items()}
    empty = [name for name, share in shares.items() if share > 0 and not len(parts[name])]
    if empty:
        message = f"the split `{empty[0]}` has no rows ({shares[empty[0]]:g} of {len(table)})"
        raise Report(Diagnostic("AIF817", message, "give it a greater share, or use more rows"))
    return parts


def sample(table: pd.DataFrame, count: int, config: SplitConfig) -> Array:
    """Positions of `count` rows in the table's order, drawn with the split's seed and stratified as it is."""
    strata = None if config.stratify is None else table[config.stratify]
    return np.sort(_drawn(len(table), config.seed, strata, _SAMPLE)[:count])


def _ordered(fractions: Mapping[str, float]) -> list[str]:
    """train, validation, test, then others: arguments come as canonical JSON, whose order is the alphabet's."""
    return [name for name in SPLITS if name in fractions] + sorted(set(fractions) - set(SPLITS))


def _counts(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole rows by share, by largest remainder (Hamilton's method); ties go to the earlier split."""
    exact = {name: total * share for name, share in shares.items()}
    counts = {name: int(value + 1e-9) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in order[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _cut(order: Array, counts: Mapping[str, int]) -> dict[str, Array]:
    ends = np.cumsum(list(counts.values()))
    return {name: part.astype(np.int64) for name, part in zip(counts, np.split(order, ends[:-1]), strict=True)}


def _drawn(count: int, seed: int, strata: pd.Series | None, stream: int = 0) -> Array:
    """A random order of the rows. With strata, every stretch of it holds each of them in its share.

    Each stratum's rows get the places (rank + 0.5) / size, so the total counts stay exact and each class's off by < 1.
    """
    keys = random_keys(count, seed, stream)
    if strata is None:
        return np.argsort(keys, kind="stable")
    codes = strata.factorize(use_na_sentinel=False)[0]
    order = np.lexsort((keys, codes))
    sizes = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    places = np.empty(count)
    places[order] = (np.arange(count) - starts[codes[order]] + 0.5) / sizes[codes[order]]
    return np.lexsort((keys, places))


def _by_group(table: pd.DataFrame, config: SplitConfig, shares: Mapping[str, float]) -> dict[str, Array]:
    """Groups in random order, each to the split that lacks most of its share."""
    codes = table[config.group].factorize(use_na_sentinel=False)[0]
    sizes = np.bincount(codes)
    lacks = {name: share * len(table) for name, share in shares.items()}
    target: Array = np.empty(len(sizes), dtype=object)
    for group in np.argsort(random_keys(len(sizes), config.seed), kind="stable"):
        name = max(lacks, key=lambda n: lacks[n])
        target[group] = name
        lacks[name] -= sizes[group]
    return {name: np.flatnonzero(target[codes] == name) for name in shares}


def _time_order(table: pd.DataFrame, column: str) -> Array:
    import pandas as pd

    values = table[column]
    if values.dtype.kind not in "iufM":
        values = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")
    bad = np.flatnonzero(values.isna().to_numpy())
    if len(bad):
        message = f"column `{column}` has no time in {row_list(table.index[bad].tolist())}"
        raise Report(Diagnostic("AIF817", message, "write numbers, or dates like 2026-01-31T12:00:00Z"))
    return np.argsort(values.to_numpy(), kind="stable")


def _by_column(table: pd.DataFrame, column: str) -> dict[str, Array]:
    said = table[column].map(lambda value: ALIASES.get(str(value).strip().lower()))
    bad = np.flatnonzero(said.isna().to_numpy())
    if len(bad):
        value = table[column].iloc[bad[0]]
        message = f"column `{column}` names no split in {row_list(table.index[bad].tolist())}: {value!r}"
        raise Report(Diagnostic("AIF817", message, "write train, validation or test"))
    parts = {name: np.flatnonzero((said == name).to_numpy()) for name in SPLITS}
    if not len(parts["train"]):
        raise Report(Diagnostic("AIF817", f"column `{column}` gives no row to `train`"))
    return parts


def row_list(positions: Array | list[int], count: int | None = None) -> str:
    """`row 3`, or `rows 3, 8, 9, 12, 20 and 7 more`; positions count from 0, rows from 1."""
    total = len(positions) if count is None else count
    shown = ", ".join(str(int(p) + 1) for p in positions[:SHOWN])
    more = f" and {total - SHOWN} more" if total > SHOWN else ""
    return f"row{'s' if total > 1 else ''} {shown}{more}"
