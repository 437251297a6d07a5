"""A user's own step in a chain: custom → prepare → custom, by files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd
import pytest

from aifctl.contract import CustomConfig, Feature, Kind, Label, Source, Split
from aifctl.diagnostics import Report
from aifctl.runtime.data import Prepared
from tests.runtime.bench import DIGITS

FEATURISE = '''
import pandas as pd


def featurise(context):
    """Mean ink of each quarter of the image."""
    raw = pd.read_csv(context.params["raw"])
    parts = {f"q{q}": [f"p{i}" for i in range(64) if i // 32 * 2 + i % 8 // 4 == q] for q in range(4)}
    quarters = {name: raw[columns].mean(axis=1) for name, columns in parts.items()}
    pd.DataFrame({**quarters, "digit": raw["digit"]}).to_parquet(context.outputs["table"])
    context.outputs["notes"].mkdir()
    (context.outputs["notes"] / "readme.txt").write_text("quarters")
    context.log(rows=len(raw))


def count(context):
    table = pd.read_parquet(context.inputs["data"] / "table.parquet")
    names = f"{context.inputs['notes'].name}, {context.inputs['t'].suffix}"
    context.outputs["count"].write_text(f"{len(table)} rows, {names}")
'''


def _featurised(bench: Any) -> Any:
    bench.write_code("mine.py", FEATURISE)
    config = CustomConfig(
        call="mine:featurise",
        inputs={},
        outputs={"table": "parquet", "notes": "folder"},
        params={"raw": str(bench.data / "digits.csv")},
    )
    return bench.run(bench.step(Kind.CUSTOM, config, {}))


def test_a_chain_through_own_steps(bench: Any) -> None:
    featurised = _featurised(bench)
    assert featurised.outputs == {"table": "table.parquet", "notes": "notes"}
    assert sorted(featurised.files) == ["notes/readme.txt", "table.parquet"]

    config = {
        **asdict(DIGITS),
        "source": asdict(Source(kind="step", value="featurise.table")),
        "format": "parquet",
        "features": [asdict(Feature(name="ink", type="tensor", columns=("q0", "q1", "q2", "q3")))],
        "label": asdict(Label(column="digit", classes=10)),
        "split": asdict(Split(fractions={"train": 0.9, "test": 0.1})),
    }
    prepared = bench.run(bench.step(Kind.PREPARE, config, {"featurise": featurised.digest}))
    train = Prepared.open(prepared).split("train")
    assert train.features["ink"].shape == (1617, 4)
    raw = pd.read_csv(bench.data / "digits.csv").iloc[int(train.numbers[0]) - 1]
    expected = raw[[f"p{i}" for i in (*range(4), *range(8, 12), *range(16, 20), *range(24, 28))]].mean()
    assert train.features["ink"][0][0] == pytest.approx(expected)

    last = CustomConfig(
        call="mine:count",
        inputs={"data": "prepare", "notes": "featurise.notes", "t": "featurise.table"},
        outputs={"count": "txt"},
    )
    inputs = {"prepare": prepared.digest, "featurise": featurised.digest}
    counted = bench.run(bench.step(Kind.CUSTOM, last, inputs))
    assert counted.file("count.txt").read_text() == "1797 rows, notes, .parquet"


def test_an_output_that_the_step_before_has_not(bench: Any) -> None:
    featurised = _featurised(bench)
    config = CustomConfig(call="mine:count", inputs={"data": "featurise.tabel"}, outputs={})
    with pytest.raises(Report) as caught:
        bench.run(bench.step(Kind.CUSTOM, config, {"featurise": featurised.digest}))
    [finding] = caught.value.diagnostics
    assert (finding.code, finding.message) == ("AIF804", "step `featurise` has no output `tabel`")
    source = {**asdict(DIGITS), "source": asdict(Source(kind="step", value="featurise.tabel"))}
    with pytest.raises(Report, match="AIF804: step `featurise` has no output `tabel`"):
        bench.run(bench.step(Kind.PREPARE, source, {"featurise": featurised.digest}))
    with pytest.raises(Report, match="AIF801: step `featurise` is not among the inputs"):
        bench.run(bench.step(Kind.PREPARE, source, {"data:digits": bench.pin()}))


@pytest.mark.parametrize("body", ["pass", "context.outputs['out'].mkdir()"])
def test_an_output_that_was_not_written(bench: Any, body: str) -> None:
    bench.write_code("mine.py", f"def run(context):\n    {body}\n")
    config = CustomConfig(call="mine:run", inputs={}, outputs={"out": "parquet"})
    with pytest.raises(Report) as caught:
        bench.run(bench.step(Kind.CUSTOM, config, {}))
    [finding] = caught.value.diagnostics
    assert finding.message == "`mine:run` has not written its output `out`"
    assert finding.hint == 'write to `context.outputs["out"]`'
