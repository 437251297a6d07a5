"""`kind: Model`: one model, from its data to its serving."""

from typing import Annotated, Any, Literal

from pydantic import Field

from aifctl.spec.models.dataset import Dataset
from aifctl.spec.models.section import ModelName, Name, Section, Text, Variable
from aifctl.spec.models.serving import BatchScoring, Evaluation, Export, Monitoring, Registry, Schedule, Serving
from aifctl.spec.models.training import Code, OwnStep, Preprocessing, Training, Tuning

Task = Literal["classification", "regression", "causal-lm", "sequence-classification", "custom"]


class Metadata(Section):
    name: ModelName
    tenant: Name = Field("default", description="Team that owns the model; a namespace on the cluster.")
    description: Text = ""


class VariableValue(Section):
    value: Text = Field(description="Value; quote numbers.")
    steps: tuple[Name, ...] | None = Field(None, description="Steps that get it; all when left out.")


class SecretReference(Section):
    """An environment variable from a secret of the cluster; the value never enters Git."""

    env: Variable
    from_: Annotated[
        Text,
        Field(alias="from", pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._a-zA-Z0-9]+$", description="`secret/key`."),
    ]
    steps: tuple[Name, ...] | None = None


class ModelSpec(Section):
    task: Task
    datasets: Annotated[tuple[Dataset, ...], Field(min_length=1)]
    code: Code | None = None
    env: dict[Variable, VariableValue] = Field(default_factory=dict)
    secrets: tuple[SecretReference, ...] = ()
    preprocessing: Preprocessing | None = None
    training: Training
    steps: tuple[OwnStep, ...] = Field((), description="Own steps between reading and training.")
    tuning: Tuning | None = None
    evaluation: Evaluation = Field(default_factory=Evaluation)
    export: tuple[Export, ...] = ()
    registry: Registry = Field(default_factory=Registry)
    serving: Serving | None = None
    batch_scoring: BatchScoring | None = None
    monitoring: Monitoring = Field(default_factory=Monitoring)
    schedule: Schedule | None = None
    environments: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="Overlays by environment; lists merge by `name`.",
    )

    @property
    def main_dataset(self) -> Dataset | None:
        """The dataset that is trained on; None where that is not said and not clear."""
        if self.training.dataset is not None:
            return next((d for d in self.datasets if d.name == self.training.dataset), None)
        return self.datasets[0] if len(self.datasets) == 1 else None


class Model(Section):
    """One model: data, training, evaluation, exports, serving."""

    api_version: Literal["aif.dev/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["Model"]
    metadata: Metadata
    spec: ModelSpec
