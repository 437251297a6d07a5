"""Accelerators of the platform's catalogue against the cluster's nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aifctl.delivery.doctor.answer import Answer, Level, doubt, good, wrong
from aifctl.delivery.doctor.subject import Subject, places
from aifctl.spec.models.platform import AcceleratorFlavour
from aifctl.spec.models.pods import PodDefaults
from aifctl.spec.quantities import parse_size

Node = Mapping[str, Any]
Nodes = Sequence[Node]
ACCELERATORS = (
    "nvidia.com/", "amd.com/", "google.com/tpu", "intel.com/", "gpu.intel.com/", "habana.ai/", "aws.amazon.com/neuron",
)  # fmt: skip
"""How resources of accelerators begin, as their device plug-ins name them."""
GPU_MEMORY = "nvidia.com/gpu.memory"
"""Label that NVIDIA's feature discovery gives a node: MiB of one device."""
NEAR = 0.15
"""Share that a device's memory may differ from its name's: 80 GB of an H100 are 79.6 GiB or 81,559 MiB."""
SHOWN = 3
EFFECTS = ("NoSchedule", "NoExecute")


async def nodes(subject: Subject) -> AsyncIterator[Answer]:
    found = await subject.nodes()
    if not found:
        yield wrong("AIF797", "the cluster has no nodes", "add some: nothing can be scheduled")
        return
    away = [node["metadata"]["name"] for node in found if not _is_ready(node)]
    closed = [node["metadata"]["name"] for node in found if node["spec"].get("unschedulable")]
    if away:
        hint = "`kubectl describe node` says why"
        yield doubt("AIF797", f"{len(away)} of {len(found)} nodes are not ready: {', '.join(sorted(away)[:5])}", hint)
    else:
        yield good(f"{len(found)} nodes are ready{f', {len(closed)} of them closed to new pods' if closed else ''}")


async def catalogue(subject: Subject) -> AsyncIterator[Answer]:
    """An answer a flavour; where its nodes do not fit, one a reason: a problem where a model here asks for it."""
    if not subject.flavours:
        return
    found, used = await subject.nodes(), _used(subject)
    for flavour in subject.flavours:
        models = used.get(flavour.name, [])
        answers = list(_of_flavour(flavour, found, subject.environment.pod_defaults, models))
        for answer in answers:
            yield answer if models or answer.level is not Level.PROBLEM else replace(answer, level=Level.WARNING)


async def uncatalogued(subject: Subject) -> AsyncIterator[Answer]:
    known = {flavour.resource for flavour in subject.flavours}
    found: dict[str, int] = {}
    for node in await subject.nodes():
        for resource in node["status"].get("allocatable") or {}:
            if resource.startswith(ACCELERATORS) and resource not in known and _count(node, resource):
                found[resource] = found.get(resource, 0) + _count(node, resource)
    for resource, count in sorted(found.items()):
        hint = "add a flavour to the platform's `hardware`, so that models can ask for it"
        yield doubt("AIF797", f"{count} × {resource} are there, and no flavour of the catalogue names them", hint)


def _used(subject: Subject) -> dict[str, list[str]]:
    """Flavour → models that ask for it in this environment."""
    found: dict[str, list[str]] = {}
    for model in subject.compiled.models:
        asked = (place.accelerator for place in places(model.bundle))
        for name in {accelerator.name for accelerator in asked if accelerator is not None}:
            found.setdefault(name, []).append(model.bundle.model)
    return found


def _of_flavour(flavour: AcceleratorFlavour, found: Nodes, pods: PodDefaults, models: list[str]) -> Iterator[Answer]:
    having = [node for node in found if _count(node, flavour.resource)]
    chosen = {**pods.node_selector, **flavour.node_selector}
    nodes = [node for node in having if _labels(node, chosen)]
    if not nodes:
        yield _nowhere(flavour, chosen, having, models)
        return
    reasons = [*_taints(flavour, nodes, pods.tolerations), *_sizes(flavour, nodes), *_memory(flavour, nodes)]
    total = sum(_count(node, flavour.resource) for node in nodes)
    yield from reasons or [good(f"{flavour.name}: {total} × {flavour.resource} on {len(nodes)} nodes")]


def _nowhere(flavour: AcceleratorFlavour, chosen: Mapping[str, str], having: Nodes, models: list[str]) -> Answer:
    """A catalogue is of the whole platform: what is in another cluster is missed here only by who asks for it."""
    wanted = ", ".join(f"{key}={value}" for key, value in sorted(chosen.items()))
    labels = f" with the labels {wanted}" if having else ""
    if not models:
        return good(f"{flavour.name}: no node has {flavour.resource}{labels}, and no model here asks for it")
    message = f"{flavour.name}: no node has {flavour.resource}{labels}, which {', '.join(sorted(models)[:SHOWN])} wants"
    if not having:
        hint = "add nodes, or install the device plug-in on them; where nodes come by autoscaling, nothing is wrong"
        return doubt("AIF797", message, hint)
    others = ((node, key) for node in having for key in chosen if not _has(node, key, chosen))
    there = sorted({f"{key}={_of(node).get(key, 'none')}" for node, key in others})
    hint = f"nodes have {', '.join(there[:SHOWN])}: change the flavour's `node_selector`, or label the nodes"
    return wrong("AIF797", message, hint)


def _taints(flavour: AcceleratorFlavour, nodes: Nodes, more: Iterable[Mapping[str, Any]]) -> Iterator[Answer]:
    given = [*flavour.tolerations, *more]
    refused = {
        (taint["key"], taint["effect"])
        for node in nodes
        for taint in node["spec"].get("taints") or ()
        if taint["effect"] in EFFECTS and not taint["key"].startswith("node.kubernetes.io/")
        and not any(_tolerates(toleration, taint) for toleration in given)
    }  # fmt: skip
    closed = [
        node for node in nodes if any((t["key"], t["effect"]) in refused for t in node["spec"].get("taints") or ())
    ]
    if not closed:
        return
    for key, effect in sorted(refused):
        hint = f"add {{key: {key}, operator: Exists, effect: {effect}}} to the flavour's `tolerations`"
        say = wrong if len(closed) == len(nodes) else doubt
        message = f"{flavour.name}: {len(closed)} of {len(nodes)} nodes have the taint {key}:{effect}"
        yield say("AIF797", f"{message}, which it does not tolerate", hint)


def _sizes(flavour: AcceleratorFlavour, nodes: Nodes) -> Iterator[Answer]:
    largest = max(_count(node, flavour.resource) for node in nodes)
    if too_many := [count for count in flavour.per_node if count > largest]:
        hint = "take it out of `per_node`: a step that asks for it would wait for ever"
        message = f"{flavour.name}: `per_node` offers {', '.join(map(str, too_many))}"
        yield wrong("AIF797", f"{message}; the largest of its nodes has {largest} × {flavour.resource}", hint)
    if flavour.nodes is not None and flavour.nodes > len(nodes):
        message = f"{flavour.name}: a step may take {flavour.nodes} nodes, and {len(nodes)} are there"
        yield doubt("AIF797", message, "lower the flavour's `nodes`, unless nodes come by autoscaling")


def _memory(flavour: AcceleratorFlavour, nodes: Nodes) -> Iterator[Answer]:
    labelled = {_of(node)[GPU_MEMORY] for node in nodes if _of(node).get(GPU_MEMORY, "").isdigit()}
    for label in sorted(labelled, key=int):
        there = int(label) * 1024**2
        if flavour.memory is not None and abs(there - flavour.memory) > NEAR * flavour.memory:
            message = (
                f"{flavour.name}: `memory` says {flavour.memory / 1024**3:.0f} GiB, nodes {there / 1024**3:.0f} GiB"
            )
            yield doubt("AIF797", message, "correct it, or choose these nodes by another label")


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or "")


def _count(node: Node, resource: str) -> int:
    """Devices that pods can have."""
    text = str((node["status"].get("allocatable") or {}).get(resource, "0"))
    return int(text) if text.isdigit() else int(parse_size(text))


def _of(node: Node) -> Mapping[str, str]:
    return node["metadata"].get("labels") or {}


def _has(node: Node, key: str, chosen: Mapping[str, str]) -> bool:
    return _of(node).get(key) == chosen[key]


def _labels(node: Node, chosen: Mapping[str, str]) -> bool:
    return all(_has(node, key, chosen) for key in chosen)


def _is_ready(node: Node) -> bool:
    conditions = node["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
