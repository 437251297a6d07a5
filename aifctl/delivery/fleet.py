"""`aifctl render`: what is not known to be unchanged is compiled, by several processes if there is much, and written.

    spec files → those that the cache knows | the rest → compiled in pieces → judged together → written where compiled

Bytes, findings and lists are those of `tree.render` and `tree.put`, which see everything at once. Where models get into
each other's way (two of one name, one object twice, a file outside of its model's folder), these do the work instead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aifctl.delivery import cache
from aifctl.delivery.cache import Cache, Entry, Place, clash
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.render.write import Scope, Written, check, write
from aifctl.spec.files import Chosen, files, find_platform, root_of
from aifctl.spec.paths import shown

if TYPE_CHECKING:
    from aifctl.delivery.grounding import Ground
    from aifctl.delivery.pieces import Part
    from aifctl.spec.load import Repository
    from aifctl.spec.models.platform import Environment

Tell = Callable[[tuple[Diagnostic, ...], Mapping[str, str]], None]
"""Takes findings, and the texts that they point into."""
MANY = 64
"""Spec files from which on several processes are worth their start."""
SHARES = 6
"""Pieces a process: so many that all end at about the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`choose` picks the environments of a loaded platform; `name` is that of the one that was asked for, None for all.

    `roots` are files and folders of specs; `whole`: they hold all there are, so what no model makes is removed. `jobs`
    processes; None: AIFCTL_JOBS, else as many as the work and the machine suggest.
    """

    roots: list[Path]
    whole: bool
    platform: Path | None = None
    name: str | None = None
    choose: Callable[[Repository], list[Environment]]
    out: Path | None = None
    dry: bool = False
    cached: bool = True
    jobs: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failed`: an error was told."""

    written: Written
    failed: bool = False


def render(request: Request, tell: Tell) -> Outcome:
    """Makes the tree (dry: says what that would do). Findings are told once, before anything is written.

    Raises Report: AIF114 where there is no spec; what choosing the environments, `tree.render` and `tree.put` raise;
    AIF521 when a process of ours is killed.
    """
    work = _sorted(request)
    if work.hits and not work.rest and not work.missing and work.is_grounded and not clash(work.remembered):
        return _unchanged(work)
    return _changed(work, tell) or _all_at_once(work, tell)


@dataclass(frozen=True, slots=True)
class _Work:
    """`hits` need not be compiled, the `rest` does; `missing` are the findings of looking for files. `base` is what the
    environments need before any model, where that need not be compiled either."""

    request: Request
    place: Place
    known: Cache
    began: int
    missing: list[Diagnostic]
    hits: list[Entry] = field(default_factory=list)
    rest: Chosen = field(default_factory=list)
    base: Entry | None = None

    @property
    def is_grounded(self) -> bool:
        return self.base is not None or not self.request.whole

    @property
    def remembered(self) -> list[Entry]:
        return [*([self.base] if self.base is not None else []), *self.hits]


class _Crew(Protocol):
    """`workers.Crew`, or one worker in this process."""

    @property
    def count(self) -> int: ...

    def share(self, method: str, pieces: list[Any]) -> list[Any]: ...

    def all(self, method: str, argument: Any) -> list[Any]: ...


def _sorted(request: Request) -> _Work:
    chosen, missing = files(request.roots)
    platform = request.platform or find_platform(request.roots)
    root = root_of(request.roots, chosen, platform)
    began = cache.clock(root) if request.cached and chosen and not request.dry else time.time_ns()
    place = Place(root=root, out=request.out or root, platform=platform, request=request.name or "")
    known = cache.read(place) if request.cached else Cache(place, "")
    base = known.entry(cache.GROUND, False) if request.whole else None
    hits, rest = known.split(chosen)
    return _Work(request, place, known, began, missing, hits, rest, base)


def _unchanged(work: _Work) -> Outcome:
    """Nothing is compiled; but what is nobody's may have come to lie in the tree."""
    environments = work.known.environments or ()
    complete = frozenset(environments if work.request.whole else ())
    stale = _others(work, Scope(complete=complete, kept=_folders(work.hits)), {})
    if work.request.whole and not work.request.dry and len(work.remembered) != len(work.known.lines):
        work.known.save([], environments, [each.spec for each in work.remembered], work.began)
    return Outcome(_together([stale, _of_hits(work)]))


def _changed(work: _Work, tell: Tell) -> Outcome | None:
    """None where models get into each other's way."""
    from aifctl.delivery import grounding
    from aifctl.delivery.pieces import Order, Worker
    from aifctl.delivery.tree import is_known
    from aifctl.spec import load

    request = work.request
    ground = replace(load.ground(request.roots, work.rest, request.platform), root=work.place.root)
    environments = request.choose(ground)
    names = tuple(each.name for each in environments)
    if work.hits and names != work.known.environments:
        return None
    try:
        base = grounding.none(environments) if work.is_grounded else grounding.compiled(ground, environments)
    except Report:
        return None
    keep = request.cached and not request.dry and not ground.diagnostics
    with _crew(Worker(ground, environments, work.place, work.began), work) as crew:
        parts: list[Part] = crew.share("compile", _pieces(work.rest, crew.count))
        if any(part.clashes for part in parts) or clash([*work.remembered, base.entry, *_entries(parts)]):
            return None
        found = _findings(work, ground, parts, base)
        if not found and not work.hits and not any(part.documents for part in parts):
            raise load.nothing(request.roots)
        tell(found, {**ground.texts, **{file: text for part in parts for file, text in part.texts.items()}})
        failed = frozenset(chain.from_iterable(part.failed for part in parts))
        results = crew.all("write", Order(failed, request.dry, keep))
    loaded = [*ground.diagnostics, *chain.from_iterable(part.loaded for part in parts)]
    complete = frozenset(names if work.request.whole and is_known(failed, loaded) else ())
    kept = _folders([*work.hits, *_entries(parts)])
    scope = Scope(complete=complete, failed=failed, kept=kept, grounds=base.environments)
    others = _others(work, scope, base.files)
    if keep:
        entries = [entry for _, written in results for entry in written]
        if base.environments and not any(base.found):
            entries += filter(None, [cache.sealed(work.place, base.entry, others, work.began)])
        _remember(work, names, entries)
    written = _together([others, _of_hits(work), *(written for written, _ in results)])
    return Outcome(written, any(d.severity is Severity.ERROR for d in found))


def _all_at_once(work: _Work, tell: Tell) -> Outcome:
    from aifctl.delivery import tree
    from aifctl.spec import load

    request = work.request
    repository = load.load(request.roots, request.platform)
    rendered = tree.render(repository, request.choose(repository), complete=work.request.whole)
    tell(rendered.diagnostics, repository.texts)
    written = tree.put(rendered, request.out, dry=request.dry)
    return Outcome(written, any(d.severity is Severity.ERROR for d in rendered.diagnostics))


# Pieces


@dataclass(frozen=True, slots=True)
class _Alone:
    """One worker in this process."""

    worker: object
    count: int = 1

    def share(self, method: str, pieces: list[Any]) -> list[Any]:
        return [getattr(self.worker, method)(piece) for piece in pieces]

    def all(self, method: str, argument: Any) -> list[Any]:
        return [getattr(self.worker, method)(argument)]


def _crew(worker: object, work: _Work) -> AbstractContextManager[_Crew]:
    jobs, most = work.request.jobs, len(work.rest)
    forced = jobs is not None or "AIFCTL_JOBS" in os.environ
    if most < 2 or (most < MANY and not forced):
        return nullcontext(_Alone(worker))
    from aifctl.delivery import workers

    count = min(jobs or workers.jobs(), most)
    return workers.Crew(worker, count) if count > 1 else nullcontext(_Alone(worker))


def _pieces(chosen: Chosen, count: int) -> list[Chosen]:
    """In order, so that results are too."""
    if count == 1:
        return [chosen] if chosen else []
    size = -(-len(chosen) // (count * SHARES))
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]


# The whole


def _findings(work: _Work, ground: Repository, parts: list[Part], base: Ground) -> tuple[Diagnostic, ...]:
    """As one compile of everything orders them."""
    from aifctl import pipeline

    loaded = (*work.missing, *chain.from_iterable(part.loaded for part in parts), *ground.diagnostics)
    whole = replace(ground, diagnostics=loaded)
    by_environment = zip(*(part.found for part in parts), base.found, strict=True)
    found = [pipeline.finish(whole, chain.from_iterable(each)) for each in by_environment]
    return pipeline.ordered(chain.from_iterable(found))


def _entries(parts: list[Part]) -> list[Entry]:
    return [entry for part in parts for entry in part.entries]


def _folders(entries: Iterable[Entry]) -> frozenset[str]:
    return frozenset(chain.from_iterable(entry.folders for entry in entries))


def _others(work: _Work, scope: Scope, files: Mapping[str, bytes]) -> Written:
    """These files, which are no model's, are made; what lies in folders of models that are gone is removed."""
    return (check if work.request.dry else write)(work.place.out, files, scope)


def _of_hits(work: _Work) -> Written:
    return Written(unchanged=tuple(chain.from_iterable(entry.files for entry in work.remembered)))


def _together(each: list[Written]) -> Written:
    def joined(name: str) -> tuple[str, ...]:
        return tuple(sorted(chain.from_iterable(getattr(written, name) for written in each)))

    return Written(joined("new"), joined("changed"), joined("removed"), joined("unchanged"))


def _remember(work: _Work, environments: tuple[str, ...], entries: list[Entry]) -> None:
    compiled = {shown(path, work.place.root) for path, _ in work.rest}
    kept = [each.spec for each in work.remembered] if work.request.whole else work.known.specs - compiled
    cache.settle()
    work.known.save(entries, environments, kept, work.began)
