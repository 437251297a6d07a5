"""Which pods tell how a workload fares: those of its newest template.

A workload that makes new pods before it takes old ones away (`maxUnavailable: 0`) keeps one that crashes until its
successor is ready. What ails it is what was just corrected, and says nothing of what comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aifctl.cluster.health import kinds, reading
from aifctl.cluster.health.reading import Seen, at, text

Pod = Mapping[str, Any]
Template = Callable[[Pod], tuple[str, str]]
"""To which workload a pod belongs, and which of its templates made it; empty where the pod does not say."""

REVISIONS = ("deployment.kubernetes.io/revision", "rollout.argoproj.io/revision")
"""Annotations of ReplicaSets: a number that grows, also when a workload goes back to an earlier template."""
HASHES = ("pod-template-hash", "rollouts-pod-template-hash")
REVISION = "controller-revision-hash"


def has_sets(pods: Iterable[Pod]) -> bool:
    """Whether ReplicaSets made any of these pods, so that `newest` has a use for them."""
    return any(_controller(each).get("kind") == "ReplicaSet" for each in pods)


def newest(found: Mapping[str, Any], pods: Iterable[Pod], sets: Iterable[Mapping[str, Any]] = ()) -> list[Pod]:
    """Those of a workload's pods that its newest template made: none where its controller has not seen it yet.

    All of them of a run, where their labels do not say what made them, and where no other takes the place of one that
    does not come up: a StatefulSet that keeps an order waits for it without end
    (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback).
    `sets` are its ReplicaSets; without them the youngest pod is taken for one of the newest template. Never raises.
    """
    seen, every = reading.open_object(reading.mapping(found)), [each for each in pods if isinstance(each, Mapping)]
    group, name = reading.group_kind(seen.found)
    kind = kinds.of(group, name)
    if kind.run:
        return every
    if kind.observes and _is_behind(seen):
        return []
    if (group, name) == ("apps", "StatefulSet"):
        wanted = text(seen.status.get("updateRevision")) if _goes_on(seen) else ""
        return [each for each in every if not wanted or _label(each, REVISION) in (wanted, "")]
    if (group, name) == ("apps", "DaemonSet"):
        return every if _by_hand(seen) else _by_age(every, lambda each: ("", _label(each, REVISION)))
    return _by_sets(every, [each for each in sets if isinstance(each, Mapping)])


def _is_behind(seen: Seen) -> bool:
    return seen.generation is not None and seen.observed is not None and seen.observed < seen.generation


def _goes_on(seen: Seen) -> bool:
    """A StatefulSet that replaces a pod whatever the others are in."""
    partition = reading.count(at(seen.spec, "updateStrategy", "rollingUpdate", "partition"))
    return seen.spec.get("podManagementPolicy") == "Parallel" and not partition and not _by_hand(seen)


def _by_hand(seen: Seen) -> bool:
    return text(at(seen.spec, "updateStrategy", "type")) == "OnDelete"


def _by_sets(pods: list[Pod], sets: list[Mapping[str, Any]]) -> list[Pod]:
    """Without the pods of ReplicaSets of which their owner has a newer one."""
    if not sets:
        return _by_age(pods, _of_set)
    last: dict[str, int] = {}
    for each in sets:
        owner = _owner(each)
        last[owner] = max(last.get(owner, 0), _revision(each))
    old = {_uid(each) for each in sets if _revision(each) < last[_owner(each)]} - {""}
    return [each for each in pods if text(_controller(each).get("uid")) not in old]


def _by_age(pods: list[Pod], template: Template) -> list[Pod]:
    """Those of the template that the youngest is of, of each workload; those that do not say stay."""
    living = [each for each in pods if template(each)[1] and not at(each, "metadata", "deletionTimestamp")]
    youngest: dict[str, str] = {}
    for each in living:
        workload, _ = template(each)
        youngest[workload] = max(youngest.get(workload, ""), _born(each))
    last = {template(each) for each in living if _born(each) == youngest[template(each)[0]]}
    return [each for each in pods if template(each) in last or not template(each)[1]]


def _of_set(pod: Pod) -> tuple[str, str]:
    """A ReplicaSet is named after its owner, and the hash of its template."""
    made = next((value for value in (_label(pod, each) for each in HASHES) if value), "")
    return text(_controller(pod).get("name")).removesuffix(f"-{made}"), made


def _controller(found: Any) -> Mapping[str, Any]:
    owners = reading.mappings(at(found, "metadata", "ownerReferences"))
    return next((each for each in owners if each.get("controller") is True), {})


def _owner(found: Mapping[str, Any]) -> str:
    return text(_controller(found).get("uid")) or _uid(found)


def _uid(found: Mapping[str, Any]) -> str:
    return text(at(found, "metadata", "uid"))


def _revision(found: Mapping[str, Any]) -> int:
    values = (reading.integer(at(found, "metadata", "annotations", each)) for each in REVISIONS)
    return next((value for value in values if value is not None), 0)


def _label(pod: Pod, name: str) -> str:
    return text(at(pod, "metadata", "labels", name))


def _born(pod: Pod) -> str:
    return text(at(pod, "metadata", "creationTimestamp"))
