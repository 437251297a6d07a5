"""What checks look at: a model in one environment, and the platform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aifctl.diagnostics import Severity, Where
from aifctl.diagnostics.model import KeyPath
from aifctl.spec.load import Unit
from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.model import ModelSpec
from aifctl.spec.models.platform import Environment, Platform, Policy

POLICIES: dict[Policy, str] = {
    "pinned-images": "error",
    "keras-archive-in-production": "error",
    "resource-limits": "off",
    "gate-required": "off",
}
"""Levels of policies that the platform says nothing about."""


@dataclass(frozen=True, slots=True)
class Subject:
    """`platform` None means this machine, with defaults; `platform_file` is the name it goes by in messages."""

    unit: Unit
    platform: Platform | None
    platform_file: str | None = None

    @property
    def spec(self) -> ModelSpec:
        return self.unit.spec

    @property
    def environment(self) -> Environment:
        return self.unit.environment

    @property
    def trains(self) -> bool:
        return "train" in self.environment.roles

    @property
    def serves(self) -> bool:
        return "serve" in self.environment.roles

    @property
    def trains_on_cluster(self) -> bool:
        return self.trains and not self.environment.local

    @property
    def serves_on_cluster(self) -> bool:
        return self.serves and not self.environment.local

    def at(self, *path: str | int, on_key: bool = False) -> Where:
        """A place below `spec`."""
        return self.unit.at("spec", *path, on_key=on_key)

    def at_environment(self, *path: str | int, on_key: bool = False) -> Where:
        """A place in the platform's entry of this environment; the model's name where there is no such entry."""
        names = [e.name for e in self.platform.spec.environments] if self.platform is not None else []
        if self.environment.name not in names:
            return self.unit.at("metadata", "name")
        return self.at_platform("environments", names.index(self.environment.name), *path, on_key=on_key)

    def at_platform(self, *path: str | int, on_key: bool = False) -> Where:
        """A place below the platform's `spec`; the model's name where the platform's file is not known."""
        if self.platform_file is None:
            return self.unit.at("metadata", "name")
        return Where(self.platform_file, ("spec", *path), "key" if on_key else "value")

    def policy(self, name: Policy) -> Severity | None:
        """How a breach of this policy is reported; None: not at all."""
        given = self.platform.spec.policies if self.platform is not None else {}
        level = given.get(name, POLICIES[name])
        return None if level == "off" else Severity(level)

    def stages(self) -> Iterator[tuple[KeyPath, Hardware]]:
        """(path below `spec`, hardware) of every stage of a run."""
        spec = self.spec
        for index, dataset in enumerate(spec.datasets):
            if dataset.hardware is not None:
                yield ("datasets", index, "hardware"), dataset.hardware
        for index, step in enumerate(spec.steps):
            yield ("steps", index, "hardware"), step.hardware
        yield ("training", "hardware"), spec.training.hardware
        if spec.tuning is not None and spec.tuning.hardware is not None:
            yield ("tuning", "hardware"), spec.tuning.hardware
        yield ("evaluation", "hardware"), spec.evaluation.hardware
        for index, export in enumerate(spec.export):
            yield ("export", index, "hardware"), export.hardware


def listed(names: Iterable[object]) -> str:
    """`a`, `b`, `c`"""
    return ", ".join(f"`{name}`" for name in names)
