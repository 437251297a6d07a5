"""Raw rows to arrays, the same with pandas and without; batches and permutations that never change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aifctl.contract import Feature
from aifctl.diagnostics import Report
from aifctl.runtime import table as tables
from aifctl.runtime.data import (
    LabelSchema,
    Prepared,
    RowError,
    encode,
    encode_label,
    features_of,
    random_keys,
    shuffled,
    signature_inputs,
)


def _number(dtype: str = "float32", **changes: Any) -> Feature:
    return Feature(**{"name": "x", "type": "number", "columns": ("x",), "dtype": dtype, **changes})


def test_a_tensor_takes_its_columns_in_order() -> None:
    feature = Feature(name="t", type="tensor", columns=("b", "a", "c", "d"), shape=(2, 2), dtype="float32")
    rows = {"a": [1, 2], "b": [10, 20], "c": [3.5, 4.5], "d": [0, 0]}
    expected = np.array([[[10, 1], [3.5, 0]], [[20, 2], [4.5, 0]]], dtype=np.float32)
    for source in (rows, pd.DataFrame(rows)):
        encoded = encode(source, (feature,))["t"]
        assert encoded.dtype == np.float32
        np.testing.assert_array_equal(encoded, expected)


def test_empty_values_are_nan_in_floats_and_refused_in_integers() -> None:
    rows = {"x": [1, None, 3]}
    for source in (rows, pd.DataFrame(rows), {"x": [1.0, float("nan"), 3.0]}):
        np.testing.assert_array_equal(encode(source, (_number(),))["x"], np.array([1, np.nan, 3], np.float32))
        with pytest.raises(RowError, match="has an empty value, and int64 can't hold one") as caught:
            encode(source, (_number("int64"),))
        assert caught.value.rows == (1,)


@pytest.mark.parametrize(
    ("dtype", "value", "problem"),
    [
        ("float32", "7", "has '7', which is no number"),
        ("float32", "abc", "has 'abc', which is no number"),
        ("float32", [1], "which is no number"),
        ("float32", 1e39, "too large for float32"),
        ("float64", float("inf"), "infinite"),
        ("int8", 128, "no int8"),
        ("uint8", -1, "no uint8"),
        ("int64", 1.5, "no int64"),
        ("bool", 2, "neither 0 nor 1"),
    ],
)
def test_what_is_no_number_of_the_type_is_refused(dtype: str, value: Any, problem: str) -> None:
    with pytest.raises(RowError, match=problem) as caught:
        encode({"x": [1, 0, value]}, (_number(dtype),))
    assert (caught.value.column, caught.value.rows, caught.value.count) == ("x", (2,), 1)


def test_a_missing_column_and_uneven_columns_are_refused() -> None:
    with pytest.raises(RowError, match="column `x` is missing"):
        encode({"y": [1]}, (_number(),))
    two = Feature(name="t", type="tensor", columns=("x", "y"))
    with pytest.raises(RowError, match="column `y` has 1 values, `x` has 2"):
        encode({"x": [1, 2], "y": [1]}, (two,))


def test_categories_are_positions_among_their_values() -> None:
    feature = Feature(name="c", type="category", columns=("c",), values=("red", "green", 3), dtype="int64")
    for source in ({"c": ["green", 3, "red", 3.0]}, pd.DataFrame({"c": ["green", 3, "red", 3.0]})):
        assert encode(source, (feature,))["c"].tolist() == [1, 2, 0, 2]
    with pytest.raises(RowError, match="has the unknown value 'blue'; known are red, green, 3") as caught:
        encode({"c": ["red", "blue", "3", "blue"]}, (feature,))
    assert (caught.value.rows, caught.value.count) == ((1, 2, 3), 3)
    with pytest.raises(RowError, match="has an empty value"):
        encode({"c": ["red", None]}, (feature,))


def test_texts_stay_texts() -> None:
    feature = Feature(name="t", type="text", columns=("t",), dtype="string")
    for source in ({"t": ["ä", ""]}, pd.DataFrame({"t": ["ä", ""]})):
        assert encode(source, (feature,))["t"].tolist() == ["ä", ""]
    with pytest.raises(RowError, match="no text"):
        encode({"t": ["a", 1]}, (feature,))


def test_labels_are_codes_or_numbers() -> None:
    species = LabelSchema(column="s", classes=2, values=("setosa", "virginica"), names=("setosa", "virginica"))
    codes = encode_label(np.array(["virginica", "setosa"], dtype=object), species)
    assert (codes.tolist(), codes.dtype) == ([1, 0], np.int64)
    numbers = encode_label([1.5, 2], LabelSchema(column="y"))
    assert (numbers.tolist(), numbers.dtype) == ([1.5, 2.0], np.float32)
    with pytest.raises(RowError, match="has an empty value"):
        encode_label([1.5, None], LabelSchema(column="y"))


def test_encoding_needs_no_pandas() -> None:
    """The server's image has none."""
    script = (
        "import sys; sys.modules['pandas'] = None; sys.modules['pyarrow'] = None; sys.modules['sklearn'] = None\n"
        "from aifctl.contract import Feature; from aifctl.runtime.data import encode\n"
        "f = Feature(name='x', type='tensor', columns=('a', 'b')); print(encode({'a': [1], 'b': [None]}, (f,))['x'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[[ 1. nan]]"


def test_permutations_are_frozen() -> None:
    """These numbers may never change: they decide which rows train, on every machine and version of NumPy."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # splitmix64 from state 0
    assert [int(key) for key in random_keys(3, 0)] == published
    assert shuffled(10, 7).tolist() == [9, 1, 3, 8, 5, 0, 6, 2, 7, 4]
    assert shuffled(10, 7, 1).tolist() == [0, 3, 9, 8, 2, 6, 5, 7, 4, 1]
    for seed in (0, 1, -1, 2**64 - 1):
        assert sorted(shuffled(1000, seed).tolist()) == list(range(1000))


def test_splits_and_batches_of_the_prepared_digits(bench: Any) -> None:
    prepared = Prepared.open(bench.prepare())
    train = prepared.split("train")
    assert (len(train), train.features["pixels"].shape, train.features["pixels"].dtype) == (
        1437,
        (1437, 8, 8),
        np.float32,
    )
    assert train.label is not None
    raw = pd.read_csv(bench.data / "digits.csv")
    row = raw.iloc[int(train.numbers[5]) - 1]
    np.testing.assert_array_equal(train.features["pixels"][5].ravel(), row.to_numpy()[:64].astype(np.float32))
    assert train.label[5] == row["digit"]

    batches = list(train.batches(100, seed=3))
    assert [len(batch) for batch in batches] == [100] * 14 + [37]
    seen = np.concatenate([batch.numbers for batch in batches])
    assert sorted(seen.tolist()) == sorted(train.numbers.tolist())
    np.testing.assert_array_equal(
        batches[3].features["pixels"], encode(batches[3].rows, prepared.schema.features)["pixels"]
    )
    again = np.concatenate([batch.numbers for batch in train.batches(100, seed=3)])
    other = np.concatenate([batch.numbers for batch in train.batches(100, seed=3, epoch=1)])
    assert seen.tolist() == again.tolist() != other.tolist()
    assert np.concatenate([batch.numbers for batch in train.batches(100)]).tolist() == train.numbers.tolist()

    assert prepared.labels == [str(n) for n in range(10)]
    [described] = prepared.signature_inputs()
    assert (described["name"], described["dtype"], described["shape"]) == ("pixels", "float32", [8, 8])
    assert features_of([described]) == prepared.schema.features
    with pytest.raises(Report, match="AIF817: the dataset has no split `tset`"):
        prepared.split("tset")


def test_a_signature_can_be_read_back() -> None:
    features = (
        Feature(name="c", type="category", columns=("c",), values=("a", 1), dtype="int64"),
        Feature(name="t", type="tensor", columns=("x", "y"), shape=(2,)),
    )
    assert features_of(signature_inputs(features)) == features


def test_one_table_in_three_formats_has_one_fingerprint(tmp_path: Path, digits_csv: Path) -> None:
    table = tables.read(digits_csv, "csv")
    table.to_parquet(tmp_path / "d.parquet")
    table.to_json(tmp_path / "d.jsonl", orient="records", lines=True)
    np.savez(tmp_path / "d.npz", **{name: table[name].to_numpy() for name in table.columns})
    prints = {tables.fingerprint(tables.read(tmp_path / f"d.{form}", form)) for form in ("parquet", "jsonl", "npz")}
    assert prints == {tables.fingerprint(table)}
    table.loc[0, "p3"] += 1
    assert tables.fingerprint(table) not in prints


def test_arrays_of_more_dimensions_become_numbered_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", p=np.arange(12).reshape(3, 2, 2), digit=np.array([1, 2, 3]))
    table = tables.read(tmp_path / "d.npz", "npz")
    assert list(table.columns) == ["p0", "p1", "p2", "p3", "digit"]
    assert table.iloc[2].tolist() == [8, 9, 10, 11, 3]


def test_csv_means_what_it_says(tmp_path: Path) -> None:
    """NA is a country, a byte order mark is no letter, and 0.1 is the nearest double."""
    (tmp_path / "d.csv").write_bytes("\ufeffcountry,x\nNA,0.1\n,1e-3\nDE,\n".encode())
    table = tables.read(tmp_path / "d.csv", "csv")
    assert list(table.columns) == ["country", "x"]
    assert table["country"].isna().tolist() == [False, True, False]
    assert table["country"][0] == "NA"
    assert table["x"].tolist()[:2] == [0.1, 0.001]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.csv", b"", "`d.csv` is empty"),
        ("d.csv", b"a,b\n", "`d.csv` has no rows"),
        ("d.csv", b"\n\n", "`d.csv` has no header"),
        ("d.csv", b"a,a\n1,2\n", "`d.csv` has the column `a` twice"),
        ("d.csv", b"a,b\n1,2\n3,4,5\n", "`d.csv` is no csv: Expected 2 fields in line 3, saw 3"),
        ("d.csv", b"a,b\n1,2,3\n3,4,5\n", "`d.csv` has rows with more fields than the header"),
        ("d.csv", b"a,b\n1,2\n\xe4,2\n", "`d.csv` is not UTF-8: byte 0xe4 in line 3"),
        ("d.csv", b'a,b\n1,"2\n', "`d.csv` is no csv: EOF inside string starting at row 1"),
        ("d.parquet", b"PAR1 nonsense", "`d.parquet` is no parquet file"),
        ("d.jsonl", b'{"a": 1}\n{"a": \n', "`d.jsonl` has no JSON in line 2"),
        ("d.jsonl", b'{"a": 1}\n[1]\n', "`d.jsonl` has list in line 2, no object"),
        ("d.jsonl", b'{"a": "\xe4"}\n', "`d.jsonl` is not UTF-8: byte 0xe4 in line 1"),
        ("d.jsonl", b"[" * 100_000, "`d.jsonl` has no JSON in line 1"),
        ("d.jsonl", b"\n", "`d.jsonl` has no rows"),
        ("d.npz", b"PK nonsense", "`d.npz` is no npz file of plain arrays"),
        ("d.tfrecord", b"x", "`d.tfrecord` is of format `tfrecord`, which this version does not read"),
    ],
)
def test_what_is_no_table_is_a_finding(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Report) as caught:
        tables.read(tmp_path / name, name.partition(".")[2])
    [finding] = caught.value.diagnostics
    assert finding.code == "AIF812"
    assert finding.message.startswith(message)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(Report, match="no npz file of plain arrays"):
        tables.read(tmp_path / "d.npz", "npz")


def test_uneven_arrays_are_a_finding(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros(3), y=np.zeros(4))
    with pytest.raises(Report, match="differ in rows: x has 3, y has 4"):
        tables.read(tmp_path / "d.npz", "npz")
