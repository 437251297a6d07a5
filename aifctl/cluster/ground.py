"""What the comparisons of one plan share, and what one of them comes to. Values."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aifctl.cluster.client import Client
from aifctl.cluster.discovery import Resource
from aifctl.cluster.inventory import Entry, Unit
from aifctl.cluster.policy import Policy
from aifctl.cluster.snapshot import Live, Snapshot
from aifctl.cluster.wanted import Object, Wanted
from aifctl.diagnostics import Diagnostic
from aifctl.manifest import CRD, Identity, Manifest
from aifctl.plan.change import Action, Change
from aifctl.plan.masking import Masking, masking
from aifctl.render.ownership import ENVIRONMENT, MODEL, TENANT

OTHER_TOOLS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Labels and annotations of tools that would fight over an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What whoever applies has decided."""

    force_conflicts: bool = False
    confirm_replace: bool = False
    dry_run: bool = False
    """Ask the server about new objects too; without it they are simply applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One wanted object. `body` is what to send; `force` is set when only people's fields stand against it."""

    wanted: Wanted
    place: int
    """Among the unit's objects."""
    change: Change
    resource: Resource | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    live: Live | None = None
    entry: Entry | None = None
    force: bool = False
    managed: list[Mapping[str, Any]] | None = None
    """managedFields to write first: fields of people became ours."""
    keep_replicas: int | None = None
    """Replicas to hand over to an autoscaler."""
    problems: tuple[Diagnostic, ...] = ()
    """Why it can't be applied."""

    @property
    def object(self) -> Object:
        return self.wanted.objects[self.place]

    @property
    def manifest(self) -> Manifest:
        """Made now, if no other object of its unit had to be looked at. Raises Report."""
        return self.wanted.manifests[self.place]

    @property
    def identity(self) -> Identity:
        return self.object.identity

    @property
    def action(self) -> Action:
        return self.change.action


@dataclass(frozen=True)
class Ground:
    """What all comparisons of one plan share."""

    client: Client
    snapshot: Snapshot
    policy: Policy
    choices: Choices
    wanted: tuple[Wanted, ...]
    salt: bytes
    differing: tuple[Wanted, ...] = ()
    """Units of which something may be shown. What is secret in the others is in their live objects."""
    read_only: set[str] = field(default_factory=set)
    """Identities that were compared without the server's help, for want of the right to ask."""
    elsewhere: Mapping[Identity, Unit] = field(default_factory=dict)
    """Homes of objects whose units are not planned here."""

    @cached_property
    def masks(self) -> Masking:
        """A value that is secret on either side is masked on both."""
        ours = (manifest for each in self.differing for manifest in each.manifests)
        both = [*ours, *(_without_bookkeeping(live) for live in self.snapshot.objects.values())]
        return masking(both, both, self.salt)

    @cached_property
    def namespaces(self) -> frozenset[str]:
        """Those that this apply creates."""
        found = (each.identity for wanted in self.wanted for each in wanted.objects)
        return frozenset(identity.name for identity in found if identity.kind == "Namespace")

    @cached_property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """(group, kind) of the CRDs that this apply creates."""
        brought = (each for each in self.wanted if any(o.identity.kind == CRD for o in each.objects))
        specs = [m.object.get("spec") or {} for each in brought for m in each.manifests if m.kind == CRD]
        return frozenset((spec.get("group", ""), (spec.get("names") or {}).get("kind", "")) for spec in specs)

    @cached_property
    def homes(self) -> Mapping[Identity, Unit]:
        ours = {each.identity: wanted.unit for wanted in self.wanted for each in wanted.objects}
        return ChainMap(ours, {**self.elsewhere})


def unit_of(live: Live, environment: str) -> Unit | None:
    """Whose a live object says it is; None for nobody's of this environment."""
    labels = (live.get("metadata") or {}).get("labels") or {}
    if labels.get(ENVIRONMENT) != environment:
        return None
    model = labels.get(MODEL, "")
    return Unit(environment, labels.get(TENANT, "") if model else "", model)


def notes(live: Live) -> Mapping[str, str]:
    """Labels and annotations."""
    metadata = live["metadata"]
    return {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}


def delivered_by(live: Live) -> str | None:
    """The other tool that says an object is its own."""
    noted = notes(live)
    return next((tool for key, tool in OTHER_TOOLS.items() if key in noted), None)


def _without_bookkeeping(live: Live) -> Manifest:
    """What may hold a secret: managedFields and status are most of an object."""
    told = {key: value for key, value in live.items() if key not in ("metadata", "status")}
    return Manifest({**told, "metadata": {"name": live["metadata"]["name"]}})
