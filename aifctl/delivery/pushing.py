"""`aifctl push`: code and `path` data, by content, into an environment's store, so that pods find them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aifctl import pipeline
from aifctl.diagnostics import Diagnostic, Report
from aifctl.pipeline import CompiledModel
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment


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
    uri = environment.store.uri.rstrip("/")
    rows = [row for model in compiled.models for row in (*_push_code(model, uri), *_push_data(model, uri))]
    folders = [each for model in compiled.models for each in _folders(model)]
    return rows, pipeline.finish(loaded, [*compiled.diagnostics, *folders])


def _push_code(model: CompiledModel, uri: str) -> Iterator[Pushed]:
    from aifctl.runtime import archives
    from aifctl.runtime.store import Store

    run, fact = model.bundle.run, model.unit.facts.code
    if run is None or run.code is None or run.code.delivery != "archive" or fact is None or fact.path is None:
        return
    data, name = archives.pack(fact.path), archives.name(run.code.digest)
    sent = Store(uri).write(name, data, exclusive=True)
    yield Pushed(model.unit.name, "code", f"{uri}/{name}", len(data), sent)


def _push_data(model: CompiledModel, uri: str) -> Iterator[Pushed]:
    from aifctl.runtime.store import Store

    unit = model.unit
    for dataset in unit.spec.datasets:
        fact = unit.facts.data.get(dataset.name)
        locked = unit.lock.datasets.get(dataset.name) if unit.lock is not None else None
        sha256 = (fact.sha256 if fact is not None else None) or (locked.sha256 if locked is not None else None)
        if fact is None or fact.path is None or sha256 is None or fact.path.is_dir():
            continue
        name = f"data/sha256-{sha256}"
        sent = Store(uri).send(name, fact.path)
        yield Pushed(unit.name, f"data {dataset.name}", f"{uri}/{name}", fact.size, sent)


def _folders(model: CompiledModel) -> Iterator[Diagnostic]:
    """Steps read one file a dataset."""
    for index, dataset in enumerate(model.unit.spec.datasets):
        fact = model.unit.facts.data.get(dataset.name)
        if fact is not None and fact.path is not None and fact.path.is_dir():
            where = model.unit.at("spec", "datasets", index, "source", "path")
            yield Diagnostic("AIF351", f"`{dataset.source.path}` is a folder", "name one file", where)
