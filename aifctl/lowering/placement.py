"""Where a step runs: image, resources, accelerator, variables, secrets. Only image and devices are identity."""

from __future__ import annotations

from dataclasses import dataclass

from aifctl import ir
from aifctl.spec.load import Unit
from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.platform import AcceleratorFlavour, Platform

GIB = 1024**3
DEFAULTS = {
    "prepare": (1.0, 2 * GIB),
    "custom": (1.0, 2 * GIB),
    "train": (2.0, 4 * GIB),
    "evaluate": (1.0, 2 * GIB),
    "gate": (0.25, GIB // 2),
    "export": (1.0, 4 * GIB),
    "verify": (1.0, 4 * GIB),
    "register": (0.25, GIB),
}
"""CPU cores and bytes of memory of a step that the spec gives none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A unit with the platform it is placed on. `device` overrides the accelerator on a laptop."""

    unit: Unit
    platform: Platform | None
    device: str | None = None

    @property
    def local(self) -> bool:
        return self.unit.environment.local

    def flavour(self, name: str | None) -> AcceleratorFlavour | None:
        """The catalogue's entry; None for CPU, and on a laptop, where the device is what the machine has."""
        if name is None or self.platform is None or self.local:
            return None
        return next((f for f in self.platform.spec.hardware if f.name == name), None)

    def accelerator(self, name: str | None, devices: int) -> ir.Accelerator | None:
        flavour = self.flavour(name)
        if flavour is None:
            return None
        return ir.Accelerator(
            name=flavour.name,
            resource=flavour.resource,
            per_node=devices,
            node_selector=dict(flavour.node_selector),
            tolerations=tuple(dict(each) for each in flavour.tolerations),
        )

    def device_identity(self, hardware: Hardware) -> str | None:
        """What a training's identity says of the device: the accelerator's name, None for CPU."""
        if self.local:
            return None if self.device in (None, "cpu") else self.device
        return hardware.accelerator

    def world_size(self, hardware: Hardware) -> int:
        return 1 if self.local else hardware.world_size

    def image(self, accelerator: ir.Accelerator | None, user_code: bool) -> str | None:
        """The image of a training-side step; None on a laptop."""
        if self.local:
            return None
        code = self.unit.spec.code
        if user_code and code is not None and code.image is not None:
            return code.image
        if self.platform is None:
            return None
        framework = self.unit.spec.training.framework
        images = getattr(self.platform.spec.images, IMAGES.get(framework, framework))
        flavour = self.flavour(accelerator.name) if accelerator is not None else None
        chosen = getattr(images, flavour.vendor if flavour is not None else "cpu")
        return str(chosen) if chosen is not None else None

    def variables(self, *names: str) -> tuple[ir.Variable, ...]:
        """Environment variables of a step that goes by any of these names (its own, its kind)."""
        given = self.unit.spec.env.items()
        return tuple(
            ir.Variable(name=name, value=each.value)
            for name, each in sorted(given)
            if each.steps is None or set(each.steps) & set(names)
        )

    def secrets(self, *names: str) -> tuple[ir.SecretVariable, ...]:
        chosen = [s for s in self.unit.spec.secrets if s.steps is None or set(s.steps) & set(names)]
        split = [(s.env, *s.from_.split("/", 1)) for s in chosen]
        return tuple(ir.SecretVariable(name=env, secret=secret, key=key) for env, secret, key in split)


IMAGES = {"lightning": "pytorch", "huggingface": "pytorch"}
"""Frameworks that run in another's image."""


def resources(kind: str, hardware: Hardware) -> ir.Resources:
    cpu, memory = DEFAULTS[kind]
    return ir.Resources(cpu=hardware.cpu or cpu, memory=hardware.memory or memory)
