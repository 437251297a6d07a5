"""prepare on the real digits, on pins that moved, and on rows that are wrong in every way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aifctl import contract, digest
from aifctl.contract import DataChecks, Feature, Kind, Label, Source, Split
from aifctl.diagnostics import Report, Severity
from aifctl.runtime import entry
from aifctl.runtime.data import Prepared
from aifctl.runtime.store import Fault
from tests.runtime.bench import DIGITS

Write = Callable[[str, list[str]], str]
IRIS = ["length,species", "1.5,setosa", "4.5,virginica", "1.4,setosa", "4.4,virginica", "1.3,setosa", "4.3,virginica"]
LENGTH = Feature(name="length", type="number", columns=("length",))


def _small(file: str, **changes: Any) -> dict[str, Any]:
    """Changes of the digits' config that make it one of a small table."""
    base: dict[str, Any] = {
        "source": asdict(Source(kind="path", value=file)),
        "features": [asdict(LENGTH)],
        "label": asdict(Label(column="species")),
        "split": asdict(Split(fractions={"train": 0.5, "test": 0.5})),
        "checks": asdict(DataChecks()),
    }
    return {**base, **{k: v if isinstance(v, str | int | list | None) else asdict(v) for k, v in changes.items()}}


def _findings(work: Callable[[], object]) -> list[tuple[str, str, str | None]]:
    with pytest.raises(Report) as caught:
        work()
    return [(d.code, d.message, d.hint) for d in caught.value.diagnostics]


def test_prepares_the_digits(bench: Any) -> None:
    published = bench.prepare()
    assert sorted(published.files) == ["schema.json", "split.npz", "table.parquet"]
    assert published.outputs["rows"] == 1797
    assert published.outputs["splits"] == {"train": 1437, "validation": 180, "test": 180}
    assert published.outputs["source"] == bench.pin()
    prepared = Prepared.open(published)
    parts = [prepared.split(name) for name in ("train", "validation", "test")]
    numbers = np.concatenate([part.numbers for part in parts])
    assert sorted(numbers.tolist()) == list(range(1, 1798)), "each row is in one split"
    for part in parts:
        assert part.label is not None
        shares = np.bincount(part.label, minlength=10) / len(part)
        overall = np.bincount(pd.read_csv(bench.data / "digits.csv")["digit"]) / 1797
        assert np.abs(shares - overall).max() < 1.01 / len(part), "stratified"


def test_the_split_is_frozen(bench: Any) -> None:
    """A digest of which rows test, from seed 7: if it moves, every model would be measured on rows it trained on."""
    test = Prepared.open(bench.prepare()).split("test")
    assert digest.of_value(test.numbers.tolist()) == TEST_ROWS


TEST_ROWS = "56120f333cf21e4c5d13dfd629be33a659488f6a391b9838e696202dc199eb5a"


def test_the_same_data_elsewhere_is_the_same_result(bench: Any) -> None:
    first = bench.prepare()
    outputs, fingerprints = dict(first.outputs), first.files["split.npz"].sha256
    bench.site = replace(bench.site, store=str(bench.root / "other-store"))
    second = bench.prepare()
    assert (second.digest, dict(second.outputs)) == (first.digest, outputs)
    assert second.files["schema.json"] == first.files["schema.json"]
    np.testing.assert_array_equal(
        Prepared.open(second).split("train").numbers, Prepared.open(first).split("train").numbers
    )
    assert fingerprints


def test_another_seed_is_another_split(bench: Any) -> None:
    first, second = bench.prepare(), bench.prepare(split={**_digits_split(), "seed": 8})
    assert first.digest != second.digest
    a, b = (set(Prepared.open(p).split("test").numbers.tolist()) for p in (first, second))
    assert len(a & b) < 60


def _digits_split() -> dict[str, Any]:
    return asdict(Split(fractions={"train": 0.8, "validation": 0.1, "test": 0.1}, seed=7, stratify="digit"))


def test_a_sample_keeps_shares_and_row_numbers(bench: Any) -> None:
    prepared = Prepared.open(bench.prepare(sample=500))
    assert prepared.schema.rows == 500
    assert dict(prepared.schema.splits) == {"test": 50, "train": 400, "validation": 50}
    raw = pd.read_csv(bench.data / "digits.csv")
    train = prepared.split("train")
    pd.testing.assert_frame_equal(train.rows, raw.iloc[train.numbers - 1].reset_index(drop=True))
    assert train.label is not None
    assert np.bincount(train.label, minlength=10).min() >= 38
    assert prepared.labels is not None
    assert len(prepared.labels) == 10


def test_unpinned_data_gets_its_digest_when_it_is_read(bench: Any) -> None:
    pinned = bench.prepare()
    spec = bench.step(
        Kind.PREPARE, contract.json.loads(digest.canonical_json(dict(pinned.about["config"]))), {"data:digits": None}
    )
    assert spec.digest is None
    result = entry.execute(spec, bench.site)
    assert (result.digest, result.skipped) == (pinned.digest, True)
    with (bench.data / "digits.csv").open("a") as file:
        file.write(",".join(["0"] * 65) + "\n")
    grown = entry.execute(spec, bench.site)
    assert grown.digest != pinned.digest
    assert grown.outputs["rows"] == 1798


def test_data_that_is_not_what_was_pinned(bench: Any) -> None:
    pin = bench.pin()
    path = bench.data / "digits.csv"
    path.write_bytes(path.read_bytes().replace(b"\n0,", b"\n1,", 1))
    config = {**asdict(DIGITS)}
    [(code, message, hint)] = _findings(lambda: bench.run(bench.step(Kind.PREPARE, config, {"data:digits": pin})))
    assert code == "AIF811"
    assert message == f"`digits.csv` is not what was pinned: it has {bench.pin()[:17]}…, the pin is {pin[:17]}…"
    assert hint == "`aifctl lock --update` pins what is there now"


def test_pushed_data_is_found_in_the_store(bench: Any) -> None:
    pin = bench.pin()
    path = bench.data / "digits.csv"
    (bench.root / "store" / "data").mkdir()
    path.rename(bench.root / "store" / "data" / f"sha256-{pin.removeprefix('sha256:')}")
    published = bench.run(bench.step(Kind.PREPARE, asdict(DIGITS), {"data:digits": pin}))
    assert published.outputs["rows"] == 1797


def test_pushed_data_in_a_remote_store(bench: Any) -> None:
    import fsspec

    uri, pin = f"memory://pushed-{bench.root.name}", bench.pin()
    fsspec.filesystem("memory").pipe(
        f"/pushed-{bench.root.name}/data/sha256-{pin[7:]}", (bench.data / "digits.csv").read_bytes()
    )
    bench.site = replace(bench.site, store=uri, data=None)
    result = entry.execute(bench.step(Kind.PREPARE, asdict(DIGITS), {"data:digits": pin}), bench.site)
    assert result.outputs["rows"] == 1797
    assert entry.execute(bench.step(Kind.PREPARE, asdict(DIGITS), {"data:digits": pin}), bench.site).skipped


def test_data_by_url(bench: Any) -> None:
    import fsspec

    url = f"memory://bucket-{bench.root.name}/digits.csv"
    fsspec.filesystem("memory").pipe(url.removeprefix("memory:/"), (bench.data / "digits.csv").read_bytes())
    config = {**asdict(DIGITS), "source": asdict(Source(kind="uri", value=url))}
    for pin in (bench.pin(), "version:7"):
        assert bench.run(bench.step(Kind.PREPARE, config, {"data:digits": pin})).outputs["rows"] == 1797
    missing = {**config, "source": asdict(Source(kind="uri", value="memory://bucket/none.csv"))}
    [(code, message, _)] = _findings(lambda: bench.run(bench.step(Kind.PREPARE, missing, {"data:digits": bench.pin()})))
    assert (code, message.partition(":")[0]) == ("AIF810", "`memory")
    unknown = {**config, "source": asdict(Source(kind="uri", value="nosuch://bucket/none.csv"))}
    [(code, message, _)] = _findings(lambda: bench.run(bench.step(Kind.PREPARE, unknown, {"data:digits": bench.pin()})))
    assert code == "AIF810"


def test_a_url_that_can_not_be_reached_is_worth_a_retry(bench: Any) -> None:
    config = {**asdict(DIGITS), "source": asdict(Source(kind="uri", value="http://127.0.0.1:9/digits.csv"))}
    spec = bench.step(Kind.PREPARE, config, {"data:digits": bench.pin()})
    with pytest.raises(Fault, match="can't be reached"):
        bench.run(spec)
    assert bench.main(spec) == contract.EXIT_RETRY


def test_data_that_user_code_returns(bench: Any) -> None:
    bench.write_code(
        "load.py",
        "import pandas as pd\ndef load(n):\n    return {'x': list(range(n)), 'y': [i % 2 for i in range(n)]}\n",
    )
    config = {
        **_small("x", features=[asdict(Feature(name="x", type="number", columns=("x",)))]),
        "label": asdict(Label(column="y", classes=2)),
        "source": asdict(Source(kind="call", value="load:load", arguments={"n": 40})),
        "dataset": "made",
        "task": "classification",
        "format": "csv",
    }
    spec = bench.step(Kind.PREPARE, config, {"data:made": None})
    result = entry.execute(spec, bench.site)
    assert result.outputs["rows"] == 40
    assert entry.execute(spec, bench.site).skipped
    again = bench.run(bench.step(Kind.PREPARE, config, {"data:made": result.outputs["source"]}))
    assert again.digest == result.digest


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("return 5", "AIF812", "`load:load` returned int, no table"),
        ("return {}", "AIF812", "what `load:load` returned has no rows"),
        ("return {'x': [1, 2], 'y': [1]}", "AIF812", "the arrays of `load:load` differ in rows: x has 2, y has 1"),
        ("raise KeyError('token')", "AIF806", "`load:load` failed at load.py:2: KeyError: 'token'"),
    ],
)
def test_user_code_that_returns_no_table(bench: Any, body: str, code: str, message: str) -> None:
    bench.write_code("load.py", f"def load():\n    {body}\n")
    config = {**asdict(DIGITS), "source": asdict(Source(kind="call", value="load:load"))}
    spec = bench.step(Kind.PREPARE, config, {"data:digits": None})
    [(found, said, _)] = _findings(lambda: entry.execute(spec, bench.site))
    assert (found, said) == (code, message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("none.csv", "there is no file `none.csv`"),
        ("../outside.csv", "`../outside.csv` leads out of the spec's folder"),
        ("link.csv", "`link.csv` leads out of the spec's folder"),
        ("folder", "`folder` is a folder"),
    ],
)
def test_a_path_that_is_no_file_of_the_spec(bench: Any, value: str, message: str) -> None:
    (bench.root / "outside.csv").write_text("\n".join(IRIS))
    (bench.data / "link.csv").symlink_to(bench.root / "outside.csv")
    (bench.data / "folder").mkdir()
    config = {**asdict(DIGITS), **_small(value)}
    spec = bench.step(Kind.PREPARE, config, {"data:digits": None})
    [(code, said, _)] = _findings(lambda: entry.execute(spec, bench.site))
    assert (code, said) == ("AIF810", message)


def test_a_missing_column_names_the_nearest(bench: Any, rows: Write) -> None:
    file = rows("iris.csv", IRIS)
    changed = replace(LENGTH, columns=("lenght",))
    found = _findings(lambda: bench.prepare(**_small(file, features=[asdict(changed)], label=Label(column="kind"))))
    assert found == [
        ("AIF813", "dataset `digits` has no column `lenght` for feature `length`", "is it `length`?"),
        ("AIF813", "dataset `digits` has no column `kind` for the label", "it has length, species"),
    ]


def test_all_checks_are_reported_at_once_with_rows(bench: Any, rows: Write) -> None:
    file = rows("iris.csv", ["id,length,species", "1,1.5,a", "2,,b", "2,99,a", "3,-5,b", "2,x7,a"])
    checks = DataChecks(min_rows=10, no_nulls=("length",), unique=("id",), ranges={"length": (0, 50), "id": (None, 3)})
    found = _findings(lambda: bench.prepare(**_small(file, checks=checks)))
    assert [(code, message.removeprefix("dataset `digits` ")) for code, message, _ in found] == [
        ("AIF815", "has 5 rows, at least 10 were asked for"),
        ("AIF815", "has no value in column `length` in row 2"),
        ("AIF815", "repeats a value of column `id` in rows 3, 5 (2 is the first)"),
        ("AIF815", "has no number in column `length` in row 5"),
        ("AIF815", "has less than 0 in column `length` in row 4 (-5 is the first)"),
        ("AIF815", "has more than 50 in column `length` in row 3 (99 is the first)"),
        ("AIF814", "feature `length`: column `length` has '1.5', which is no number in rows 1, 3, 4, 5"),
    ]


def test_too_many_rows(bench: Any, rows: Write) -> None:
    found = _findings(lambda: bench.prepare(**_small(rows("iris.csv", IRIS), checks=DataChecks(max_rows=5))))
    assert [message for _, message, _ in found] == ["dataset `digits` has 6 rows, at most 5 were asked for"]


def test_rows_are_named_as_in_the_file_even_in_a_sample(bench: Any, rows: Write) -> None:
    lines = ["length,species", *(f"{i},{'ab'[i % 2]}" for i in range(1, 100)), "oops,a"]
    lines = [line.replace("7,", "seven,") if line.startswith("7,") else line for line in lines]
    with pytest.raises(Report) as caught:
        bench.prepare(**_small(rows("iris.csv", lines), sample=99))
    text = caught.value.diagnostics[0].message
    assert "in rows 1, 2, 3, 4, 5" in text or "in rows 1" in text
    assert "and 94 more" in text


@pytest.mark.parametrize(
    ("lines", "label", "message"),
    [
        (["1,a", "2,", "3,b"], Label(column="species"), "label `species` has no value in row 2"),
        (
            ["1,0", "2,1", "3,12"],
            Label(column="species", classes=10),
            "label `species` has 3 distinct values (0, 1, 12), 10 classes are declared",
        ),
        (
            ["1,a", "2,b", "3,c"],
            Label(column="species", classes=2),
            "label `species` has 3 distinct values (a, b, c), 2 classes are declared",
        ),
        (["1,0.5", "2,1", "3,0"], Label(column="species", classes=2), "label `species` has 0.5 in row 1"),
        (["1,a", "2,a", "3,a"], Label(column="species"), "label `species` has 1 distinct value"),
        (
            ["1,a", "2,b", "3,x"],
            Label(column="species", names=("a", "b")),
            "label `species` has 'x' in row 3, which `names` does not name",
        ),
        (
            ["1,0", "2,1", "3,1"],
            Label(column="species", classes=2, names=("no", "yes", "maybe")),
            "label `species` has 2 classes, `names` names 3",
        ),
    ],
)
def test_labels_that_do_not_fit(bench: Any, rows: Write, lines: list[str], label: Label, message: str) -> None:
    file = rows("iris.csv", ["length,species", *lines])
    found = _findings(lambda: bench.prepare(**_small(file, label=label, split=Split(fractions={"train": 1.0}))))
    assert [(code, said) for code, said, _ in found] == [("AIF816", message)]


@pytest.mark.parametrize(
    ("values", "label", "expected_values", "expected_names"),
    [
        (["b", "a", "b"], Label(column="species"), ("a", "b"), ("a", "b")),
        (["b", "a", "b"], Label(column="species", names=("b", "a")), ("b", "a"), ("b", "a")),
        ([0, 1, 1], Label(column="species", classes=3), (0, 1, 2), ("0", "1", "2")),
        ([0, 1, 1], Label(column="species", names=("no", "yes")), (0, 1), ("no", "yes")),
        ([3, 5, 3], Label(column="species"), (3, 5), ("3", "5")),
        ([1, 2, 1], Label(column="species", classes=2), (1, 2), ("1", "2")),
        (["true", "false", "true"], Label(column="species"), (0, 1), ("0", "1")),
    ],
)
def test_classes_are_learned(
    bench: Any,
    rows: Write,
    values: list[Any],
    label: Label,
    expected_values: tuple[Any, ...],
    expected_names: tuple[str, ...],
) -> None:
    file = rows("iris.csv", ["length,species", *(f"{i},{value}" for i, value in enumerate(values))])
    schema = Prepared.open(bench.prepare(**_small(file, label=label, split=Split(fractions={"train": 1.0})))).schema
    assert schema.label is not None
    assert (schema.label.values, schema.label.names) == (expected_values, expected_names)


def test_a_regressions_label_is_a_number(bench: Any, rows: Write) -> None:
    lines = ["length,price", "1,10.5", "2,20", "3,30", "4,40"]
    changes = _small(rows("prices.csv", lines), label=Label(column="price"), task="regression")
    train = Prepared.open(bench.prepare(**changes)).split("train")
    assert train.label is not None
    assert train.label.dtype == np.float32
    assert train.schema.label is not None
    assert train.schema.label.names is None
    found = _findings(lambda: bench.prepare(**_small(rows("iris.csv", IRIS), task="regression")))
    assert [(code, message) for code, message, _ in found] == [
        ("AIF816", "label `species` has 'setosa', which is no number in rows 1, 2, 3, 4, 5 and 1 more")
    ]


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (replace(LENGTH, shape=(2,)), "feature `length` has 1 columns, its shape [2] takes 2"),
        (replace(LENGTH, type="image"), "feature `length` is of type `image`"),
        (replace(LENGTH, dtype="string"), "feature `length` is a number of texts"),
        (
            replace(LENGTH, dtype="int64"),
            "feature `length`: column `length` has a value that is no int64 in rows 1, 2, 3, 4, 5 and 1 more",
        ),
        (
            replace(LENGTH, type="text"),
            "feature `length`: column `length` has a value that is no text in rows 1, 2, 3, 4, 5 and 1 more",
        ),
        (
            Feature(name="s", type="category", columns=("species",), values=("setosa",)),
            "feature `s`: column `species` has the unknown value 'virginica'; known are setosa in rows 2, 4, 6",
        ),
    ],
)
def test_features_that_do_not_fit(bench: Any, rows: Write, feature: Feature, message: str) -> None:
    found = _findings(lambda: bench.prepare(**_small(rows("iris.csv", IRIS), features=[asdict(feature)])))
    assert [(code, said) for code, said, _ in found] == [("AIF814", message)]


def test_categories_are_learned_from_the_training_rows(bench: Any, rows: Write) -> None:
    lines = ["c,species,part", "x,a,train", "10,b,train", "x,a,test", "9,b,validation"]
    feature = Feature(name="c", type="category", columns=("c",))
    changes = _small(rows("c.csv", lines), features=[asdict(feature)], split=Split(column="part"))
    [(code, message, hint)] = _findings(lambda: bench.prepare(**changes))
    assert (code, hint) == ("AIF814", "declare its `values`")
    assert message == "feature `c`: column `c` has the unknown value '9'; known are 10, x in row 4"
    changes["source"]["value"] = rows("c2.csv", [*lines[:-1], "x,b,validation"])
    [learned] = Prepared.open(bench.prepare(**changes)).schema.features
    assert (learned.values, learned.dtype) == (("10", "x"), "int64")


def test_empty_values_of_features_are_warned_about(bench: Any, rows: Write) -> None:
    file = rows("iris.csv", [*IRIS, ",setosa", ",virginica"])
    config = {**asdict(DIGITS), **_small(file)}
    result = entry.execute(bench.step(Kind.PREPARE, config, {"data:digits": bench.pin(file)}), bench.site)
    [warning] = result.diagnostics
    assert (warning.code, warning.severity) == ("AIF814", Severity.WARNING)
    assert warning.message == "feature `length` has empty values, which reach the model as NaN: 2 in `length`"


def test_a_class_without_training_rows_is_warned_about(bench: Any, rows: Write) -> None:
    lines = ["length,species,part", "1,a,train", "2,b,train", "3,c,test"]
    config = {**asdict(DIGITS), **_small(rows("c.csv", lines), split=Split(column="part"))}
    result = entry.execute(bench.step(Kind.PREPARE, config, {"data:digits": bench.pin("c.csv")}), bench.site)
    assert [(d.code, d.message, d.severity) for d in result.diagnostics] == [
        ("AIF816", "no training row has the class c", Severity.WARNING)
    ]


def test_splits_by_time_take_the_latest_rows_for_testing(bench: Any, rows: Write) -> None:
    days = [5, 1, 9, 3, 7, 2, 8, 4, 10, 6]
    lines = ["length,species,day", *(f"{day},{'ab'[day % 2]},2026-01-{day:02}T00:00:00Z" for day in days)]
    split = Split(fractions={"train": 0.6, "validation": 0.2, "test": 0.2}, time="day")
    prepared = Prepared.open(bench.prepare(**_small(rows("t.csv", lines), split=split)))
    assert prepared.split("train").rows["length"].tolist() == [1, 2, 3, 4, 5, 6]
    assert prepared.split("validation").rows["length"].tolist() == [7, 8]
    assert prepared.split("test").rows["length"].tolist() == [9, 10]
    bad = rows("bad.csv", [*lines, "1,a,soon"])
    [(code, message, _)] = _findings(lambda: bench.prepare(**_small(bad, split=split)))
    assert (code, message) == ("AIF817", "column `day` has no time in row 11")


def test_groups_stay_together(bench: Any, rows: Write) -> None:
    lines = ["length,species,user", *(f"{i},{'ab'[i % 2]},u{i % 17}" for i in range(170))]
    split = Split(fractions={"train": 0.7, "test": 0.3}, group="user", seed=3)
    prepared = Prepared.open(bench.prepare(**_small(rows("g.csv", lines), split=split)))
    users = {name: set(prepared.split(name).rows["user"]) for name in ("train", "test")}
    assert not users["train"] & users["test"]
    assert len(prepared.split("train")) == 120


def test_a_split_column_may_say_val(bench: Any, rows: Write) -> None:
    lines = ["length,species,part", "1,a,train", "2,b,Train", "3,a,val", "4,b,test"]
    prepared = Prepared.open(bench.prepare(**_small(rows("c.csv", lines), split=Split(column="part"))))
    assert dict(prepared.schema.splits) == {"train": 2, "validation": 1, "test": 1}
    bad = rows("bad.csv", [*lines, "5,a,holdout"])
    [(code, message, _)] = _findings(lambda: bench.prepare(**_small(bad, split=Split(column="part"))))
    assert (code, message) == ("AIF817", "column `part` names no split in row 5: 'holdout'")


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.5, "test": 0.4}, "the shares of the splits add up to 0.9, not to 1"),
        ({"train": 0.99, "test": 0.01}, "the split `test` has no rows (0.01 of 6)"),
    ],
)
def test_splits_that_can_not_be_made(bench: Any, rows: Write, fractions: dict[str, float], message: str) -> None:
    found = _findings(lambda: bench.prepare(**_small(rows("iris.csv", IRIS), split=Split(fractions=fractions))))
    assert [(code, said) for code, said, _ in found] == [("AIF817", message)]


def test_a_column_of_many_types_that_nobody_uses(bench: Any, tmp_path: Path) -> None:
    """parquet takes one type a column; the finding names the column."""
    (bench.data / "mixed.jsonl").write_text(
        '{"length": 1, "species": "a", "x": 1}\n{"length": 2, "species": "b", "x": "y"}\n'
    )
    changes = {**_small("mixed.jsonl", split=Split(fractions={"train": 1.0})), "format": "jsonl"}
    [(code, message, _)] = _findings(lambda: bench.prepare(**changes))
    assert code == "AIF812"
    assert "column x" in message
