"""A piece of a repository's spec files as the units of one environment, for an apply; and the environment's ground.

A part says all that judging the whole needs. It goes from process to process, with the manifests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aifctl import pipeline
from aifctl.cluster.inventory import Unit
from aifctl.cluster.wanted import Wanted
from aifctl.cluster.wanted import wanted as wanted_of
from aifctl.delivery import cache, environments
from aifctl.delivery.cache import Entry
from aifctl.diagnostics import Diagnostic
from aifctl.pipeline import Compiled, CompiledModel
from aifctl.spec import load, source
from aifctl.spec.files import Chosen
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment
from aifctl.spec.paths import shown
from aifctl.spec.source import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Findings of `loaded` files and those `found` in their models, and the `texts` they point into. `specs` are the
    files that hold any model, `frozen` the models that do not compile (the empty name: the ground).

    `entries` are of all files; of the `noisy` ones there is something to tell, so they are not to be remembered.
    """

    loaded: tuple[Diagnostic, ...] = ()
    found: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    wanted: tuple[Wanted, ...] = ()
    entries: tuple[Entry, ...] = ()
    noisy: frozenset[str] = frozenset()
    specs: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Worker:
    ground: Repository
    environment: Environment

    def compile(self, chosen: Chosen) -> Part:
        loaded = load.read(self.ground, chosen)
        resolved = tuple(source.resolve(list(loaded.diagnostics), loaded.texts))
        compiled = pipeline.compile_environment(replace(loaded, diagnostics=()), self.environment, whole=False)
        found = (*resolved, *compiled.diagnostics)
        files = {d.position.file if d.position is not None else None for d in found}
        wanted = {each.unit: each for each in environments.wanted(compiled)}
        made = _files(compiled)
        entries = [_entry(compiled, made, wanted, path, named) for path, named in chosen]
        return Part(
            loaded=resolved,
            found=compiled.diagnostics,
            texts={file: text for file, text in loaded.texts.items() if file in files},
            wanted=tuple(wanted.values()),
            entries=tuple(entry for entry, _, _ in entries),
            noisy=frozenset(entry.spec for entry, file, quiet in entries if not quiet or {file, None} & files),
            specs=environments.specs(loaded),
            frozen=frozenset(environments.frozen(compiled)) - {""},
        )


def ground(repository: Repository, environment: Environment) -> Part:
    """What the environment needs before any model."""
    manifests, problems = pipeline.compile_ground(repository, environment)
    wanted = (wanted_of(Unit(environment.name), manifests),) if manifests else ()
    entry = Entry(spec=cache.GROUND, named=False, units=_rows(wanted), objects=_names(wanted))
    return Part(
        found=tuple(source.resolve(problems, repository.texts)),
        texts=repository.texts,
        wanted=wanted,
        entries=(entry,),
        noisy=frozenset({cache.GROUND} if problems or manifests is None else ()),
        frozen=frozenset({""} if manifests is None else ()),
    )


@dataclass(frozen=True, slots=True)
class _File:
    """What a spec file holds, and what of it compiled."""

    documents: list[Document] = field(default_factory=list)
    models: list[CompiledModel] = field(default_factory=list)


def _files(compiled: Compiled) -> defaultdict[str, _File]:
    """By the file as it is shown; an empty one where it holds nothing."""
    made: defaultdict[str, _File] = defaultdict(_File)
    for document in compiled.repository.documents:
        made[document.file].documents.append(document)
    for model in compiled.models:
        made[model.unit.document.file].models.append(model)
    return made


def _entry(
    compiled: Compiled, made: defaultdict[str, _File], wanted: Mapping[Unit, Wanted], path: Path, named: bool
) -> tuple[Entry, str, bool]:
    """Of a spec file; its name as findings have it; and whether there is nothing to tell of its models."""
    repository, environment = compiled.repository, compiled.environment.name
    file = shown(path, Path.cwd())
    documents, models = made[file].documents, made[file].models
    looked_at: Mapping[Path, bool] = {path.absolute(): True}
    for model in models:
        looked_at = {**looked_at, **load.inputs(repository, model.unit)}
    inputs = cache.inputs(repository.root, path.absolute().parent, looked_at)
    units = [wanted[Unit(environment, model.bundle.tenant, model.bundle.model)] for model in models]
    entry = Entry(
        spec=shown(path, repository.root),
        named=named,
        models=tuple(document.model_name for document in documents),
        objects=_names(units),
        units=_rows(units),
        inputs=inputs[0] if inputs is not None else (),
        absent=inputs[1] if inputs is not None else (),
    )
    return entry, file, inputs is not None and len(models) == len(documents) and all(model.clean for model in models)


def _rows(units: Iterable[Wanted]) -> tuple[Any, ...]:
    return tuple([each.unit, each.tree, [[*identity, *rest] for identity, *rest in each.objects]] for each in units)


def _names(units: Iterable[Wanted]) -> tuple[str, ...]:
    return tuple(str(each.identity) for unit in units for each in unit.objects)
