"""register at the end of a real chain: prepare, train, evaluate, gate, export, verify, and what promote then reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aifctl.contract import EvaluateConfig, ExportConfig, GateConfig, Kind, RegisterConfig, VerifyConfig
from aifctl.diagnostics import Report
from aifctl.runtime import bundle, entry
from aifctl.runtime.tracking import TAG, client, tracking_uri

METRICS = ("accuracy", "f1_macro")


@pytest.fixture(scope="module")
def chain(trained: Any) -> dict[str, Any]:
    """Step name → what it published."""
    bench, prepared, train = trained
    both = {"train": train.digest, "prepare": prepared.digest}
    evaluate = EvaluateConfig(task="classification", dataset="digits", split="test", metrics=METRICS)
    steps = {"prepare": prepared, "train": train, "evaluate": bench.run(bench.step(Kind.EVALUATE, evaluate, both))}
    gate = bench.step(Kind.GATE, GateConfig(bounds={"accuracy": {"min": 0.9}}), {"evaluate": steps["evaluate"].digest})
    steps["gate"] = bench.run(gate)
    for name in ("native", "second"):
        export = ExportConfig(name=name, format="custom", framework="custom", dataset="digits")
        steps[f"export-{name}"] = bench.run(bench.step(Kind.EXPORT, export, both, {"gate": steps["gate"].digest}))
        verify = VerifyConfig(
            export=name,
            task="classification",
            dataset="digits",
            split="test",
            metrics=METRICS,
            rtol=1e-5,
            atol=1e-6,
            max_metric_drop=0.0,
        )
        inputs = {**both, f"export-{name}": steps[f"export-{name}"].digest}
        steps[f"verify-{name}"] = bench.run(bench.step(Kind.VERIFY, verify, inputs))
    return steps


def _spec(bench: Any, chain: dict[str, Any], *exports: str, without: str | None = None) -> Any:
    reads = {"train": chain["train"], **{f"export-{name}": chain[f"export-{name}"] for name in exports}}
    needs = {"evaluate", "gate", *(f"verify-{name}" for name in exports)} - {without}
    return bench.step(
        Kind.REGISTER,
        RegisterConfig(name="digits", exports=exports, description=f"handwritten, without {without}"),
        {name: published.digest for name, published in reads.items() if name != without},
        {name: chain[name].digest for name in needs},
    )


def test_the_evidence_that_promote_reads(trained: Any, chain: dict[str, Any]) -> None:
    bench = trained[0]
    published = bench.run(_spec(bench, chain, "native"))
    facts = published.read_json("registration.json")
    assert (facts["registration"], facts["name"], facts["model"], facts["tenant"]) == (1, "digits", "digits", "vision")
    assert facts["run"] == "local-t"
    assert facts["train"]["digest"] == chain["train"].digest
    assert facts["evaluate"]["outputs"]["metrics"] == chain["evaluate"].outputs["metrics"]
    assert facts["gate"] == {"digest": chain["gate"].digest, "outputs": dict(chain["gate"].outputs)}
    export = facts["exports"]["native"]
    assert export["format"] == "custom"
    assert export["verify"]["digest"] == chain["verify-native"].digest
    assert export["signature"]["inputs"][0]["columns"][:2] == ["p0", "p1"]

    folder = Path(bench.site.store, export["path"])
    loaded = bundle.load(folder, export["sha256"])
    assert not list(folder.rglob("__pycache__")), "serving writes nothing into a bundle"
    assert export["size"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert loaded.predict_rows([{f"p{i}": 0 for i in range(64)}])["logits"].shape == (1, 10)
    assert published.outputs["exports"] == {"native": export["sha256"]}


def test_mlflow_mirrors_it(trained: Any, chain: dict[str, Any]) -> None:
    bench, _, train = trained
    uri = tracking_uri(bench.root / ".aif")
    site = replace(bench.site, tracking=uri, store=bench.site.store)
    spec = _spec(bench, chain, "native", "second")
    result = entry.execute(spec, site)
    assert result.diagnostics == ()
    assert result.outputs["mlflow"] == {"native": "1", "second": "1"}
    mlflow = client(uri)
    version = mlflow.get_model_version_by_alias("digits-native", "candidate")
    assert version.tags[TAG] == train.digest
    assert version.tags["aif.bundle"] == result.outputs["exports"]["native"]
    assert float(version.tags["metric.accuracy"]) == pytest.approx(
        chain["evaluate"].outputs["metrics"]["accuracy"], abs=1e-5
    )
    assert Path(version.source.removeprefix("file://")).joinpath("bundle.json").is_file()
    assert mlflow.get_run(version.run_id).data.tags["aif.registered"] == "digits"
    assert entry.execute(spec, site).skipped


def test_a_registry_that_is_down_loses_no_registration(trained: Any, chain: dict[str, Any]) -> None:
    bench = trained[0]
    site = replace(bench.site, tracking="sqlite:////proc/none/mlflow.db")
    result = entry.execute(_spec(bench, chain, "second"), site)
    assert [finding.code for finding in result.diagnostics] == ["AIF809"]
    assert result.outputs["mlflow"] == {}
    assert bench.store.find(result.digest).file("registration.json").is_file()


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("verify-native", "AIF801: step `register` does not read the verify step of `native`"),
        ("export-native", "AIF801: step `register` does not read the export step of `native`"),
        ("train", "AIF801: step `register` does not read `train`"),
    ],
)
def test_nothing_unverified_is_registered(trained: Any, chain: dict[str, Any], without: str, message: str) -> None:
    with pytest.raises(Report, match=message):
        trained[0].run(_spec(trained[0], chain, "native", without=without))


def test_a_bundle_that_changed_since_it_was_verified_is_not_registered(trained: Any, chain: dict[str, Any]) -> None:
    bench = trained[0]
    spec = _spec(bench, chain, "native", without="gate")
    path = chain["export-native"].path / "model" / "model.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(Report, match=r"AIF803: `model/model.npz` .* has other content than was published"):
            bench.run(spec)
    finally:
        path.write_bytes(whole)
