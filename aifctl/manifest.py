"""A Kubernetes object as aifctl writes it: identity, place in the apply order, digest and YAML. Does no I/O.

Its YAML is canonical (`aifctl.canonical`); keys keep the template's order, but for apiVersion, kind, metadata and the
first keys of metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from aifctl import digest as digests
from aifctl.diagnostics import Diagnostic, Report

ORDER = {
    kind: place
    for place, kind in enumerate(
        (
            "Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "ResourceQuota", "LimitRange",
            "NetworkPolicy", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Secret",
            "ExternalSecret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim", "Service",
        )
    )
}  # fmt: skip
"""Apply order of kinds that others lean on; every other kind comes after these, but for `LATE`."""
LATE = {"HorizontalPodAutoscaler": 1, "PodDisruptionBudget": 2, "Ingress": 3, "HTTPRoute": 4}
"""Kinds that point at a workload, so they come after it."""

TOP = ("apiVersion", "kind", "metadata")
METADATA = ("name", "generateName", "namespace", "labels", "annotations")
CRD = "CustomResourceDefinition"
HOLDERS = frozenset({"Namespace", CRD, "PersistentVolume", "PersistentVolumeClaim"})
"""Kinds that take others' objects or data along: deleted only by who says so."""


class Identity(NamedTuple):
    """What a cluster knows an object by; `group` is empty for core kinds, `namespace` for cluster-scoped ones."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One Kubernetes object as plain values. `object` is not to be changed after it is wrapped."""

    object: Mapping[str, Any]
    _digest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ValueError for what is no Kubernetes object."""
        metadata = self.object.get("metadata")
        parts = (self.object.get("apiVersion"), self.object.get("kind"))
        if not isinstance(metadata, Mapping):
            raise ValueError("a Kubernetes object needs metadata")
        if not all(isinstance(part, str) and part for part in (*parts, metadata.get("name"))):
            raise ValueError("a Kubernetes object needs apiVersion, kind and metadata.name, each a text")

    @property
    def api_version(self) -> str:
        return str(self.object["apiVersion"])

    @property
    def kind(self) -> str:
        return str(self.object["kind"])

    @property
    def group(self) -> str:
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def metadata(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self.object["metadata"]
        return metadata

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace") or "")

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.metadata.get("annotations") or {}

    @property
    def identity(self) -> Identity:
        return Identity(self.group, self.kind, self.namespace, self.name)

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        """Sort key of the apply order; total, so that a sorted list never depends on how it was made."""
        kind = self.kind
        place = ORDER.get(kind, len(ORDER) + LATE.get(kind, 0))
        return (place, kind, self.group, self.namespace, self.name)

    @property
    def digest(self) -> str:
        """sha256 of the object's values, whatever the order of its keys. Computed once."""
        if not self._digest:
            self._digest.append(digests.of_value(self.object))
        return self._digest[0]

    def to_yaml(self) -> str:
        """Canonical YAML. Raises ValueError for values that YAML or Kubernetes can't carry."""
        from aifctl.canonical import to_yaml  # to apply an object needs none of its patterns

        return to_yaml(_ordered(self.object))


def in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Sorted in apply order. Raises Report (AIF501) when two manifests are one object."""
    found = sorted(manifests, key=lambda manifest: manifest.order)
    twice = [b.identity for a, b in pairwise(found) if a.identity == b.identity]
    if twice:
        raise Report(*(_twice(identity) for identity in dict.fromkeys(twice)))
    return found


def _twice(identity: Identity) -> Diagnostic:
    hint = "two models can't share a name in one namespace; rename one, or give it a namespace of its own"
    return Diagnostic("AIF501", f"{identity} is rendered twice", hint)


def _ordered(found: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its top and its metadata's first keys in their usual order, the rest as it came."""
    metadata = found["metadata"]
    ahead = {key: metadata[key] for key in METADATA if key in metadata}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": {**ahead, **metadata}, **_rest(found)}


def _rest(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in TOP}
