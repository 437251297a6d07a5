"""Mirrors runs into MLflow: one MLflow run a train digest, found by its tag, so parallel steps and retries share it.

Nothing in aifctl reads what is written here, and losing it loses no training: a server that fails is warned about once
(AIF809) and left alone. MLflow is imported only when tracking is on.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from aifctl.contract import Kind
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.digest import SHORT
from aifctl.runtime.job import Job

R = TypeVar("R")
TAG = "aif.train"
"""Tag of an MLflow run and of a model version: the train step's digest."""
MAX_VALUE = 6000
"""MLflow refuses longer parameter values."""
_SQLITE = "sqlite:///"
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def tracking_uri(root: Path) -> str:
    """MLflow's embedded store of a laptop: `<root>/mlflow.db`, with its artifacts in `<root>/mlartifacts`."""
    return f"{_SQLITE}{root.absolute() / 'mlflow.db'}"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a registered model. `source` is the URL of a folder."""

    model: str
    source: str
    tags: dict[str, str]
    alias: str


class Tracker:
    """Writes to one MLflow run. With tracking off, or after a failure, every call does nothing."""

    def __init__(self, job: Job, train: str | None) -> None:
        self._job, self._train = job, train
        self._client: Any = None
        self._run_id: str | None = None
        self._off = job.site.tracking is None or train is None

    @property
    def run_id(self) -> str | None:
        """The MLflow run, created if it is not there; None where tracking is off or down."""
        self._do("open the run", lambda client, run_id: None)
        return self._run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Nested mappings become dotted names. A value that was logged before stays as it is."""
        flat = dict(_flat(values))
        self._do("log parameters", lambda client, run_id: _log_params(client, run_id, flat))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        def write(client: Any, run_id: str) -> None:
            for name, value in values.items():
                client.log_metric(run_id, name, float(value), step=step)

        self._do("log metrics", write)

    def tags(self, values: Mapping[str, str]) -> None:
        def write(client: Any, run_id: str) -> None:
            for name, value in values.items():
                client.set_tag(run_id, name, value)

        self._do("set tags", write)

    def artifacts(self, path: Path, folder: str | None = None) -> None:
        """A file, or everything below a folder."""
        name = "log_artifacts" if path.is_dir() else "log_artifact"
        self._do("log artifacts", lambda client, run_id: getattr(client, name)(run_id, str(path), folder))

    def begin(self) -> None:
        """The run goes on, whatever became of it in an earlier attempt."""
        self._do("begin the run", lambda client, run_id: client.update_run(run_id, status="RUNNING"))

    def finish(self, status: str = "FINISHED") -> None:
        """FINISHED or FAILED."""
        self._do("end the run", lambda client, run_id: client.set_terminated(run_id, status))

    def register(self, name: str, source: str, tags: Mapping[str, str], alias: str) -> str | None:
        """A version of the registered model, the same one for the same tags, with the alias on it; None where off.

        `source` is a URL. A server takes no folder of ours for a source: that is uploaded to the run's artifacts.
        """

        def write(client: Any, run_id: str) -> str:
            return _register(client, run_id, Version(name, source, dict(tags), alias))

        return self._do("register the model", write)

    def _do(self, doing: str, write: Callable[[Any, str], R]) -> R | None:
        if self._off:
            return None
        assert self._job.site.tracking is not None
        try:
            with _alone(self._job.site.tracking):
                if self._client is None:
                    self._client = client(self._job.site.tracking)
                if self._run_id is None:
                    self._run_id = _find_or_create(self._client, self._job, str(self._train))
                return write(self._client, self._run_id)
        except Exception as error:  # noqa: BLE001 - MLflow's back ends raise what they like; none may end a training
            self._off = True
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            message = _without_password(f"MLflow at {self._job.site.tracking} could not {doing}: {reason}")[:400]
            hint = "the step goes on without tracking"
            self._job.warn(Diagnostic("AIF809", message, hint, severity=Severity.WARNING))
            return None


def open_tracker(job: Job) -> Tracker:
    """The tracker of the job's training: its own digest for train, else that of its input `train`."""
    if job.spec.kind is Kind.TRAIN:
        return Tracker(job, job.digest)
    trains = (p.digest for p in job.inputs.values() if p.about.get("kind") == Kind.TRAIN)
    return Tracker(job, next(trains, None))


def client(uri: str) -> Any:
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _find_or_create(client: Any, job: Job, train: str) -> str:
    experiment = _experiment(client, job, f"{job.spec.tenant}/{job.spec.model}")
    found = _first_run(client, experiment, train)
    if found is not None:
        return found
    tags = {TAG: train, "aif.model": job.spec.model, "aif.tenant": job.spec.tenant, "aif.run": job.site.run}
    name = f"{job.spec.model}-{train[:SHORT]}"
    created = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    # Another step may have created one at the same moment: the first by (time, id) is everyone's.
    first = _first_run(client, experiment, train) or created
    if first != created:
        client.delete_run(created)
    return first


def _experiment(client: Any, job: Job, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    uri = str(job.site.tracking)
    location = Path(uri.removeprefix(_SQLITE)).parent.joinpath("mlartifacts").as_uri() if _is_sqlite(uri) else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except Exception:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _first_run(client: Any, experiment: str, train: str) -> str | None:
    runs = client.search_runs([experiment], filter_string=f"tags.`{TAG}` = '{train}'", max_results=50)
    return min(((run.info.start_time, run.info.run_id) for run in runs), default=(0, None))[1]


def _log_params(client: Any, run_id: str, values: Mapping[str, str]) -> None:
    there = client.get_run(run_id).data.params
    for name, value in values.items():
        if name not in there:
            client.log_param(run_id, name, value)


def _register(client: Any, run_id: str, wanted: Version) -> str:
    name = wanted.model
    if not any(model.name == name for model in client.search_registered_models(f"name = '{name}'")):
        client.create_registered_model(name)
    for version in client.search_model_versions(f"name = '{name}'"):
        if wanted.tags.items() <= version.tags.items():
            break
    else:
        source = _source(client, run_id, wanted)
        version = client.create_model_version(name, source=source, run_id=run_id, tags=wanted.tags)
    client.set_registered_model_alias(name, wanted.alias, version.version)
    return str(version.version)


def _source(client: Any, run_id: str, wanted: Version) -> str:
    """Where the registry says that the version lies.

    A server refuses a local path that is not below the run's own artifacts (mlflow.server.handlers,
    `_validate_source_run`): it would serve files of its own machine. So the files go there.
    """
    local = wanted.source.startswith("file:") and client.tracking_uri.startswith(("http://", "https://"))
    if not local:
        return wanted.source
    folder = f"exports/{wanted.model}"
    client.log_artifacts(run_id, unquote(urlsplit(wanted.source).path), folder)
    return f"{client.get_run(run_id).info.artifact_uri}/{folder}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", str(value)[:MAX_VALUE]


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """SQLite takes one writer, and MLflow's first one creates the tables: processes of this machine take turns."""
    if not _is_sqlite(uri):
        yield
        return
    database = Path(uri.removeprefix(_SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_sqlite(uri: str) -> bool:
    return uri.startswith(_SQLITE)


def _without_password(text: str) -> str:
    """A URL may carry one, and errors quote their URL."""
    return re.sub(r"://[^/@\s]+@", "://", text)
