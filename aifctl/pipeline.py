"""START HERE: spec files → checked models → IR → manifests, for one environment. No logic of its own.

    load.load → load.units → checks.check → lowering.lower → render.render
    platform                              → lowering.lower_ground → render.render_ground

Findings of every stage are collected; a model with an error is left out and holds up no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aifctl import checks, ir, lowering
from aifctl.diagnostics import Diagnostic, Report, Severity, Where
from aifctl.manifest import Manifest
from aifctl.render.bundles import render, render_ground
from aifctl.spec import load, source
from aifctl.spec.load import Repository, Unit
from aifctl.spec.models.platform import Environment
from aifctl.spec.paths import shown


class Findings(Report):
    """A Report with positions, and the texts that its source lines come from."""

    def __init__(self, diagnostics: Iterable[Diagnostic], texts: dict[str, str]) -> None:
        super().__init__(*diagnostics)
        self.texts = texts


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """`clean`: nothing was found in it, no warning either."""

    unit: Unit
    bundle: ir.Bundle
    manifests: tuple[Manifest, ...] = ()
    clean: bool = True


@dataclass(frozen=True, slots=True)
class Compiled:
    """One environment's models. `diagnostics` are everyone's, with positions; `broken` says which documents
    (file, index) were left out.

    `ground` is what the environment needs before any model, in apply order; `grounded`: it was asked for and could be
    made. Where it was not, what is there stays as it is.
    """

    repository: Repository
    environment: Environment
    models: tuple[CompiledModel, ...]
    diagnostics: tuple[Diagnostic, ...]
    broken: frozenset[tuple[str, int]]
    ground: tuple[Manifest, ...] = ()
    grounded: bool = False

    @property
    def has_errors(self) -> bool:
        return any(d.severity is Severity.ERROR for d in self.diagnostics)

    @property
    def manifests(self) -> list[Manifest]:
        return [*self.ground, *(manifest for model in self.models for manifest in model.manifests)]


def compile_environment(
    repository: Repository, environment: Environment, options: lowering.Options | None = None, *, whole: bool = True
) -> Compiled:
    """Every model of the repository as this environment gets it; with its ground, where the `whole` is asked for."""
    units, found = load.units(repository, environment)
    models: list[CompiledModel] = []
    for unit in units:
        model, problems = compile_unit(repository, unit, options)
        found += problems
        if model is not None:
            models.append(model)
    kept = {model.unit.document.key for model in models}
    broken = frozenset(document.key for document in repository.documents) - kept
    ground, problems = compile_ground(repository, environment) if whole else (None, [])
    found += problems
    made, grounded = ground or (), ground is not None
    return Compiled(repository, environment, tuple(models), finish(repository, found), broken, made, grounded)


def compile_unit(
    repository: Repository, unit: Unit, options: lowering.Options | None = None
) -> tuple[CompiledModel | None, list[Diagnostic]]:
    """One model and its findings (positions still open); None where one of them is an error."""
    found = checks.check(checks.Subject(unit, repository.platform, repository.platform_file))
    if any(d.severity is Severity.ERROR for d in found):
        return None, found
    bundle = lowering.lower(unit, repository.platform, shown(unit.document.path, repository.root), options)
    if unit.environment.local:
        return CompiledModel(unit, bundle, clean=not found), found
    try:
        return CompiledModel(unit, bundle, tuple(render(bundle)), clean=not found), found
    except Report as report:
        return None, [*found, *report.diagnostics]


def compile_ground(
    repository: Repository, environment: Environment
) -> tuple[tuple[Manifest, ...] | None, list[Diagnostic]]:
    """The namespaces of the platform's tenants and what is theirs there; None where one of the findings is an error."""
    file = repository.platform_file or ""
    tenancies = lowering.lower_ground(repository.platform, environment, Path(file).name)
    try:
        return tuple(render_ground(tenancies)), []
    except Report as report:
        where = Where(file, ("spec", "tenants"), "key")
        return None, [d if d.where or d.position else replace(d, where=where) for d in report.diagnostics]


def finish(repository: Repository, found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """What loading found and these, each once, with positions, in the order of files and lines."""
    return ordered(source.resolve([*repository.diagnostics, *found], repository.texts))


def merge(compiled: Iterable[Compiled]) -> tuple[Diagnostic, ...]:
    """The findings of several environments, each once: most concern the spec as such."""
    return ordered(d for each in compiled for d in each.diagnostics)


def ordered(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Each once, in the order of files and lines; what stands in one place stays in the order it came."""
    return tuple(sorted(_once(found), key=_place))


def _once(found: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    seen: set[tuple[object, ...]] = set()
    for diagnostic in found:
        key = (diagnostic.code, diagnostic.message, diagnostic.position, diagnostic.where)
        if key not in seen:
            seen.add(key)
            yield diagnostic


def _place(diagnostic: Diagnostic) -> tuple[str, int, int]:
    position = diagnostic.position
    return (position.file, position.line, position.column) if position is not None else ("", 0, 0)
