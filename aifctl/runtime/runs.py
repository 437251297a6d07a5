"""Run manifests, `runs/<run>.json` in a store: what ran, from what, on what, with which results.

A manifest is written whole and atomically: when the run starts, after each step, and at the end. One of a laptop's run
that says `running` while nobody holds the run's lock belongs to a run that was killed: it is shown as `interrupted`. A
cluster's run holds no lock of this machine, whatever the store is: what it says stands.
Everything here raises store.Fault where the store can't be read or written.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import Any

from aifctl.contract import Kind, StepSpec
from aifctl.diagnostics.model import Diagnostic, Report, Severity
from aifctl.runtime import locks
from aifctl.runtime.store import Fault, FileEntry, Store

MANIFEST = 1
"""Version of the manifest."""
FOLDER = "runs"
LOCAL = "local-"
"""How the names of runs begin that `aifctl run` executes on a machine of its own."""
PACKAGES = (
    "aifctl", "numpy", "pandas", "pyarrow", "scikit-learn", "torch", "lightning", "tensorflow", "keras", "transformers",
    "safetensors", "onnx", "onnxruntime", "onnxscript", "tf2onnx", "mlflow", "fsspec", "xgboost",
)  # fmt: skip
"""Packages whose versions are recorded, where they are installed."""
TRAINING_FIELDS = ("framework", "model", "loop", "epochs", "batch", "seed", "precision")
HISTORY = 50
"""Earlier executions of the same run that a manifest keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """`state` is waiting, running, done, cached, failed, skipped or interrupted; times are UTC, ISO 8601."""

    kind: str
    digest: str | None = None
    state: str = "waiting"
    seconds: float | None = None
    started: str | None = None
    ended: str | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run. `state` is running, done, failed or interrupted; `created` is its first start, `started` its last."""

    run: str
    model: str
    state: str
    created: str
    started: str
    ended: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The resolved spec, overlays and `--set` applied."""
    steps: Mapping[str, StepRecord] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Step → {digest, files: {name: {sha256, size}}}."""
    git: Mapping[str, Any] = field(default_factory=dict)
    """{commit, branch, dirty, changed}; empty outside a repository."""
    command: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    """{started, ended, state} of its earlier executions, oldest first."""
    manifest: int = MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the caller knows of a run. `root` is a folder of the spec's repository; `spec` plain JSON values."""

    model: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    root: Path | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Runs, newest first, and a warning for each file that is no run manifest."""

    records: tuple[RunRecord, ...]
    diagnostics: tuple[Diagnostic, ...]


class Recorder:
    """Keeps one run's manifest up to date."""

    def __init__(self, store: Store, record: RunRecord) -> None:
        self.store = store
        self.record = record

    def step(self, name: str, **changes: Any) -> None:
        """Changes fields of one step's record and writes the manifest."""
        steps = {**self.record.steps, name: replace(self.record.steps[name], **changes)}
        self.save(steps=steps)

    def published(self, name: str, digest: str, outputs: Mapping[str, Any], files: Mapping[str, FileEntry]) -> None:
        """Takes over what a step has left. Does not write: `step` follows."""
        listed = {file: {"sha256": entry.sha256, "size": entry.size} for file, entry in sorted(files.items())}
        artifacts = {**self.record.artifacts, name: {"digest": digest, "files": listed}}
        metrics = self.record.metrics
        if self.record.steps[name].kind == Kind.EVALUATE:
            metrics = {**metrics, **_numbers(outputs.get("metrics"))}
        self.record = replace(self.record, artifacts=artifacts, metrics=metrics)

    def save(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        text = json.dumps(asdict(self.record), indent=1, ensure_ascii=True, default=str) + "\n"
        self.store.write(f"{FOLDER}/{self.record.run}.json", text.encode())


def begin(store: Store, run: str, about: About, steps: Iterable[StepSpec]) -> Recorder:
    """A recorder for a run that starts now; what an earlier execution of the same run recorded becomes its history."""
    steps = tuple(steps)
    started = now()
    earlier = _read_quietly(store, run)
    history = () if earlier is None else (*earlier.history, _execution(earlier))[-HISTORY:]
    record = RunRecord(
        run=run,
        model=about.model,
        state="running",
        created=started if earlier is None else earlier.created,
        started=started,
        spec=about.spec,
        steps={spec.name: StepRecord(kind=str(spec.kind), digest=spec.digest) for spec in steps},
        parameters=parameters_of(steps),
        git={} if about.root is None else git_state(about.root),
        command=about.command,
        machine=describe_machine(),
        history=history,
    )
    recorder = Recorder(store, record)
    recorder.save()
    return recorder


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _execution(record: RunRecord) -> dict[str, Any]:
    state = "interrupted" if record.state == "running" else record.state
    return {"started": record.started, "ended": record.ended, "state": state}


def parameters_of(steps: Iterable[StepSpec]) -> dict[str, Any]:
    """What a run was trained with: fields of the training section and the user's parameters below `params.`."""
    found: dict[str, Any] = {}
    for spec in steps:
        if spec.kind == Kind.TRAIN:
            found |= {name: spec.config[name] for name in TRAINING_FIELDS if spec.config.get(name) is not None}
            found |= {f"params.{name}": value for name, value in dict(spec.config.get("params") or {}).items()}
    return found


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, Mapping):
        return {}
    return {str(k): float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def git_state(root: Path) -> dict[str, Any]:
    """Commit, branch, whether files differ from it, and up to 50 of their names; {} without Git or a repository."""
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=normal")
    if commit is None or changed is None:
        return {}
    names = [line[3:] for line in changed.splitlines()]
    branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD") or ""
    return {"commit": commit.strip(), "branch": branch.strip(), "dirty": bool(names), "changed": names[:50]}


def _git(root: Path, *arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, env=environment, timeout=30, check=True, text=True, errors="backslashreplace",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def describe_machine() -> dict[str, Any]:
    """Host, system, CPUs, Python and the versions of installed `PACKAGES`."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def list_runs(store: Store, model: str | None = None) -> Listing:
    """All runs of a store (of one model), newest first. A broken or foreign file becomes a warning (AIF848)."""
    records: list[RunRecord] = []
    diagnostics: list[Diagnostic] = []
    for name in store.names(FOLDER):
        if not name.endswith(".json"):
            continue
        try:
            record = parse(name.removesuffix(".json"), store.read(f"{FOLDER}/{name}") or b"")
        except (ValueError, Fault) as error:
            diagnostics.append(_broken(name, str(error)))
            continue
        if model in (None, record.model):
            records.append(replace(record, state="interrupted") if _is_dead(store, record) else record)
    records.sort(key=lambda record: (record.started, record.run), reverse=True)
    return Listing(tuple(records), tuple(diagnostics))


def _is_dead(store: Store, record: RunRecord) -> bool:
    """Whether a run that says it is running has nobody who runs it. Of others than its own this machine can't know."""
    if record.state != "running" or store.local is None or is_elsewhere(record.run):
        return False
    return not locks.is_running(store.local, record.run)


def is_elsewhere(run: str) -> bool:
    """Whether a cluster runs it, which takes no locks in a store, even where this machine has mounted it."""
    return not run.startswith(LOCAL)


def _broken(name: str, why: str) -> Diagnostic:
    return Diagnostic(
        "AIF848",
        f"`{FOLDER}/{name}` is no run manifest: {why}",
        hint="it is left out; remove it, or run the model again to write it anew",
        severity=Severity.WARNING,
    )


def parse(name: str, text: bytes) -> RunRecord:
    """A manifest's content. Raises ValueError, in one line, for what is none, or belongs to another run."""
    from pydantic import TypeAdapter, ValidationError

    try:
        record = TypeAdapter(RunRecord).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise ValueError(f"{at}: {first['msg'].lower()}" if at else first["msg"].lower()) from None
    if record.manifest > MANIFEST:
        raise ValueError(f"it has version {record.manifest}, this aifctl reads {MANIFEST}")
    if record.run != name:
        raise ValueError(f"it describes run `{record.run}`")
    return record


def _read_quietly(store: Store, run: str) -> RunRecord | None:
    text = store.read(f"{FOLDER}/{run}.json")
    try:
        return None if text is None else parse(run, text)
    except ValueError:
        return None  # it is written anew


def find(listing: Listing, name: str) -> RunRecord:
    """The run of this name, or the only one whose name (`local-` may be left out) starts so. Raises Report (AIF849)."""
    exact = [record for record in listing.records if record.run == name]
    found = exact or [
        r for r in listing.records if r.run.startswith(name) or r.run.removeprefix(LOCAL).startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    names = [record.run for record in listing.records]
    if found:
        hint = f"it could be {', '.join(f'`{record.run}`' for record in found[:5])}: write more of the name"
        raise Report(Diagnostic("AIF849", f"more than one run is named `{name}…`", hint=hint))
    close = get_close_matches(name, names, n=1) or names[:1]
    hint = f"did you mean `{close[0]}`?" if close else "there is no run in this store yet: `aifctl run` makes one"
    raise Report(Diagnostic("AIF849", f"no run is named `{name}`", hint=hint))


def record_to_json(record: RunRecord) -> dict[str, Any]:
    return asdict(record)


def listing_to_json(listing: Listing) -> dict[str, Any]:
    return {"runs": [record_to_json(record) for record in listing.records]}
