"""Files to tables: csv, parquet, jsonl and npz, and what user code returns. What can't be read is a Report (AIF812)."""

from __future__ import annotations

import csv
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.data import Array

if TYPE_CHECKING:
    import pandas as pd

EMPTY = ("", "NaN", "nan", "null", "NULL")
"""What stands for "no value" in a csv file. `NA` is not among them: it is Namibia, too."""


def read(path: Path, file_format: str) -> pd.DataFrame:
    """A file's rows, index 0…n-1, columns named by text. Raises Report: AIF812."""
    reader = _READERS.get(file_format)
    if reader is None:
        known = ", ".join(_READERS)
        _fail(path, f"is of format `{file_format}`, which this version does not read", f"it reads {known}")
    if path.stat().st_size == 0:
        _fail(path, "is empty", "write a file with a header and rows")
    try:
        table = reader(path)
    except UnicodeDecodeError as error:
        _fail(path, f"is not UTF-8: {_bad_byte(path, error)}", "save it as UTF-8")
    return _checked(table, f"`{path.name}`")


def from_value(value: Any, name: str) -> pd.DataFrame:
    """What a user's function returned: a DataFrame, or arrays by column. Raises Report: AIF812."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return _checked(value.reset_index(drop=True), f"what `{name}` returned")
    if isinstance(value, Mapping):
        return _checked(
            _columns({str(k): np.asarray(v) for k, v in value.items()}, f"`{name}`"), f"what `{name}` returned"
        )
    message = f"`{name}` returned {type(value).__name__}, no table"
    raise Report(Diagnostic("AIF812", message, "return a DataFrame, or a dict of arrays by column"))


def fingerprint(table: pd.DataFrame) -> str:
    """sha256 of names, types and values, in row order; whether read from csv or parquet does not matter."""
    digest = hashlib.sha256()
    for name in table.columns:
        kind, data = _content(table[name].to_numpy())
        digest.update(json.dumps([name, kind, len(table), len(data)]).encode())
        digest.update(data)
    return digest.hexdigest()


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        _fail(path, f"has the column `{twice[0]}` twice", "give every column its own name")
    # pandas 4 reads floats exactly without being told, and knows the argument no more.
    exact: dict[str, Any] = {"float_precision": "round_trip"} if int(pd.__version__.partition(".")[0]) < 4 else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # index_col=False: else a row with one field too many makes pandas take the first column for an index.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                encoding="utf-8-sig",
                keep_default_na=False,
                na_values=list(EMPTY),
                index_col=False,
                low_memory=False,
                **exact,
            )
    except pd.errors.ParserWarning:
        _fail(path, "has rows with more fields than the header", "quote fields that hold commas")
    except pd.errors.EmptyDataError:
        _fail(path, "has no header", "write the columns' names into the first line")
    except pd.errors.ParserError as error:
        _fail(path, f"is no csv: {str(error).rpartition('error: ')[2].strip()}", "quote fields that hold commas")


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        _fail(path, f"is no parquet file: {str(error).splitlines()[0]}")


def _read_jsonl(path: Path) -> pd.DataFrame:
    import pandas as pd

    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                if isinstance(error, UnicodeDecodeError):
                    raise
                _fail(path, f"has no JSON in line {number}: {error}", "write one object a line")
            if not isinstance(row, dict):
                _fail(path, f"has {type(row).__name__} in line {number}, no object", "write one object a line")
            rows.append(row)
    return pd.DataFrame.from_records(rows)


def _read_npz(path: Path) -> pd.DataFrame:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _columns({name: arrays[name] for name in arrays.files}, f"`{path.name}`")
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        _fail(path, f"is no npz file of plain arrays: {str(error).splitlines()[0]}", "write it with numpy.savez")


_READERS: dict[str, Callable[[Path], Any]] = {
    "csv": _read_csv,
    "parquet": _read_parquet,
    "jsonl": _read_jsonl,
    "npz": _read_npz,
}


def _columns(arrays: Mapping[str, Array], name: str) -> pd.DataFrame:
    """A column an array; an array of shape (n, …) becomes `x0`, `x1` …, as `columns: x0..x63` names them."""
    import pandas as pd

    lengths = {key: array.shape[0] if array.ndim else -1 for key, array in arrays.items()}
    if len(set(lengths.values())) > 1 or -1 in lengths.values():
        found = ", ".join(f"{key} has {'no' if n < 0 else n}" for key, n in lengths.items())
        raise Report(Diagnostic("AIF812", f"the arrays of {name} differ in rows: {found}"))
    columns: dict[str, Array] = {}
    for key, array in arrays.items():
        flat = array.reshape(len(array), int(np.prod(array.shape[1:])))
        columns |= {key: array} if array.ndim == 1 else {f"{key}{i}": flat[:, i] for i in range(flat.shape[1])}
    return pd.DataFrame(columns)


def _checked(table: pd.DataFrame, what: str) -> pd.DataFrame:
    table.columns = [str(name) for name in table.columns]
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise Report(Diagnostic("AIF812", f"{what} has the column `{twice[0]}` twice"))
    if not len(table):
        raise Report(Diagnostic("AIF812", f"{what} has no rows"))
    return table


def _content(array: Array) -> tuple[str, bytes]:
    if array.dtype.kind == "b":
        return "i", array.astype("<i8").tobytes()
    if array.dtype.kind in "iu":
        return "i", array.astype("<i8" if array.dtype.kind == "i" else "<u8").tobytes()
    if array.dtype.kind == "f":
        values: Array = array.astype("<f8")
        values[np.isnan(values)] = np.nan
        return "f", values.tobytes()
    return "o", json.dumps([None if value != value else value for value in array], default=str).encode()


def _bad_byte(path: Path, error: UnicodeDecodeError) -> str:
    """Where the first byte lies that is no UTF-8; the decoder's own offset counts from its buffer."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as found:
            return f"byte 0x{line[found.start]:02x} in line {number}"
    return error.reason


def _fail(path: Path, problem: str, hint: str | None = None) -> NoReturn:
    raise Report(Diagnostic("AIF812", f"`{path.name}` {problem}", hint))
