"""Spec → `ir.Bundle`: what each step is and does, its identity, its place. Pure; one pass a file.

`lower` is the order: target, code, steps (prepare … register), run, service. `lower_ground`: what an environment needs
before any model, its tenants' namespaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from aifctl import ir
from aifctl.lowering import code, placement, run, service, steps, target, tenancy
from aifctl.spec.load import Unit
from aifctl.spec.models.platform import Environment, Platform

__all__ = ["Options", "lower", "lower_ground"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a laptop run may vary: the device, and how many rows of each dataset are kept."""

    device: str | None = None
    sample: int | None = None


def lower(unit: Unit, platform: Platform | None, source: str, options: Options | None = None) -> ir.Bundle:
    """The model in this environment. Expects a unit without findings; `source` is the spec's path in the repository."""
    options = options or Options()
    place = placement.Place(unit, platform, options.device)
    aim = target.lower(unit, platform)
    roles = unit.environment.roles
    trained = None
    if "train" in roles:
        sent = code.lower(unit)
        trained = run.lower(unit, steps.lower(place, options.sample), sent, aim)
    served = service.lower(place) if "serve" in roles else None
    return ir.Bundle(
        model=unit.name,
        tenant=unit.model.metadata.tenant,
        source=str(PurePosixPath(source)),
        target=aim,
        run=trained,
        service=served,
    )


def lower_ground(platform: Platform | None, environment: Environment, source: str) -> tuple[ir.Tenancy, ...]:
    """The tenants' namespaces in this environment; `source` is the platform file's path in the repository."""
    return tenancy.lower(platform, environment, source)
