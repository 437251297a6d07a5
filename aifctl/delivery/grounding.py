"""What environments need before any model, as a render of the whole repository makes it: files, findings, an entry.

It depends on the platform file alone, which every entry of the cache depends on: so it has no inputs of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from aifctl import pipeline
from aifctl.delivery.cache import GROUND, Entry
from aifctl.diagnostics import Diagnostic
from aifctl.render.tree import CLUSTER, ROOT, tree
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """`found`: findings by environment; `environments`: those whose ground could be made."""

    files: dict[str, bytes] = field(default_factory=dict)
    found: tuple[tuple[Diagnostic, ...], ...] = ()
    environments: frozenset[str] = frozenset()
    entry: Entry = field(default_factory=lambda: Entry(spec=GROUND, named=False))


def none(environments: list[Environment]) -> Ground:
    """What is not asked for, or known to be as it was."""
    return Ground(found=((),) * len(environments))


def compiled(repository: Repository, environments: list[Environment]) -> Ground:
    """Raises Report as `tree` does."""
    made = {each.name: pipeline.compile_ground(repository, each) for each in environments}
    known = {name: manifests for name, (manifests, _) in made.items() if manifests is not None}
    trees = {name: tree(manifests, name) for name, manifests in known.items()}
    files = dict(chain.from_iterable(each.items() for each in trees.values()))
    entry = Entry(
        spec=GROUND,
        named=False,
        objects=tuple(f"{name} {each.identity}" for name, manifests in known.items() for each in manifests),
        folders=tuple(f"{ROOT}/{name}/{CLUSTER}" for name in known),
        files=tuple(files),
    )
    return Ground(
        files=files,
        found=tuple(tuple(found) for _, found in made.values()),
        environments=frozenset(known),
        entry=entry,
    )
