"""A unit as it was compiled, as far as it must be known. Values; whoever compiles says how manifests are had."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

from aifctl import digest
from aifctl.cluster.inventory import Unit
from aifctl.manifest import Identity, Manifest
from aifctl.plan.diff import is_run


class Object(NamedTuple):
    """What must be known of a wanted object to see that nothing is to be done."""

    identity: Identity
    api_version: str
    intent: str
    """Digest of its manifest."""
    run: bool

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`objects` in apply order; `tree` is the digest of their manifests, which are made when they are first asked for:
    of a unit that is as it should be they never are."""

    unit: Unit
    tree: str
    objects: tuple[Object, ...]
    make: Callable[[], tuple[Manifest, ...]] = field(repr=False, compare=False)

    @cached_property
    def manifests(self) -> tuple[Manifest, ...]:
        """Raises Report where they can't be made any more."""
        return self.make()


def wanted(unit: Unit, manifests: Iterable[Manifest]) -> Wanted:
    """A unit whose manifests are there. It goes from process to process."""
    found = tuple(manifests)
    return Wanted(unit=unit, tree=tree_of(found), objects=tuple(map(object_of, found)), make=partial(tuple, found))


def object_of(manifest: Manifest) -> Object:
    return Object(manifest.identity, manifest.api_version, intent(manifest), is_run(manifest))


def intent(manifest: Manifest) -> str:
    return manifest.digest[:24]


def tree_of(manifests: Iterable[Manifest]) -> str:
    """Digest of a unit's manifests, whatever their order."""
    return digest.of_value(sorted(manifest.digest for manifest in manifests))
