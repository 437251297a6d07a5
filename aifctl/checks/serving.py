"""Scaling and rollout: bounds, metrics and steps that can work where the model is to serve."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from aifctl.checks.subject import Subject, listed
from aifctl.diagnostics import Diagnostic
from aifctl.spec.models.platform import Capability
from aifctl.spec.models.serving import Autoscaling

MEASURES: dict[str, Capability] = {"cpu": "metrics-server"}
"""What has to be installed for the autoscaler to know a metric; any other comes from the server, by Prometheus."""
MEASURES_OTHERS: Capability = "prometheus-operator"
STEPPED = ("canary",)


def check(subject: Subject) -> Iterator[Diagnostic]:
    serving = subject.spec.serving
    if serving is None:
        return
    if serving.autoscaling is not None:
        yield from _autoscaling(subject, serving.autoscaling)
    yield from _rollout(subject)


def _autoscaling(subject: Subject, scaling: Autoscaling) -> Iterator[Diagnostic]:
    if scaling.min > scaling.max:
        message = f"autoscaling from {scaling.min} to {scaling.max} replicas leaves none to choose from"
        # Where an overlay gives one of them, that one is the newcomer.
        last = "max" if "environments" in subject.at("serving", "autoscaling", "max").path else "min"
        where = subject.at("serving", "autoscaling", last)
        yield Diagnostic("AIF372", message, "let `min` be at most `max`", where)
    if scaling.min == 0:
        message = "scaled to zero, nothing would be left to notice a request and wake the model up"
        yield Diagnostic("AIF373", message, "use `min: 1`", subject.at("serving", "autoscaling", "min"))
    wanted = MEASURES.get(scaling.metric, MEASURES_OTHERS)
    if subject.serves_on_cluster and wanted not in subject.environment.capabilities:
        message = f"nothing in `{subject.environment.name}` measures `{scaling.metric}` for the autoscaler"
        hint = f"that takes `{wanted}` among the environment's `capabilities`"
        if "metrics-server" in subject.environment.capabilities:
            hint += "; `metric: cpu` works there"
        yield Diagnostic("AIF374", message, hint, subject.at("serving", "autoscaling", "metric"))


def _rollout(subject: Subject) -> Iterator[Diagnostic]:
    assert subject.spec.serving is not None
    rollout = subject.spec.serving.rollout
    path = ("serving", "rollout")
    if rollout.steps and rollout.strategy not in STEPPED:
        message = f"a rollout of strategy `{rollout.strategy}` has no `steps`"
        hint = f"leave them out, or use {listed(f'strategy: {name}' for name in STEPPED)}"
        yield Diagnostic("AIF375", message, hint, subject.at(*path, "steps", on_key=True))
        return
    if rollout.strategy in STEPPED and not rollout.steps:
        hint = "add some: `steps: [{weight: 10, pause: 5m}, {weight: 50, pause: 5m}]`"
        yield Diagnostic("AIF375", "a canary needs `steps`", hint, subject.at(*path, "strategy"))
    for index, (one, other) in enumerate(pairwise(rollout.steps), 1):
        if other.weight <= one.weight:
            falls = other.weight < one.weight
            message = (
                f"the weight falls from {one.weight} to {other.weight}"
                if falls
                else f"two steps have weight {one.weight}"
            )
            where = subject.at(*path, "steps", index, "weight")
            yield Diagnostic("AIF375", message, "let every step take a greater share than the one before", where)
