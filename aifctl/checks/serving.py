"""Scaling and rollout: bounds, metrics and steps that can work where the model is to serve."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from aifctl.checks.subject import Subject, listed
from aifctl.diagnostics import Diagnostic
from aifctl.spec.models.platform import Capability
from aifctl.spec.models.serving import Autoscaling

SCALERS: dict[str, tuple[Capability, ...]] = {"cpu": ("metrics-server",), "memory": ("metrics-server",)}
"""Capabilities, any of which can scale by this metric; any other metric is read from Prometheus."""
CUSTOM_SCALERS: tuple[Capability, ...] = ("keda", "prometheus-operator")
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
        where = subject.at("serving", "autoscaling", "min")
        yield Diagnostic("AIF372", message, "`min` is at most `max`", where)
    if scaling.min == 0:
        message = "scaled to zero, nothing would be left to notice a request and wake the model up"
        yield Diagnostic("AIF373", message, "use `min: 1`", subject.at("serving", "autoscaling", "min"))
    able = SCALERS.get(scaling.metric, CUSTOM_SCALERS)
    if subject.serves_on_cluster and not set(able) & set(subject.environment.capabilities):
        message = f"nothing in `{subject.environment.name}` can scale by `{scaling.metric}`"
        hint = f"that takes {' or '.join(f'`{name}`' for name in able)} among the environment's `capabilities`"
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
