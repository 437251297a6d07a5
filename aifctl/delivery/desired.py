"""What an environment should hold, unit by unit, for a plan against its cluster and for an apply.

    spec files → those that the cache knows: their units' digests | the rest: compiled → `Desired`

Where the cache knows everything, neither specs nor the platform file are read; of a unit that it knows, manifests are
made only if something of it has to be looked at more closely. Findings and units are those of a compile of everything;
where models get into each other's way, that is what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl.cluster.inventory import Unit
from aifctl.cluster.wanted import Object, Wanted
from aifctl.delivery import cache, environments
from aifctl.delivery.cache import Entry, clash
from aifctl.delivery.environments import Address
from aifctl.delivery.known import Known, look
from aifctl.delivery.sharing import crew_of, pieces
from aifctl.delivery.tree import is_known
from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Identity, Manifest
from aifctl.render.write import Written
from aifctl.spec.files import Chosen

if TYPE_CHECKING:
    from aifctl.delivery.units import Part
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
    known = look(asked.roots, asked.platform, whole=asked.whole, name=asked.name, purpose="units", cached=asked.cached)
    work = _Work(Source(asked=asked, chosen=known.chosen, root=known.root), known)
    if known.is_all and any(entry.models for entry in known.hits):
        about = _About(*known.cache.about)
        if known.holds_more:
            _remember(known, about, [])
        return work.remembered(about)
    parts = work.compiled()
    if clash([*known.remembered, *_all(parts, "entries")]):
        return work.at_once()
    if asked.cached and not work.source.ground.diagnostics:
        noisy = set(_all(parts, "noisy"))
        _remember(known, _about(work.source), [entry for entry in _all(parts, "entries") if entry.spec not in noisy])
    return work.desired(parts)


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
    address, platform = environments.address(source.environment), source.ground.platform
    name = platform.metadata.name if platform is not None else ""
    return _About(address.name, address.context, address.deliverer, name)


@dataclass(frozen=True, slots=True)
class _Work:
    source: Source
    known: Known

    def compiled(self, *, in_pieces: bool = True) -> list[Part]:
        """Of what has to be compiled. Raises Report: AIF114, and AIF522 where a process of ours is killed."""
        from aifctl.delivery import units
        from aifctl.spec import load

        known, ground, environment = self.known, self.source.ground, self.source.environment
        with crew_of(units.Worker(ground, environment), len(known.rest) if in_pieces else 1) as crew:
            parts: list[Part] = crew.share("compile", pieces(known.rest, crew.count))
        has_any = any(entry.models for entry in known.hits) or any(part.specs for part in parts)
        if not has_any and not known.missing and not ground.diagnostics and not any(part.loaded for part in parts):
            raise load.nothing(self.source.asked.roots)
        return parts if known.is_grounded else [units.ground(ground, environment), *parts]

    def at_once(self) -> Desired:
        """All of it compiled in one piece: models that get into each other's way are judged together."""
        work = replace(self, known=replace(self.known, hits=[], base=None, rest=self.known.chosen))
        return work.desired(work.compiled(in_pieces=False))

    def desired(self, parts: list[Part]) -> Desired:
        """What was compiled, and what the cache knows."""
        from aifctl import pipeline

        about, ground = _about(self.source), self.source.ground
        known = self.remembered(about)
        loaded = (*self.known.missing, *_all(parts, "loaded"), *ground.diagnostics)
        frozen = frozenset(_all(parts, "frozen")) | (frozenset() if self.known.whole else {""})
        failed = {(about.name, name) for name in frozen if name}
        return replace(
            known,
            wanted=(*_all(parts, "wanted"), *known.wanted),
            specs=known.specs.union(_all(parts, "specs")),
            complete=known.complete and is_known(failed, loaded),
            diagnostics=pipeline.finish(replace(ground, diagnostics=loaded), _all(parts, "found")),
            texts={**ground.texts, **{file: text for part in parts for file, text in part.texts.items()}},
            frozen=frozen,
        )

    def remembered(self, about: _About) -> Desired:
        """As if what the cache knows were all."""
        return Desired(
            source=self.source,
            address=about.address,
            platform=about.platform,
            wanted=tuple(chain.from_iterable(map(self._units, self.known.remembered))),
            specs=frozenset(entry.spec for entry in self.known.hits if entry.models),
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
        found = next((each for each in environments.wanted(compiled) if each.unit == unit), None)
        if found is None or found.tree != tree:
            with suppress(OSError):
                self.known.place.file.unlink()
            raise Report(Diagnostic("AIF736", f"{unit} compiles to other objects than a moment ago", "run it again"))
        return found.manifests


def _all(parts: Iterable[Part], name: str) -> Iterable[Any]:
    return chain.from_iterable(getattr(part, name) for part in parts)


def _remember(known: Known, about: _About, quiet: Iterable[Entry]) -> None:
    sealed = (cache.sealed(known.place, each, Written(), known.began) for each in quiet)
    known.remember([each for each in sealed if each is not None], (about.name,), astuple(about))
