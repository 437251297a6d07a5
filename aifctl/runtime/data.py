"""A prepared dataset as steps use it, and the one function that turns raw rows into a model's inputs.

`encode` is used by prepare, verify and the server alike, so what is served is what was tested. It needs NumPy only;
pandas and pyarrow are imported where tables are read. Row numbers count from 1, as people count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from aifctl.contract import Feature
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.store import Published

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]
SCHEMA = 1
"""Version of schema.json."""
SPLITS = ("train", "validation", "test")
SHOWN = 5
"""Row numbers shown in a message."""


class RowError(ValueError):
    """Rows that are no input of the model. `column` is at fault, `rows` the first positions (from 0), `count` all."""

    def __init__(self, column: str, problem: str, rows: Sequence[int] = ()) -> None:
        super().__init__(f"column `{column}` {problem}")
        self.column, self.problem, self.count = column, problem, len(rows)
        self.rows = tuple(int(row) for row in rows[:SHOWN])


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSchema:
    """`values` are the raw values by class code, `names` what people see; both None where the label is a number."""

    column: str
    classes: int | None = None
    values: tuple[str | int | bool, ...] | None = None
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """schema.json: what `encode` needs, with everything learned from the data filled in."""

    task: str
    features: tuple[Feature, ...]
    label: LabelSchema | None
    rows: int
    splits: Mapping[str, int]
    fingerprint: str
    """sha256 of the table's content (`table.fingerprint`), the same whatever the file format."""
    nulls: Mapping[str, int] = field(default_factory=dict)
    """Column → empty values; columns without any are left out."""
    schema: int = SCHEMA

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Schema:
        return pydantic.TypeAdapter(Schema).validate_json(text)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Some rows of a prepared dataset. Arrays are encoded when first asked for."""

    name: str
    schema: Schema
    rows: pd.DataFrame
    """Raw rows with their original columns, index 0…n-1."""
    numbers: Array
    """Row numbers in the dataset as it was read, from 1, shape (n,)."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def features(self) -> dict[str, Array]:
        """Name → array of shape (n, *shape)."""
        return encode(self.rows, self.schema.features)

    @cached_property
    def label(self) -> Array | None:
        """int64 class codes or float32 values, shape (n,); None where the dataset has no label."""
        label = self.schema.label
        return None if label is None else encode_label(self.rows[label.column].to_numpy(), label)

    def take(self, positions: Array) -> Split:
        """The rows at these positions, in this order; what is encoded already is not encoded again."""
        part = Split(
            name=self.name,
            schema=self.schema,
            rows=self.rows.iloc[positions].reset_index(drop=True),
            numbers=self.numbers[positions],
        )
        if "features" in self.__dict__:
            part.__dict__["features"] = {name: array[positions] for name, array in self.features.items()}
        if "label" in self.__dict__:
            part.__dict__["label"] = None if self.label is None else self.label[positions]
        return part

    def batches(self, size: int, seed: int | None = None, epoch: int = 0) -> Iterator[Split]:
        """Batches of at most `size` rows; shuffled by (seed, epoch), the same on every machine, or in order."""
        _ = self.features, self.label
        order = np.arange(len(self)) if seed is None else shuffled(len(self), seed, epoch)
        for start in range(0, len(self), size):
            yield self.take(order[start : start + size])


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A dataset that `prepare` published: table.parquet, split.npz, schema.json."""

    schema: Schema
    path: Path

    @staticmethod
    def open(published: Published) -> Prepared:
        """Raises Report where files are missing or damaged."""
        try:
            schema = Schema.from_json(published.file("schema.json").read_text(encoding="utf-8"))
        except pydantic.ValidationError as error:
            raise Report(Diagnostic("AIF803", f"schema.json of step {published.label} can't be read")) from error
        return Prepared(schema=schema, path=published.path)

    @cached_property
    def table(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.path / "table.parquet")

    @cached_property
    def indices(self) -> dict[str, Array]:
        with np.load(self.path / "split.npz", allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def split(self, name: str) -> Split:
        """Raises Report where the dataset has no such split."""
        if name not in self.schema.splits:
            known = ", ".join(self.schema.splits)
            raise Report(Diagnostic("AIF817", f"the dataset has no split `{name}`", f"it has {known}"))
        positions = self.indices[name]
        rows = self.table.iloc[positions].reset_index(drop=True)
        return Split(name=name, schema=self.schema, rows=rows, numbers=self.indices["__rows__"][positions])

    @property
    def labels(self) -> list[str] | None:
        """Names of the classes in the order of their codes; None for a number."""
        names = None if self.schema.label is None else self.schema.label.names
        return None if names is None else list(names)

    def signature_inputs(self) -> list[dict[str, Any]]:
        return signature_inputs(self.schema.features)


def signature_inputs(features: Sequence[Feature]) -> list[dict[str, Any]]:
    """One {name, dtype, shape, type, columns, values} a feature; `shape` without the batch dimension."""
    return [
        {
            "name": f.name,
            "dtype": f.dtype,
            "shape": list(f.shape),
            "type": f.type,
            "columns": list(f.columns),
            "values": None if f.values is None else list(f.values),
        }
        for f in features
    ]


def features_of(inputs: Sequence[Mapping[str, Any]]) -> tuple[Feature, ...]:
    """Reads `signature_inputs` back. Raises pydantic.ValidationError."""
    adapter = pydantic.TypeAdapter(Feature)
    return tuple(adapter.validate_python(dict(item)) for item in inputs)


def encode(rows: Mapping[str, Any], features: Sequence[Feature]) -> dict[str, Array]:
    """Raw rows, as a DataFrame or {column: sequence}, to {feature: array of shape (n, *shape)}.

    Empty values become NaN in float features and are refused elsewhere. Raises RowError.
    """
    return {feature.name: _ENCODERS[feature.type](rows, feature) for feature in features}


def encode_label(values: Any, label: LabelSchema) -> Array:
    """Class codes (int64) or numbers (float32), shape (n,). Raises RowError."""
    if label.values is not None:
        return _codes(values, label.column, label.values)
    numbers = _numbers(values, label.column, "float32")
    _refuse(label.column, "has an empty value", np.isnan(numbers))
    return numbers


def shuffled(count: int, seed: int, epoch: int = 0) -> Array:
    """A permutation of 0…count-1 by (seed, epoch): own arithmetic, as NumPy's streams may change with its version."""
    return np.argsort(random_keys(count, seed, epoch), kind="stable")


def random_keys(count: int, seed: int, epoch: int = 0) -> Array:
    """uint64 by position, from splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators)."""
    start = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)) ^ np.uint64(epoch)
    steps: Array = np.arange(1, count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        return _mix(_mix(start) + steps * np.uint64(0x9E3779B97F4A7C15))


def _mix(z: Array) -> Array:
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _column(rows: Mapping[str, Any], name: str) -> Any:
    try:
        return rows[name]
    except KeyError:
        raise RowError(name, "is missing") from None


def _tensor(rows: Mapping[str, Any], feature: Feature) -> Array:
    columns = [_numbers(_column(rows, name), name, feature.dtype) for name in feature.columns]
    lengths = {name: len(column) for name, column in zip(feature.columns, columns, strict=True)}
    for name, length in lengths.items():
        if length != len(columns[0]):
            raise RowError(name, f"has {length} values, `{feature.columns[0]}` has {len(columns[0])}")
    shape = feature.shape if feature.shape or len(columns) == 1 else (len(columns),)
    return np.stack(columns, axis=1).reshape(len(columns[0]), *shape)


def _numbers(values: Any, name: str, dtype: str) -> Array:
    """Values as numbers of a dtype that can hold them exactly (floats are rounded). Text is no number, even "1"."""
    array: Array = _as_array(values)
    if array.dtype.kind not in "biuf":
        array = _object_numbers(array, name)
    target = np.dtype(dtype)
    if target.kind == "f":
        with np.errstate(over="ignore"):
            result: Array = array.astype(target)
        _refuse(name, f"has an infinite value, or one too large for {dtype}", np.isinf(result))
        return result
    _refuse(
        name,
        f"has an empty value, and {dtype} can't hold one",
        np.isnan(array) if array.dtype.kind == "f" else np.zeros(len(array), bool),
    )
    if target.kind in "iu":
        limits = np.iinfo(target)
        _refuse(name, f"has a value that is no {dtype}", (array < limits.min) | (array > limits.max) | (array % 1 != 0))
    if target.kind == "b":
        _refuse(name, "has a value that is neither 0 nor 1", ~np.isin(array, (0, 1)))
    return array.astype(target)


def _object_numbers(array: Array, name: str) -> Array:
    empty = _empty(array)
    wrong = np.array(
        [not e and not isinstance(v, int | float | np.number | np.bool_) for v, e in zip(array, empty, strict=True)],
        dtype=bool,
    )
    first = repr(array[int(np.argmax(wrong))]) if wrong.any() else ""
    _refuse(name, f"has {first[:40]}, which is no number", wrong)
    return np.array([np.nan if e else float(v) for v, e in zip(array, empty, strict=True)], dtype=np.float64)


def _category(rows: Mapping[str, Any], feature: Feature) -> Array:
    codes = _codes(_column(rows, feature.columns[0]), feature.columns[0], feature.values or ())
    return codes.astype(feature.dtype if "int" in feature.dtype else np.int64).reshape(-1, *feature.shape)


def _codes(values: Any, name: str, known: Sequence[str | int | bool]) -> Array:
    """Position of each value among `known`. 1.0, 1 and True are one value; "1" is another."""
    array: Array = _as_array(values).astype(object)
    _refuse(name, "has an empty value", _empty(array))
    table = {plain(value): code for code, value in enumerate(known)}
    codes = np.array([table.get(plain(value), -1) for value in array], dtype=np.int64)
    if (codes < 0).any():
        value = plain(array[int(np.argmax(codes < 0))])
        shown = ", ".join(map(str, known[:10])) + (" …" if len(known) > 10 else "")
        _refuse(name, f"has the unknown value {value!r}; known are {shown}", codes < 0)
    return codes


def plain(value: Any) -> str | int | float:
    """A category's value as Python has it: NumPy scalars unwrapped, whole floats and booleans as integers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return value if isinstance(value, str | int | float) else str(value)


def _text(rows: Mapping[str, Any], feature: Feature) -> Array:
    name = feature.columns[0]
    array: Array = _as_array(_column(rows, name)).astype(object)
    _refuse(name, "has an empty value", _empty(array))
    _refuse(name, "has a value that is no text", np.array([not isinstance(v, str) for v in array], dtype=bool))
    return array.reshape(-1, *feature.shape)


def _as_array(values: Any) -> Array:
    """One-dimensional array; [1, "a"] stays what it is, where np.asarray would make text of both."""
    if hasattr(values, "to_numpy"):
        array: Array = values.to_numpy()
    elif isinstance(values, np.ndarray):
        array = values
    else:
        sequence = list(values)
        array = np.empty(len(sequence), dtype=object)
        array[:] = sequence
    return array if array.dtype.kind in "biufO" else array.astype(object)


def _empty(array: Array) -> Array:
    """Which values are None, NaN, or pandas' NA and NaT (told by name: this must not need pandas)."""
    return np.array(
        [v is None or type(v).__name__ in ("NAType", "NaTType") or (isinstance(v, float) and v != v) for v in array],
        dtype=bool,
    )


def _refuse(name: str, problem: str, bad: Array) -> None:
    if bad.any():
        raise RowError(name, problem, list(np.flatnonzero(bad)))


_ENCODERS = {"tensor": _tensor, "number": _tensor, "category": _category, "text": _text}
ENCODABLE = tuple(_ENCODERS)
