"""`aifctl push`: code and `path` data, by content, into an environment's store, so that pods find them."""

from __future__ import annotations

from dataclasses import dataclass

from aifctl import pipeline
from aifctl.diagnostics import Diagnostic, Report
from aifctl.pipeline import CompiledModel
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment
from aifctl.spec.paths import inside


@dataclass(frozen=True, slots=True)
class Pushed:
    """One thing in the store. `sent` is False where it was there already; `size` is bytes."""

    model: str
    what: str
    uri: str
    size: int
    sent: bool


def push(loaded: Repository, environment: Environment) -> tuple[list[Pushed], tuple[Diagnostic, ...]]:
    """Sends what the environment's runs read and can't get from Git. Raises Report where there is no store."""
    if environment.store is None:
        hint = "give it a `store: {uri: …}` in the platform file"
        raise Report(Diagnostic("AIF630", f"environment `{environment.name}` has no store to push to", hint))
    compiled = pipeline.compile_environment(loaded, environment)
    rows = [row for model in compiled.models for row in _push(model, environment.store.uri)]
    return rows, compiled.diagnostics


def _push(model: CompiledModel, uri: str) -> list[Pushed]:
    from aifctl.runtime import archives
    from aifctl.runtime.store import Store

    store, unit, rows, uri = Store(uri), model.unit, [], uri.rstrip("/")
    run = model.bundle.run
    if run is not None and run.code is not None and run.code.delivery == "archive" and unit.facts.code is not None:
        assert unit.facts.code.path is not None
        data = archives.pack(unit.facts.code.path)
        name = archives.name(run.code.digest)
        sent = store.write(name, data, exclusive=True)
        rows.append(Pushed(unit.name, "code", f"{uri}/{name}", len(data), sent))
    for dataset in unit.spec.datasets:
        fact = unit.facts.data.get(dataset.name)
        sha256 = fact.sha256 if fact is not None else None
        locked = unit.lock.datasets.get(dataset.name) if unit.lock is not None else None
        sha256 = sha256 or (locked.sha256 if locked is not None else None)
        if fact is None or sha256 is None or dataset.source.path is None:
            continue
        name = f"data/sha256-{sha256}"
        sent = store.send(name, inside(unit.folder, dataset.source.path))
        rows.append(Pushed(unit.name, f"data {dataset.name}", f"{uri}/{name}", fact.size, sent))
    return rows
