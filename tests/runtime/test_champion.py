"""What serves, asked again on a candidate's test rows; and which way is worse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aifctl import contract
from aifctl.contract import Kind
from aifctl.diagnostics import Report
from aifctl.runtime import champion
from aifctl.runtime.champion import Question
from aifctl.runtime.store import Published
from tests.runtime.bench import Bench

Trained = tuple[Bench, Published, Published]
METRICS = ("accuracy", "f1_macro", "log_loss")


@pytest.fixture(scope="module")
def exported(trained: Trained) -> Published:
    """The trained digits as a custom bundle."""
    bench, prepared, model = trained
    config = contract.ExportConfig(name="linear", format="custom", framework="custom", dataset="digits")
    inputs = {"prepare": prepared.digest, "train": model.digest}
    return bench.run(bench.step(Kind.EXPORT, config, inputs))


@pytest.fixture
def question(trained: Trained, exported: Published) -> Question:
    bench, prepared, _ = trained
    return Question(
        bundle=str(exported.path),
        sha256=exported.outputs["sha256"],
        store=bench.store,
        prepare=prepared.digest,
        split="test",
        metrics=METRICS,
    )


def refused(question: Question) -> tuple[str, str]:
    with pytest.raises(Report) as caught:
        champion.measure(question)
    (found,) = caught.value.diagnostics
    return found.code, found.message


def test_it_measures_what_the_evaluation_measured(trained: Trained, question: Question) -> None:
    """The same rows, through the bundle from raw values on."""
    bench, prepared, model = trained
    config = contract.EvaluateConfig(task="classification", dataset="digits", split="test", metrics=METRICS)
    evaluated = bench.run(bench.step(Kind.EVALUATE, config, {"prepare": prepared.digest, "train": model.digest}))
    measured = champion.measure(question)
    assert set(measured) == set(METRICS)
    assert measured == pytest.approx(evaluated.outputs["metrics"], abs=1e-6)
    assert measured["accuracy"] > 0.9


def test_a_url_is_a_place_too(question: Question) -> None:
    assert champion.measure(replace(question, bundle=f"file://{question.bundle}")) == champion.measure(question)


def test_other_rows(question: Question) -> None:
    assert champion.measure(replace(question, split="validation")) != champion.measure(question)


def test_a_bundle_that_is_not_the_released_one(question: Question) -> None:
    assert refused(replace(question, sha256=64 * "0"))[0] == "AIF832"


def test_a_bundle_that_is_gone(question: Question) -> None:
    assert refused(replace(question, bundle=f"{question.bundle}-gone"))[0] == "AIF861"


def test_rows_that_are_gone(question: Question) -> None:
    assert refused(replace(question, prepare=64 * "0")) == (
        "AIF637",
        "the candidate's test rows are no longer in the store",
    )


def test_rows_of_other_columns(trained: Trained, question: Question) -> None:
    bench, _, _ = trained
    lines = (bench.data / "digits.csv").read_text().splitlines()
    (bench.data / "fewer.csv").write_text("\n".join(line.split(",", 1)[1] for line in lines) + "\n")
    feature = {"name": "pixels", "type": "tensor", "columns": [f"p{i}" for i in range(1, 64)], "shape": [63]}
    source = {"kind": "path", "value": "fewer.csv", "arguments": {}}
    fewer = bench.prepare(source=source, features=[{**feature, "dtype": "float32", "values": None}])
    assert refused(replace(question, prepare=fewer.digest)) == (
        "AIF637",
        "the champion can't be asked the candidate's test rows: it reads `p0`, which they lack",
    )


def test_rows_of_other_classes(trained: Trained, question: Question) -> None:
    bench, _, _ = trained
    lines = [line for line in (bench.data / "digits.csv").read_text().splitlines() if not line.endswith(",9")]
    (bench.data / "nine.csv").write_text("\n".join(lines) + "\n")
    source = {"kind": "path", "value": "nine.csv", "arguments": {}}
    nine = bench.prepare(source=source, label={"column": "digit", "classes": 9, "names": None})
    code, message = refused(replace(question, prepare=nine.digest))
    assert (code, message.endswith("it knows other classes")) == ("AIF637", True)


@pytest.mark.parametrize(
    ("metric", "candidate", "best", "worse"),
    [
        ("accuracy", 0.90, 0.95, True),
        ("accuracy", 0.95, 0.90, False),
        ("accuracy", 0.95, 0.95, False),
        ("accuracy", 0.95 - 1e-12, 0.95, False),
        ("log_loss", 0.5, 0.4, True),
        ("log_loss", 0.4, 0.5, False),
        ("rmse", 2.0, 1.0, True),
        ("r2", 0.1, 0.2, True),
    ],
)
def test_which_way_is_worse(metric: str, candidate: float, best: float, worse: bool) -> None:
    assert champion.is_worse(metric, candidate, best, 1e-9) is worse


class TestMirror:
    """What speaks against MLflow is said, and never raised."""

    @pytest.mark.parametrize(
        "uri",
        ["sqlite:////proc/nowhere/mlflow.db", "http://127.0.0.1:9", "nowhere://x"],
        ids=["file", "server", "scheme"],
    )
    def test_a_registry_that_can_not_be_reached(self, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        reason = champion.mirror(uri, {"digits": "1"}, "champion-local")
        assert reason
        assert "\n" not in reason

    def test_a_database_that_is_none(self, bench: Bench) -> None:
        (bench.root / "mlflow.db").write_bytes(b"junk" * 1000)
        assert champion.mirror(f"sqlite:///{bench.root}/mlflow.db", {"digits": "1"}, "champion-local")
