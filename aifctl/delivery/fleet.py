"""`aifctl render`: what is not known to be unchanged is compiled, by several processes if there is much, and written.

    spec files → those that the cache knows | the rest → compiled in pieces → judged together → written where compiled

Bytes, findings and lists are those of `tree.render` and `tree.put`, which see everything at once. Where models get into
each other's way (two of one name, one object twice, a file outside of its model's folder), these do the work instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from aifctl.delivery import cache
from aifctl.delivery.cache import Entry, clash
from aifctl.delivery.known import Known, look
from aifctl.delivery.sharing import crew_of, pieces
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.render.write import Scope, Written, check, write

if TYPE_CHECKING:
    from aifctl.delivery.grounding import Ground
    from aifctl.delivery.pieces import Part
    from aifctl.spec.load import Repository
    from aifctl.spec.models.platform import Environment

Tell = Callable[[tuple[Diagnostic, ...], Mapping[str, str]], None]
"""Takes findings, and the texts that they point into."""


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
    AIF522 when a process of ours is killed.
    """
    known = look(
        request.roots,
        request.platform,
        whole=request.whole,
        name=request.name,
        purpose="render",
        out=request.out,
        cached=request.cached,
        writes=not request.dry,
    )
    if known.is_all and not clash(known.remembered):
        return _unchanged(request, known)
    return _changed(request, known, tell) or _all_at_once(request, tell)


def _unchanged(request: Request, known: Known) -> Outcome:
    """Nothing is compiled; but what is nobody's may have come to lie in the tree."""
    environments = known.cache.environments or ()
    complete = frozenset(environments if request.whole else ())
    stale = _others(request, known, Scope(complete=complete, kept=_folders(known.hits)), {})
    if known.holds_more and not request.dry:
        known.remember([], environments)
    return Outcome(_together([stale, _of_hits(known)]))


def _changed(request: Request, known: Known, tell: Tell) -> Outcome | None:
    """None where models get into each other's way."""
    from aifctl.delivery import grounding
    from aifctl.delivery.pieces import Order, Worker
    from aifctl.delivery.tree import is_known
    from aifctl.spec import load

    ground = replace(load.ground(request.roots, known.rest, request.platform), root=known.root)
    environments = request.choose(ground)
    names = tuple(each.name for each in environments)
    if known.hits and names != known.cache.environments:
        return None
    try:
        base = grounding.none(environments) if known.is_grounded else grounding.compiled(ground, environments)
    except Report:
        return None
    keep = request.cached and not request.dry and not ground.diagnostics
    with crew_of(Worker(ground, environments, known.place, known.began), len(known.rest), request.jobs) as crew:
        parts: list[Part] = crew.share("compile", pieces(known.rest, crew.count))
        if any(part.clashes for part in parts) or clash([*known.remembered, base.entry, *_entries(parts)]):
            return None
        found = _findings(known, ground, parts, base)
        if not found and not known.hits and not any(part.documents for part in parts):
            raise load.nothing(request.roots)
        tell(found, {**ground.texts, **{file: text for part in parts for file, text in part.texts.items()}})
        failed = frozenset(chain.from_iterable(part.failed for part in parts))
        results = crew.all("write", Order(failed, request.dry, keep))
    loaded = [*ground.diagnostics, *chain.from_iterable(part.loaded for part in parts)]
    complete = frozenset(names if request.whole and is_known(failed, loaded) else ())
    kept = _folders([*known.hits, *_entries(parts)])
    scope = Scope(complete=complete, failed=failed, kept=kept, grounds=base.environments)
    others = _others(request, known, scope, base.files)
    if keep:
        entries = [entry for _, written in results for entry in written]
        if base.environments and not any(base.found):
            entries += filter(None, [cache.sealed(known.place, base.entry, others, known.began)])
        cache.settle()
        known.remember(entries, names)
    written = _together([others, _of_hits(known), *(written for written, _ in results)])
    return Outcome(written, any(d.severity is Severity.ERROR for d in found))


def _all_at_once(request: Request, tell: Tell) -> Outcome:
    from aifctl.delivery import tree
    from aifctl.spec import load

    repository = load.load(request.roots, request.platform)
    rendered = tree.render(repository, request.choose(repository), complete=request.whole)
    tell(rendered.diagnostics, repository.texts)
    written = tree.put(rendered, request.out, dry=request.dry)
    return Outcome(written, any(d.severity is Severity.ERROR for d in rendered.diagnostics))


def _findings(known: Known, ground: Repository, parts: list[Part], base: Ground) -> tuple[Diagnostic, ...]:
    """As one compile of everything orders them."""
    from aifctl import pipeline

    loaded = (*known.missing, *chain.from_iterable(part.loaded for part in parts), *ground.diagnostics)
    whole = replace(ground, diagnostics=loaded)
    by_environment = zip(*(part.found for part in parts), base.found, strict=True)
    found = [pipeline.finish(whole, chain.from_iterable(each)) for each in by_environment]
    return pipeline.ordered(chain.from_iterable(found))


def _entries(parts: list[Part]) -> list[Entry]:
    return [entry for part in parts for entry in part.entries]


def _folders(entries: Iterable[Entry]) -> frozenset[str]:
    return frozenset(chain.from_iterable(entry.folders for entry in entries))


def _others(request: Request, known: Known, scope: Scope, files: Mapping[str, bytes]) -> Written:
    """These files, which are no model's, are made; what lies in folders of models that are gone is removed."""
    return (check if request.dry else write)(known.place.out, files, scope)


def _of_hits(known: Known) -> Written:
    return Written(unchanged=tuple(chain.from_iterable(entry.files for entry in known.remembered)))


def _together(each: list[Written]) -> Written:
    def joined(name: str) -> tuple[str, ...]:
        return tuple(sorted(chain.from_iterable(getattr(written, name) for written in each)))

    return Written(joined("new"), joined("changed"), joined("removed"), joined("unchanged"))
