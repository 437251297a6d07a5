"""What an environment should hold, unit by unit, for a plan against its cluster and for an apply.

    spec files → those that the cache knows: their units' digests | the rest: compiled → `Desired`

Where the cache knows everything, neither specs nor the platform file are read; of a unit that it knows, manifests are
made only if something of it has to be looked at more closely. Findings and units are those of a compile of everything;
where models get into each other's way, that is what is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl.cluster.inventory import Unit
from aifctl.cluster.wanted import Object, Wanted
from aifctl.delivery import cache, clusters
from aifctl.delivery.cache import Cache, Entry, Place, clash
from aifctl.delivery.clusters import Address
from aifctl.delivery.tree import is_known
from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Identity, Manifest
from aifctl.render.write import Written
from aifctl.spec.files import Chosen, files, find_platform, root_of
from aifctl.spec.paths import shown

if TYPE_CHECKING:
    from aifctl.pipeline import Compiled
    from aifctl.spec.load import Repository
    from aifctl.spec.models.platform import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`choose` picks the environment of a loaded platform, by `name` where it was named. `roots` are files and folders
    of specs; `whole`: they hold all there are."""

    roots: list[Path]
    whole: bool
    platform: Path | None = None
    name: str | None = None
    choose: Callable[[Repository], Environment]
    cached: bool = True


@dataclass(frozen=True, kw_only=True)
class Source:
    """The platform file and the environment that was asked for, read when they are first needed."""

    asked: Asked
    chosen: Chosen
    root: Path

    @cached_property
    def ground(self) -> Repository:
        """Raises Report."""
        from aifctl.spec import load

        return replace(load.ground(self.asked.roots, self.chosen, self.asked.platform), root=self.root)

    @cached_property
    def environment(self) -> Environment:
        """Raises Report."""
        return self.asked.choose(self.ground)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """`frozen` models do not compile (the empty name: the ground); `specs` are the files that hold any; `complete`: a
    model that is in none of them is gone. `platform` is the platform's name; `texts` are what findings point into."""

    source: Source
    address: Address
    platform: str
    wanted: tuple[Wanted, ...]
    specs: frozenset[str]
    complete: bool
    diagnostics: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()

    @property
    def root(self) -> Path:
        return self.source.root

    @property
    def environment(self) -> Environment:
        return self.source.environment

    @property
    def repository(self) -> Repository:
        """Its root and its platform; no documents."""
        return self.source.ground


def find(asked: Asked) -> Desired:
    """Raises Report: AIF114 where there is no spec, what loading the platform and choosing the environment raise."""
    chosen, missing = files(asked.roots)
    platform = asked.platform or find_platform(asked.roots)
    source = Source(asked=asked, chosen=chosen, root=root_of(asked.roots, chosen, platform))
    began = cache.clock(source.root) if asked.cached and chosen else time.time_ns()
    place = Place(root=source.root, out=source.root, platform=platform, request=asked.name or "", purpose="units")
    known = cache.read(place) if asked.cached else Cache(place, "")
    hits, rest = known.split(chosen)
    base = known.entry(cache.GROUND, False) if asked.whole else None
    work = _Work(source, place, hits, base)
    if work.knows_all(rest) and not missing:
        if asked.whole and len(work.remembered) != len(known.lines):
            _remember(known, work, _About(*known.about), [], rest, began)
        return work.remembered_whole(_About(*known.about))
    found = work.compiled(rest, missing)
    if clash([*work.remembered, *found.entries]):
        work = replace(work, hits=[], base=None)
        return work.desired(work.compiled(chosen, missing))
    if asked.cached and not source.ground.diagnostics:
        quiet = [entry for entry in found.entries if entry.spec not in found.noisy]
        _remember(known, work, _about(source), quiet, rest, began)
    return work.desired(found)


@dataclass(frozen=True, slots=True)
class _About:
    """Of the environment, in the cache: its name, its context, who delivers it, and the name of the platform."""

    name: str
    context: str | None
    deliverer: str
    platform: str

    @property
    def address(self) -> Address:
        return Address(name=self.name, context=self.context, deliverer=self.deliverer)


def _about(source: Source) -> _About:
    address, platform = clusters.address(source.environment), source.ground.platform
    name = platform.metadata.name if platform is not None else ""
    return _About(address.name, address.context, address.deliverer, name)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was compiled now. `entries` are of all its files and of the ground, `noisy` those with a finding: they are
    told each time, so they are not remembered."""

    repository: Repository
    wanted: list[Wanted]
    diagnostics: tuple[Diagnostic, ...]
    entries: list[Entry]
    noisy: frozenset[str]
    frozen: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Work:
    source: Source
    place: Place
    hits: list[Entry]
    base: Entry | None

    @property
    def remembered(self) -> list[Entry]:
        return [*([self.base] if self.base is not None else []), *self.hits]

    def knows_all(self, rest: Chosen) -> bool:
        """Whether nothing has to be compiled. A repository without any spec is for `compiled` to refuse."""
        has_models = any(entry.models for entry in self.hits)
        return has_models and not rest and (self.base is not None or not self.source.asked.whole)

    def compiled(self, rest: Chosen, missing: list[Diagnostic]) -> _Found:
        """Raises Report (AIF114)."""
        from aifctl import pipeline
        from aifctl.spec import load

        ground, bare = self.source.ground, self.source.asked.whole and self.base is None
        loaded = load.read(ground, rest)
        found = (*missing, *loaded.diagnostics, *ground.diagnostics)
        if not any(entry.models for entry in self.hits) and not loaded.documents and not found:
            raise load.nothing(self.source.asked.roots)
        repository = replace(loaded, diagnostics=found)
        compiled = pipeline.compile_environment(repository, self.source.environment, whole=bare)
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
        about = _about(self.source)
        failed = {(about.name, name) for name in found.frozen if name}
        known = self.remembered_whole(about)
        return replace(
            known,
            wanted=(*found.wanted, *known.wanted),
            specs=clusters.specs(found.repository) | known.specs,
            complete=known.complete and is_known(failed, found.repository.diagnostics),
            diagnostics=found.diagnostics,
            texts=found.repository.texts,
            frozen=found.frozen,
        )

    def remembered_whole(self, about: _About) -> Desired:
        """As if what the cache knows were all."""
        return Desired(
            source=self.source,
            address=about.address,
            platform=about.platform,
            wanted=tuple(chain.from_iterable(map(self._units, self.remembered))),
            specs=frozenset(entry.spec for entry in self.hits if entry.models),
            complete=self.source.asked.whole,
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
        from aifctl.spec import load

        chosen = [(self.source.root / entry.spec, entry.named)] if entry.spec != cache.GROUND else []
        loaded = load.read(self.source.ground, chosen)
        compiled = pipeline.compile_environment(loaded, self.source.environment, whole=not chosen)
        found = next((each for each in clusters.wanted(compiled) if each.unit == unit), None)
        if found is None or found.tree != tree:
            with suppress(OSError):
                self.place.file.unlink()
            raise Report(Diagnostic("AIF736", f"{unit} compiles to other objects than a moment ago", "run it again"))
        return found.manifests


def _entries(compiled: Compiled, rest: Chosen, *, bare: bool) -> Iterable[tuple[Entry, bool]]:
    """Of each spec file and of the ground, and whether there is nothing to tell of it."""
    from aifctl.spec import load

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


def _remember(known: Cache, work: _Work, about: _About, quiet: Iterable[Entry], rest: Chosen, began: int) -> None:
    sealed = (cache.sealed(known.place, each, Written(), began) for each in quiet)
    compiled = {shown(path, work.source.root) for path, _ in rest}
    kept = [each.spec for each in work.remembered] if work.source.asked.whole else known.specs - compiled
    known.save([each for each in sealed if each is not None], (about.name,), kept, began, about=astuple(about))
