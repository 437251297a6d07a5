"""What an environment should hold, unit by unit, for a plan against its cluster and for an apply.

    spec files → those that the cache knows: their units' digests | the rest: compiled → `Desired`

Of a unit that the cache knows, manifests are made only if something of it has to be looked at more closely. Findings
and units are those of a compile of everything; where models get into each other's way, that is what is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl.cluster.inventory import Unit
from aifctl.cluster.wanted import Object, Wanted
from aifctl.delivery import cache, clusters
from aifctl.delivery.cache import Cache, Entry, Place, clash
from aifctl.delivery.tree import is_known
from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Identity, Manifest
from aifctl.render.write import Written
from aifctl.spec import load
from aifctl.spec.files import Chosen, files, find_platform, root_of
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment
from aifctl.spec.paths import shown

if TYPE_CHECKING:
    from aifctl.pipeline import Compiled


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`choose` picks the environment of a loaded platform. `roots` are files and folders of specs; `whole`: they hold
    all there are."""

    roots: list[Path]
    whole: bool
    platform: Path | None = None
    choose: Callable[[Repository], Environment]
    cached: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """`repository` holds the documents that were compiled now. `frozen` models do not compile (the empty name: the
    ground); `specs` are the files that hold any; `complete`: a model that is in none of them is gone."""

    repository: Repository
    environment: Environment
    wanted: tuple[Wanted, ...]
    diagnostics: tuple[Diagnostic, ...]
    frozen: frozenset[str]
    specs: frozenset[str]
    complete: bool


def find(asked: Asked) -> Desired:
    """Raises Report: AIF114 where there is no spec, what loading the platform and choosing the environment raise."""
    chosen, missing = files(asked.roots)
    platform = asked.platform or find_platform(asked.roots)
    root = root_of(asked.roots, chosen, platform)
    began = cache.clock(root) if asked.cached else time.time_ns()
    ground = replace(load.ground(asked.roots, chosen, asked.platform), root=root)
    environment = asked.choose(ground)
    place = Place(root=root, out=root, platform=platform, request=environment.name, purpose="units")
    known = cache.read(place) if asked.cached else Cache(place, "")
    hits, rest = known.split(chosen)
    base = known.entry(cache.GROUND, False) if asked.whole else None
    work = _Work(asked, place, ground, environment, missing, hits, base)
    found = work.compiled(rest)
    if clash([*work.remembered, *found.entries]):
        work = replace(work, hits=[], base=None)
        return work.desired(work.compiled(chosen))
    quiet = [entry for entry in found.entries if entry.spec not in found.noisy]
    if asked.cached and not ground.diagnostics and (quiet or len(work.remembered) != len(known.lines)):
        _remember(known, work, quiet, rest, began)
    return work.desired(found)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was compiled now. `entries` are of all its files and of the ground, `noisy` those with a finding: they are
    told each time, so they are not remembered."""

    repository: Repository
    wanted: list[Wanted] = field(default_factory=list)
    diagnostics: tuple[Diagnostic, ...] = ()
    entries: list[Entry] = field(default_factory=list)
    noisy: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Work:
    asked: Asked
    place: Place
    ground: Repository
    environment: Environment
    missing: list[Diagnostic]
    hits: list[Entry]
    base: Entry | None

    @property
    def remembered(self) -> list[Entry]:
        return [*([self.base] if self.base is not None else []), *self.hits]

    def compiled(self, rest: Chosen) -> _Found:
        """Raises Report (AIF114)."""
        bare = self.asked.whole and self.base is None
        known = any(entry.models for entry in self.hits)
        if known and not rest and not bare and not self.missing and not self.ground.diagnostics:
            return _Found(self.ground)
        from aifctl import pipeline

        loaded = load.read(self.ground, rest)
        found = (*self.missing, *loaded.diagnostics, *self.ground.diagnostics)
        if not known and not loaded.documents and not found:
            raise load.nothing(self.asked.roots)
        compiled = pipeline.compile_environment(replace(loaded, diagnostics=found), self.environment, whole=bare)
        entries = list(_entries(compiled, rest, bare=bare))
        return _Found(
            repository=compiled.repository,
            wanted=list(clusters.wanted(compiled)),
            diagnostics=pipeline.merge([compiled]),
            entries=[entry for entry, _ in entries],
            noisy=frozenset(entry.spec for entry, quiet in entries if not quiet),
            frozen=frozenset(clusters.frozen(compiled)) - ({""} if self.base is not None else frozenset()),
        )

    def desired(self, found: _Found) -> Desired:
        failed = {(self.environment.name, name) for name in found.frozen if name}
        remembered = frozenset(entry.spec for entry in self.hits if entry.models)
        return Desired(
            repository=found.repository,
            environment=self.environment,
            wanted=(*found.wanted, *chain.from_iterable(map(self._units, self.remembered))),
            diagnostics=found.diagnostics,
            frozen=found.frozen,
            specs=clusters.specs(found.repository) | remembered,
            complete=self.asked.whole and is_known(failed, found.repository.diagnostics),
        )

    def _units(self, entry: Entry) -> Iterable[Wanted]:
        for unit, tree, rows in entry.units:
            key = Unit(*unit)
            objects = tuple(Object(Identity(*row[:4]), *row[4:]) for row in rows)

            def make(key: Unit = key, tree: str = tree) -> tuple[Manifest, ...]:
                return self._made(entry, key, tree)

            yield Wanted(unit=key, tree=tree, objects=objects, make=make)

    def _made(self, entry: Entry, unit: Unit, tree: str) -> tuple[Manifest, ...]:
        """Raises Report (AIF736)."""
        from aifctl import pipeline

        chosen = [(self.ground.root / entry.spec, entry.named)] if entry.spec != cache.GROUND else []
        loaded = load.read(self.ground, chosen)
        compiled = pipeline.compile_environment(loaded, self.environment, whole=not chosen)
        found = next((each for each in clusters.wanted(compiled) if each.unit == unit), None)
        if found is None or found.tree != tree:
            with suppress(OSError):
                self.place.file.unlink()
            raise Report(Diagnostic("AIF736", f"{unit} compiles to other objects than a moment ago", "run it again"))
        return found.manifests


def _entries(compiled: Compiled, rest: Chosen, *, bare: bool) -> Iterable[tuple[Entry, bool]]:
    """Of each spec file and of the ground, and whether there is nothing to tell of it."""
    repository, name = compiled.repository, compiled.environment.name
    noisy = {d.position.file if d.position is not None else None for d in compiled.diagnostics}
    wanted = {each.unit: each for each in clusters.wanted(compiled)}
    if bare:
        ground = [wanted[Unit(name)]] if Unit(name) in wanted else []
        quiet = compiled.grounded and repository.platform_file not in noisy and None not in noisy
        yield Entry(spec=cache.GROUND, named=False, units=_rows(ground), objects=_names(ground)), quiet
    models = {model.unit.document.key: model for model in compiled.models}
    for path, named in rest:
        file = shown(path, Path.cwd())
        documents = [document for document in repository.documents if document.file == file]
        made = [models[document.key] for document in documents if document.key in models]
        looked_at: Mapping[Path, bool] = {path.absolute(): True}
        for model in made:
            looked_at = {**looked_at, **load.inputs(repository, model.unit)}
        inputs = cache.inputs(repository.root, path.absolute().parent, looked_at)
        units = [wanted[Unit(name, model.bundle.tenant, model.bundle.model)] for model in made]
        entry = Entry(
            spec=shown(path, repository.root),
            named=named,
            models=tuple(document.model_name for document in documents),
            objects=_names(units),
            units=_rows(units),
            inputs=inputs[0] if inputs is not None else (),
            absent=inputs[1] if inputs is not None else (),
        )
        clean = len(made) == len(documents) and all(model.clean for model in made)
        yield entry, clean and inputs is not None and not {file, None} & noisy


def _rows(units: Iterable[Wanted]) -> tuple[Any, ...]:
    return tuple([each.unit, each.tree, [[*identity, *rest] for identity, *rest in each.objects]] for each in units)


def _names(units: Iterable[Wanted]) -> tuple[str, ...]:
    return tuple(str(each.identity) for unit in units for each in unit.objects)


def _remember(known: Cache, work: _Work, quiet: Iterable[Entry], rest: Chosen, began: int) -> None:
    sealed = (cache.sealed(known.place, each, Written(), began) for each in quiet)
    compiled = {shown(path, work.ground.root) for path, _ in rest}
    kept = [each.spec for each in work.remembered] if work.asked.whole else known.specs - compiled
    known.save([each for each in sealed if each is not None], (work.environment.name,), kept, began)
