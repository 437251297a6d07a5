"""`aifctl lock`: looks up what moves and writes lock files beside the specs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aifctl import digest, pipeline
from aifctl.delivery.files import write_text
from aifctl.diagnostics import Diagnostic, Report
from aifctl.spec import load, locking
from aifctl.spec.load import Repository, Unit
from aifctl.spec.models.dataset import Dataset
from aifctl.spec.models.lock import LockedDataset
from aifctl.spec.paths import inside, shown


@dataclass(frozen=True, slots=True)
class Row:
    file: str
    changed: bool
    pinned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Locked:
    rows: tuple[Row, ...]
    diagnostics: tuple[Diagnostic, ...]


def lock(loaded: Repository, update: bool) -> Locked:
    """Locks every model, each on its own: one that can't be locked keeps the lock it has."""
    rows: dict[str, Row | None] = {}
    found: list[Diagnostic] = []
    for environment in load.environments(loaded.platform):
        units, problems = load.units(loaded, environment)
        found += problems
        for unit in units:
            if unit.name in rows:
                continue  # datasets and requirements are the same in every environment that trains
            try:
                rows[unit.name] = _lock(unit, update)
            except Report as report:
                rows[unit.name] = None
                found += report.diagnostics
    return Locked(tuple(row for row in rows.values() if row is not None), pipeline.finish(loaded, found))


def _lock(unit: Unit, update: bool) -> Row:
    pins = {dataset.name: _pin(unit, dataset) for dataset in locking.unlocked(unit, update)}
    requirements = None
    required = unit.spec.code.requirements if unit.spec.code is not None else None
    fact = unit.facts.requirements
    if fact is not None and fact.problem is not None:
        raise Report(
            Diagnostic("AIF351", f"`{required}` {fact.problem}", None, unit.at("spec", "code", "requirements"))
        )
    if required is not None and fact is not None and fact.sha256 and locking.requirements_outdated(unit, update):
        requirements = locking.resolve_requirements(inside(unit.folder, required), fact.sha256)
    new = locking.lock(unit, pins, requirements)
    path = load.lock_path(unit.document, unit.name)
    pinned = (*pins, *(("requirements",) if requirements is not None else ()))
    if unit.lock is None and not pins and requirements is None:
        return Row(shown(path, Path.cwd()), False, ())  # nothing moves: no file is needed
    return Row(shown(path, Path.cwd()), write_text(path, locking.text(new)), pinned)


def _pin(unit: Unit, dataset: Dataset) -> LockedDataset:
    name = locking.source_name(dataset)
    if dataset.source.path is not None:
        try:
            path = inside(unit.folder, dataset.source.path)
            sha256 = digest.of_tree(path) if path.is_dir() else digest.of_file(path)
            return LockedDataset(source=name, sha256=sha256, size=_size(path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            where = unit.at("spec", "datasets", unit.spec.datasets.index(dataset), "source", "path")
            raise Report(Diagnostic("AIF351", f"`{dataset.source.path}` {reason}", None, where)) from None
    from aifctl.runtime import pins

    pin = pins.look_up(dataset.source.value)
    return LockedDataset(source=name, sha256=pin.sha256, version=pin.version, size=pin.size)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for _, file in digest.tree_files(path)) if path.is_dir() else path.stat().st_size
