"""Which spec files a former run knows all about, and which have to be compiled."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aifctl.delivery import cache
from aifctl.delivery.cache import Cache, Entry, Place
from aifctl.diagnostics import Diagnostic
from aifctl.spec.files import Chosen, files, find_platform, root_of
from aifctl.spec.paths import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """`hits` need not be compiled, the `rest` does. `base` is what the environments need before any model, where that
    need not be compiled either; `whole`: the files hold all models there are. `missing` are the findings of looking for
    files, `began` (ns) is when that was."""

    chosen: Chosen
    missing: list[Diagnostic]
    whole: bool
    began: int
    cache: Cache
    hits: list[Entry]
    rest: Chosen
    base: Entry | None

    @property
    def place(self) -> Place:
        return self.cache.place

    @property
    def root(self) -> Path:
        return self.place.root

    @property
    def remembered(self) -> list[Entry]:
        return [*([self.base] if self.base is not None else []), *self.hits]

    @property
    def is_grounded(self) -> bool:
        return self.base is not None or not self.whole

    @property
    def is_all(self) -> bool:
        """Whether nothing has to be compiled."""
        return bool(self.hits) and not self.rest and not self.missing and self.is_grounded

    @property
    def holds_more(self) -> bool:
        """Whether the cache still knows specs that are gone."""
        return self.whole and len(self.remembered) != len(self.cache.lines)

    def remember(self, entries: Iterable[Entry], environments: tuple[str, ...], about: tuple[Any, ...] = ()) -> None:
        """Keeps these entries of the `rest`, and those of the specs that were not asked for."""
        compiled = {shown(path, self.root) for path, _ in self.rest}
        kept = [each.spec for each in self.remembered] if self.whole else self.cache.specs - compiled
        self.cache.save(entries, environments, kept, self.began, about)


def look(
    roots: list[Path],
    platform: Path | None,
    *,
    whole: bool,
    name: str | None,
    purpose: str,
    out: Path | None = None,
    cached: bool = True,
    writes: bool = True,
) -> Known:
    """What is known of the spec files at `roots`, for the environment of that name (None: for all of them).

    `purpose` tells apart what is remembered; `out` is where files are rendered to (None: below the repository's root).
    A cache is looked at where it is asked for, `writes`: and added to.
    """
    chosen, missing = files(roots)
    platform = platform or find_platform(roots)
    root = root_of(roots, chosen, platform)
    began = cache.clock(root) if cached and writes and chosen else time.time_ns()
    place = Place(root=root, out=out or root, platform=platform, request=name or "", purpose=purpose)
    found = cache.read(place) if cached else Cache(place, "")
    hits, rest = found.split(chosen)
    return Known(
        chosen=chosen,
        missing=missing,
        whole=whole,
        began=began,
        cache=found,
        hits=hits,
        rest=rest,
        base=found.entry(cache.GROUND, False) if whole else None,
    )
