"""`hardware`: what a stage asks of the cluster. Devices and nodes are in a training's identity, the rest is not."""

from typing import Annotated

from pydantic import Field

from aifctl.spec.models.section import Cpu, Duration, Flag, Integer, Name, Section, Size


class Hardware(Section):
    accelerator: Name | None = Field(
        None, description="Name from the platform's hardware catalogue; CPU when left out.", examples=["nvidia-h100"]
    )
    per_node: Annotated[Integer, Field(ge=1, le=1024)] = Field(1, description="Devices on each node.")
    nodes: Annotated[Integer, Field(ge=1, le=10_000)] = Field(1, description="Nodes that work on the step together.")
    cpu: Cpu | None = Field(None, description="CPU cores a node.")
    memory: Size | None = Field(None, description="Memory a node.")
    spot: Flag = Field(False, description="Run on machines that can be taken away; needs checkpoints.")
    timeout: Duration | None = Field(None, description="Longest time the step may take.")

    @property
    def world_size(self) -> int:
        return self.nodes * (self.per_node if self.accelerator else 1)
