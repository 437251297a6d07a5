"""MLflow as a mirror: what is written there, by parallel processes too, and that losing it loses nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aifctl import digest
from aifctl.contract import CustomConfig, Kind
from aifctl.diagnostics import Severity
from aifctl.runtime.job import Events, Job
from aifctl.runtime.tracking import TAG, Tracker, client, open_tracker, tracking_uri
from tests.runtime.fake_runs import wait_until

TRAIN = digest.of_text("a training")


def _job(bench: Any, uri: str | None, kind: Kind = Kind.TRAIN) -> Job:
    spec = replace(bench.step(Kind.CUSTOM, CustomConfig(call="m:f", inputs={}, outputs={}), {}), kind=kind, code=None)
    store = bench.store
    return Job(
        spec=spec,
        site=replace(bench.site, tracking=uri),
        store=store,
        inputs={},
        attempt=store.attempt(TRAIN, "a1"),
        events=Events("train", None),
    )


def test_params_metrics_and_artifacts_arrive(bench: Any) -> None:
    uri = tracking_uri(bench.root / ".aif")
    job = _job(bench, uri)
    tracker = open_tracker(job)
    tracker.params({"learning_rate": 0.001, "optimizer": {"name": "adam"}, "none": None, "long": "x" * 10_000})
    for epoch in range(3):
        tracker.metrics({"loss": 1 / (epoch + 1), "val_loss": 2.0}, epoch)
    (job.path / "history.json").write_text("{}")
    tracker.artifacts(job.path / "history.json", "model")
    tracker.artifacts(job.path, "all")
    tracker.finish()
    assert job.warnings == []

    mlflow = client(uri)
    run = mlflow.get_run(tracker.run_id)
    assert run.data.params["learning_rate"] == "0.001"
    assert run.data.params["optimizer.name"] == "adam"
    assert "none" not in run.data.params
    assert [(m.step, m.value) for m in mlflow.get_metric_history(tracker.run_id, "loss")] == [
        (0, 1.0),
        (1, 0.5),
        (2, 1 / 3),
    ]
    assert (run.data.tags[TAG], run.data.tags["aif.model"]) == (TRAIN, "digits")
    assert run.info.status == "FINISHED"
    assert mlflow.get_experiment(run.info.experiment_id).name == "vision/digits"
    folder = bench.root / ".aif" / "mlartifacts"
    assert sorted(path.relative_to(folder).as_posix().split("/", 1)[1] for path in folder.rglob("history.json")) == [
        "artifacts/all/history.json",
        "artifacts/model/history.json",
    ]


def test_later_steps_and_retries_go_on_with_the_same_run(bench: Any) -> None:
    uri = tracking_uri(bench.root / ".aif")
    first = open_tracker(_job(bench, uri))
    first.params({"epochs": 5})
    again = open_tracker(_job(bench, uri))
    again.params({"epochs": 6, "batch": 32})
    again.metrics({"test_accuracy": 0.9})
    assert again.run_id == first.run_id is not None
    params = client(uri).get_run(first.run_id).data.params
    assert params == {"epochs": "5", "batch": "32"}, "a parameter of a training never changes"


def test_processes_that_start_at_once_share_one_run(bench: Any) -> None:
    """Both find no database: one makes the tables, and one makes the run."""
    uri = tracking_uri(bench.root / ".aif")
    script = (
        "import sys; from aifctl.contract import *; from aifctl.runtime.job import *\n"
        "from aifctl.runtime.store import Store; from aifctl.runtime.tracking import Tracker\n"
        "store, uri, train = sys.argv[1:]; s = Store(store); site = Site(store=store, run='r', tracking=uri)\n"
        "about = dict(model='digits', tenant='vision', own='', inputs={}, digest=train)\n"
        "job = Job(spec=StepSpec(name='e', kind=Kind.EVALUATE, **about), site=site, store=s, inputs={},\n"
        "          attempt=s.attempt(train, 'a1'), events=Events('e', None))\n"
        "t = Tracker(job, train); t.metrics({'m': 1.0}); print(t.run_id, job.warnings)"
    )
    command = [sys.executable, "-c", script, bench.site.store, uri, TRAIN]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=300)[0].split() for process in processes]
    assert len({run for run, _ in said}) == 1
    assert {warnings for _, warnings in said} == {"[]"}
    mlflow = client(uri)
    [experiment] = [e for e in mlflow.search_experiments() if e.name == "vision/digits"]
    assert len(mlflow.search_runs([experiment.experiment_id])) == 1


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server on SQLite that keeps artifacts itself."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or _is_healthy(url), "the MLflow server")
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_server_registers_what_lies_in_a_folder(bench: Any, mlflow_server: str, tmp_path: Path) -> None:
    """It refuses paths of ours as a source: it gets the files, and the version can be downloaded from it."""
    folder = bench.root / "one + more"
    folder.mkdir()
    (folder / "model.onnx").write_text("weights")
    job = _job(bench, mlflow_server)
    tracker = open_tracker(job)
    tags = {"aif.bundle": "1" * 64}
    versions = [tracker.register("digits", folder.as_uri(), tags, "candidate") for _ in range(2)]
    assert (versions, job.warnings) == (["1", "1"], [])
    mlflow = client(mlflow_server)
    version = mlflow.get_model_version_by_alias("digits", "candidate")
    assert version.source.endswith(f"/{tracker.run_id}/artifacts/exports/digits")
    script = "import sys, mlflow; mlflow.artifacts.download_artifacts('models:/digits@candidate', dst_path=sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "MLFLOW_TRACKING_URI": mlflow_server, "MLFLOW_DISABLE_TELEMETRY": "true"},
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert (tmp_path / "model.onnx").read_text() == "weights"


def test_a_server_registers_what_lies_in_a_bucket_where_it_is(bench: Any, mlflow_server: str) -> None:
    job = _job(bench, mlflow_server)
    source = "s3://models/steps/1/attempts/a"
    assert open_tracker(job).register("wine", source, {"aif.bundle": "2" * 64}, "candidate") == "1"
    assert client(mlflow_server).get_model_version("wine", "1").source == source


def test_a_folder_of_runs_is_one_warning(bench: Any) -> None:
    """MLflow 3 writes none any more; `aifctl validate` says so before (AIF381)."""
    job = _job(bench, (bench.root / "mlruns").as_uri())
    tracker = open_tracker(job)
    assert tracker.register("digits", "s3://models/1", {"aif.bundle": "1" * 64}, "candidate") is None
    tracker.finish()
    assert [finding.code for finding in job.warnings] == ["AIF809"]


def test_off_is_off(bench: Any) -> None:
    job = _job(bench, None)
    tracker = open_tracker(job)
    tracker.params({"a": 1})
    tracker.metrics({"m": 1.0})
    assert tracker.run_id is None
    assert tracker.register("digits", "file:///x", {}, "candidate") is None
    assert job.warnings == []


def test_a_step_below_no_training_tracks_nothing(bench: Any) -> None:
    job = _job(bench, tracking_uri(bench.root / ".aif"), Kind.EVALUATE)
    open_tracker(job).metrics({"m": 1.0})
    assert not (bench.root / ".aif").exists()


@pytest.mark.parametrize("uri", ["http://user:secret@127.0.0.1:9", "nosuch://x", "sqlite:////proc/none/mlflow.db"])
def test_a_server_that_is_down_is_one_warning(bench: Any, uri: str) -> None:
    job = _job(bench, uri)
    tracker = Tracker(job, TRAIN)
    tracker.params({"a": 1})
    tracker.metrics({"m": 1.0})
    tracker.finish()
    assert tracker.run_id is None
    [warning] = job.warnings
    assert (warning.code, warning.severity, warning.hint) == (
        "AIF809",
        Severity.WARNING,
        "the step goes on without tracking",
    )
    assert "secret" not in warning.message


def test_a_value_that_mlflow_refuses_loses_no_training(bench: Any) -> None:
    job = _job(bench, tracking_uri(bench.root / ".aif"))
    tracker = open_tracker(job)
    tracker.metrics({"not a name: {}": 1.0})
    assert [warning.code for warning in job.warnings] == ["AIF809"]
    assert isinstance(job.path, Path)


def test_a_version_is_registered_once_and_the_alias_moves(bench: Any) -> None:
    uri = tracking_uri(bench.root / ".aif")
    job = _job(bench, uri)
    tracker = open_tracker(job)
    first = tracker.register("digits", (bench.root / "one").as_uri(), {"aif.bundle": "1" * 64}, "candidate")
    again = tracker.register("digits", (bench.root / "one").as_uri(), {"aif.bundle": "1" * 64}, "candidate")
    second = tracker.register("digits", (bench.root / "two").as_uri(), {"aif.bundle": "2" * 64}, "candidate")
    assert (first, again, second) == ("1", "1", "2")
    mlflow = client(uri)
    assert mlflow.get_model_version_by_alias("digits", "candidate").tags["aif.bundle"] == "2" * 64
    tracker.register("digits", (bench.root / "one").as_uri(), {"aif.bundle": "1" * 64}, "candidate")
    assert mlflow.get_model_version_by_alias("digits", "candidate").version == 1
    assert job.warnings == []
