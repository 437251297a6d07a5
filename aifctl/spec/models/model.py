"""`kind: Model`: one model, from its data to its serving."""

from typing import Annotated, Any, Literal

from pydantic import Field

from aifctl.spec.models.dataset import Dataset
from aifctl.spec.models.section import ModelName, Name, Section, Text, Variable
from aifctl.spec.models.serving import BatchScoring, Evaluation, Export, Monitoring, Registry, Schedule, Serving
from aifctl.spec.models.training import Code, OwnStep, Preprocessing, Training, Tuning

Task = Literal["classification", "regression", "causal-lm", "sequence-classification", "custom"]


class Metadata(Section):
    """The model's name and owner."""

    name: ModelName
    """Name of the model, unique in the repository: objects, folders, runs and metrics are called by it."""
    tenant: Name = "default"
    """Team that owns the model, one of the platform's `tenants`; its namespace is where the model runs.
    Example: `vision`."""
    description: Text = ""
    """A line for people; in no digest, so changing it trains nothing anew.
    Example: `Handwritten digits of 8 x 8 pixels`."""


class VariableValue(Section):
    """An environment variable; a part of the identity of the steps with user code that get it, unless it chooses
    threads, logs or caches only."""

    value: Text
    """Its value, a text: quote numbers. Example: `"4"`."""
    steps: tuple[Name, ...] | None = None
    """Steps that get it, by name or kind (`prepare`, `train`, `evaluate`, `export`, `verify`, `serve` …); all when left
    out.
    Example: `[train, serve]`."""


class SecretReference(Section):
    """An environment variable from a secret of the cluster; the value never enters Git."""

    env: Variable
    """Name of the environment variable. Example: `HF_TOKEN`."""
    from_: Annotated[
        Text,
        Field(alias="from", pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._a-zA-Z0-9]+$"),
    ]
    """Where its value lies: `secret/key` of the tenant's namespace. Example: `hf-credentials/token`."""
    steps: tuple[Name, ...] | None = None
    """Steps that get it, by name or kind as in `env`; all when left out. Example: `[train, serve]`."""


class ModelSpec(Section):
    """The model, from its data to its serving. `task`, `datasets`, `code` and `training.model` suffice."""

    task: Task
    """What the model does; the default loss and metrics, and checks of the label, follow from it. `causal-lm` is not
    built yet."""
    datasets: Annotated[tuple[Dataset, ...], Field(min_length=1)]
    """The data: the model is trained on one of them (`training.dataset`), own steps may read the others."""
    code: Code | None = None
    """Where the modules lie that `module:name` fields speak of.
    Example: `{path: src, requirements: requirements.txt}`."""
    env: dict[Variable, VariableValue] = Field(default_factory=dict)
    """Environment variables of steps and server, by name.
    Example: `{OMP_NUM_THREADS: {value: "4", steps: [train]}}`."""
    secrets: tuple[SecretReference, ...] = ()
    """Environment variables whose values lie in secrets of the cluster; in no digest.
    Example: `[{env: HF_TOKEN, from: hf-credentials/token}]`."""
    preprocessing: Preprocessing | None = None
    """One class of yours that prepares features for training, evaluation, export and serving alike.
    Example: `{class: digits.data:Prep}`."""
    training: Training
    """How the model is trained."""
    steps: tuple[OwnStep, ...] = ()
    """Steps of your own between reading and training, such as making features."""
    tuning: Tuning | None = None
    """Search for hyperparameters. Not built yet: try values by hand with `aifctl run --set`."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """On which rows and by which metrics the model is measured, and the bounds it has to hold."""
    export: tuple[Export, ...] = ()
    """Bundles made of the trained model to be served; each has to pass parity and the quality gate.
    Example: `[{name: onnx, format: onnx}]`."""
    registry: Registry = Field(default_factory=Registry)
    """How the model is registered with the tracking server."""
    serving: Serving | None = None
    """How a released model is served; not at all when left out."""
    batch_scoring: BatchScoring | None = None
    """Predictions for a whole dataset. Not built yet."""
    monitoring: Monitoring = Field(default_factory=Monitoring)
    """What is watched while the model serves."""
    schedule: Schedule | None = None
    """When runs start by themselves; needs a dataset with `pinned: false`. By hand or by Git when left out.
    Example: `{cron: 0 3 * * *}`."""
    environments: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """Environment → what is different of this spec there. Mappings merge, lists of named items merge by `name`. Where
    an environment only serves, `serving` and `monitoring` alone may be.
    Example: `{prod: {serving: {autoscaling: {max: 20}}}}`."""

    @property
    def main_dataset(self) -> Dataset | None:
        """The dataset that is trained on; None where that is not said and not clear."""
        if self.training.dataset is not None:
            return next((d for d in self.datasets if d.name == self.training.dataset), None)
        return self.datasets[0] if len(self.datasets) == 1 else None


class Model(Section):
    """One model: data, training, evaluation, exports, serving."""

    api_version: Literal["aif.dev/v1alpha1"] = Field(alias="apiVersion")
    """Version of the vocabulary that the document is written in."""
    kind: Literal["Model"]
    """Says that this document is a model."""
    metadata: Metadata
    """The model's name and owner."""
    spec: ModelSpec
    """The model itself."""
