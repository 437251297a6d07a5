"""`training`, `preprocessing`, `steps`, `tuning`: how the model comes about."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.section import (
    Duration,
    EntryPoint,
    Identifier,
    Integer,
    Name,
    Number,
    RelativePath,
    Scalar,
    Section,
    Text,
    exactly_one,
)

Framework = Literal["pytorch", "lightning", "tensorflow", "huggingface", "custom"]
Precision = Literal["fp32", "tf32", "bf16-mixed", "fp16-mixed", "bf16", "fp8-mixed"]
Goal = Literal["maximize", "minimize"]
Hyperparameter = Scalar | tuple[Scalar, ...]


class HubModel(Section):
    """A model of the Hugging Face hub."""

    hf: Text | None = None
    """Model on the Hugging Face hub, as `organisation/name`; with its `revision`.
    Example: `distilbert/distilbert-base-uncased`."""
    revision: Annotated[Text, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit of the hub model, 40 hex digits. Example: `6cdc0aad91f5ae2e6712e91bc7b65d1cf5c05411`."""


class StartFrom(HubModel):
    """Weights to start from, never by a moving name; exactly one of run, hf and name."""

    run: Annotated[Text, Field(pattern=r"^[0-9a-f]{10,64}$")] | None = None
    """Digest of an earlier training step, at least its first 10 hex digits. Example: `3f9a1c20b7`."""
    name: Text | None = None
    """Registered model, with its `version`. Example: `digits`."""
    version: Annotated[Integer, Field(ge=1)] | None = None
    """Version of the registered model. Example: `3`."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        exactly_one(self, "run", "hf", "name")
        if self.name is not None and self.version is None:
            raise PydanticCustomError("one_of", "a registered model needs its `version`")
        return self


class Batch(Section):
    """Size of a batch."""

    global_: Annotated[Integer, Field(ge=1)] = Field(32, alias="global")
    """Rows that one step of the optimiser sees, over all devices together."""


class Select(Section):
    """Which checkpoint becomes the model."""

    best: Text
    """Metric that chooses, one that training logs: `train_loss`, `val_loss`, `val_accuracy`, or what your loop logs.
    Example: `val_loss`."""
    goal: Goal | None = None
    """Which value is best. Left out: the least of what is called loss, error, mse, rmse, mae or perplexity, else the
    greatest."""


class Checkpoint(Section):
    """When training writes down its state, to go on from there after an interruption."""

    every: Duration | None = None
    """Least time between two checkpoints; one at the end of each epoch when left out. Example: `10m`."""
    keep: Annotated[Integer, Field(ge=1, le=100)] = 2
    """Checkpoints that are kept, the newest ones; the best one stays beside them."""
    select: Select | None = None
    """Which checkpoint becomes the model; the last one when left out. Example: `{best: val_loss}`."""


class CustomProgram(Section):
    """`framework: custom`: any command, by environment variables."""

    command: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Program and arguments, run in the folder of your code. It finds data, parameters and its folders in `AIF_DATA_…`,
    `AIF_PARAMS`, `AIF_CHECKPOINT_DIR` and `AIF_MODEL_DIR`.
    Example: `[python, train.py]`."""
    produces: RelativePath
    """File or folder that the command leaves in `AIF_MODEL_DIR`, relative to it. Example: `model.skops`."""
    predict: EntryPoint
    """Your `function(model_dir, batch)` that returns outputs; gates and server call it. Example: `predict:predict`."""


class Training(Section):
    """How the model is trained. `model` suffices, `custom` for programs of your own."""

    framework: Framework = "pytorch"
    """What trains the model: it decides which loop runs, which image, and which formats can be exported. `lightning`
    and `huggingface` are not built yet."""
    model: EntryPoint | None = None
    """Your `build(params, signature)` that returns the model; needed by every framework but `custom`.
    Example: `digits.cnn:build`."""
    loop: EntryPoint | None = None
    """Your own training loop, `fit(context)`; aifctl's when left out. Example: `digits.cnn:fit`."""
    custom: CustomProgram | None = None
    """Your program; of `framework: custom`, and of no other."""
    dataset: Name | None = None
    """Dataset to train on, by name; may be left out where there is one only."""
    start_from: StartFrom | None = None
    """Weights to start from, pinned. Not built yet: load them in `build`."""
    hyperparameters: dict[Identifier, Hyperparameter] = Field(default_factory=dict)
    """Values for your `build` and loop; aifctl's own loop reads `optimizer` and `learning_rate`. Each is a part of the
    identity: another value trains anew.
    Example: `{learning_rate: 0.001}`."""
    epochs: Annotated[Integer, Field(ge=1, le=1_000_000)] = 1
    """Passes over the training rows."""
    batch: Batch = Field(default_factory=Batch)
    """Size of a batch; 32 rows when left out. Example: `{global: 64}`."""
    seed: Annotated[Integer, Field(ge=0, lt=2**32)] = 0
    """Seed of all that training draws: first weights, order of rows, dropout."""
    precision: Precision = "fp32"
    """Numbers that training computes with; `-mixed` keeps weights in fp32. `tf32`, `bf16` and `fp8-mixed` are not built
    yet."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """When the state is saved, and which one becomes the model; each epoch, and the last, when left out.
    Example: `{every: 10m, keep: 2}`."""
    hardware: Hardware = Field(default_factory=Hardware)
    """What training asks of the cluster; accelerator and number of devices are in its identity."""

    @model_validator(mode="after")
    def _program(self) -> Self:
        if self.framework == "custom":
            if self.custom is None:
                raise PydanticCustomError("one_of", "`framework: custom` needs `custom: {command, produces, predict}`")
        elif self.custom is not None:
            raise PydanticCustomError("one_of", "`custom` belongs to `framework: custom` only")
        elif self.model is None:
            raise PydanticCustomError("one_of", "`framework: {framework}` needs `model`", {"framework": self.framework})
        return self


class Preprocessing(Section):
    """One class used by training, evaluation, export and serving."""

    class_: EntryPoint = Field(alias="class")
    """Your class with `fit(train)`, `transform(batch)` and `state`; fitted on the training rows alone.
    Example: `digits.data:Prep`."""
    serve: Literal["graph", "server", "client"] = "graph"
    """Where it runs when the model serves: inside the exported graph, in a server that runs Python, or at the caller,
    who then sends what it would give."""


class OwnStep(Section):
    """A step of your own between reading and training."""

    name: Name
    """Name of the step, unique in the spec. Example: `featurise`."""
    call: EntryPoint
    """Your function; it gets the step's context. Example: `digits.data:featurise`."""
    inputs: dict[Identifier, Text] = Field(default_factory=dict)
    """Name in your code → what it reads: a dataset, or another step's output as `step.output`.
    Example: `{raw: digits}`."""
    outputs: dict[Identifier, Literal["parquet", "csv", "jsonl", "npz", "file"]] = Field(default_factory=dict)
    """Name in your code → format of what the step leaves; `file` is anything that is no table.
    Example: `{table: parquet}`."""
    params: dict[Identifier, Hyperparameter] = Field(default_factory=dict)
    """Values for your function. Example: `{window: 7}`."""
    hardware: Hardware = Field(default_factory=Hardware)
    """What the step asks of the cluster; 1 CPU core and 2Gi of memory when left out."""


class SearchRange(Section):
    """Values of one hyperparameter to try; exactly one form."""

    uniform: tuple[Number | Integer, Number | Integer] | None = None
    """Least and greatest value; all between them are as likely. Example: `[0.1, 0.5]`."""
    log_uniform: tuple[Number | Integer, Number | Integer] | None = None
    """Least and greatest value, drawn by their logarithm: for what counts by orders of magnitude.
    Example: `[0.00001, 0.01]`."""
    int_uniform: tuple[Integer, Integer] | None = None
    """Least and greatest whole number. Example: `[2, 8]`."""
    choice: tuple[Scalar, ...] | None = None
    """The values to choose from. Example: `[adam, sgd]`."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        exactly_one(self, "uniform", "log_uniform", "int_uniform", "choice")
        return self


class Objective(Section):
    """What trials are compared by."""

    metric: Text
    """Metric that is optimised, one of those of `evaluation`. Example: `accuracy`."""
    goal: Goal
    """Whether more of it is better, or less. Example: `maximize`."""


class Tuning(Section):
    """Search for hyperparameters: many trainings, of which the best counts. Not built yet."""

    algorithm: Literal["tpe", "random", "grid", "cmaes", "hyperband"] = "tpe"
    """How the next trial's values are chosen."""
    trials: Annotated[Integer, Field(ge=1, le=100_000)]
    """Trials altogether. Example: `20`."""
    parallel: Annotated[Integer, Field(ge=1, le=1000)] = 1
    """Trials at a time."""
    objective: Objective
    """What is optimised. Example: `{metric: accuracy, goal: maximize}`."""
    search: dict[Identifier, SearchRange]
    """Hyperparameter → values to try. Example: `{learning_rate: {log_uniform: [0.00001, 0.01]}}`."""
    hardware: Hardware | None = None
    """What one trial asks of the cluster; as training when left out."""


class Code(Section):
    """How your code reaches the step: a folder, a built image, or a Git commit."""

    path: RelativePath | None = None
    """Folder of your code, relative to the spec's folder and inside it; modules are looked up in it first.
    Example: `src`."""
    requirements: RelativePath | None = None
    """Requirements file, relative to the spec. What the runtime image does not have takes an `image` of your own
    (`aifctl build`).
    Example: `requirements.txt`."""
    image: Text | None = None
    """Image that holds the code and what it requires, pinned by digest. Example: `registry.example/digits@sha256:…`."""
    git: Text | None = None
    """Repository that holds the code, with `ref`. Not built yet: check it out below the spec and use `path`.
    Example: `https://git.example/vision/digits.git`."""
    ref: Annotated[Text, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Full commit of `git`, 40 hex digits. Example: `9c2568a1c3f0d6d7c2f5e8b4a7d1e0f3b6c9a2d5`."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.git is not None and self.ref is None:
            raise PydanticCustomError("one_of", "`git` needs `ref`, a full commit")
        if (self.path is None) == (self.git is None) and self.image is None:
            exactly_one(self, "path", "git")
        return self
