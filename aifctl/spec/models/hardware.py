"""`hardware`: what a stage asks of the cluster. Devices and nodes are in a training's identity, the rest is not."""

from typing import Annotated

from pydantic import Field

from aifctl.spec.models.section import Cpu, Duration, Flag, Integer, Name, Section, Size


class Hardware(Section):
    """What one step asks of the cluster. On a laptop only `timeout` counts: a step takes what the machine has."""

    accelerator: Name | None = None
    """Accelerator by its name in the platform's catalogue (`hardware`); left out, the step runs on CPUs.
    Example: `nvidia-h100`."""
    per_node: Annotated[Integer, Field(ge=1, le=1024)] = 1
    """Devices on each node, one of the counts that the catalogue offers; counts only with an `accelerator`."""
    nodes: Annotated[Integer, Field(ge=1, le=10_000)] = 1
    """Nodes that work on the step together."""
    cpu: Cpu | None = None
    """CPU cores on each node, `2` or `500m`. Left out: 2 for training, 1 for the others, 0.25 for gate and register."""
    memory: Size | None = None
    """Memory on each node. Left out: 4Gi for training, export and verify, 2Gi for data, own steps and evaluation."""
    spot: Flag = False
    """Says that the machines can be taken away at any time; training must then write `checkpoint.every` so often. Which
    nodes those are says the accelerator's `node_selector`."""
    timeout: Duration | None = None
    """Longest time that one attempt at the step may take; no limit of its own when left out. Example: `12h`."""

    @property
    def world_size(self) -> int:
        return self.nodes * (self.per_node if self.accelerator else 1)
