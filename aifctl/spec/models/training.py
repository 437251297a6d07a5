"""`training`, `preprocessing`, `steps`, `tuning`: how the model comes about."""

from typing import Annotated, Any, Literal, Self

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
    hf: Text | None = Field(None, description="Model on the Hugging Face hub, `organisation/name`.")
    revision: Annotated[Text, Field(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        None, description="Commit of the hub model."
    )


class StartFrom(HubModel):
    """Weights to start from, never by a moving name; exactly one of run, hf and name."""

    run: Annotated[Text, Field(pattern=r"^[0-9a-f]{10,64}$")] | None = Field(
        None, description="Digest of an earlier training."
    )
    name: Text | None = Field(None, description="Registered model, with `version`.")
    version: Annotated[Integer, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        exactly_one(self, "run", "hf", "name")
        if self.name is not None and self.version is None:
            raise PydanticCustomError("one_of", "a registered model needs its `version`")
        return self


class Batch(Section):
    global_: Annotated[Integer, Field(ge=1)] = Field(
        32, alias="global", description="Rows a step over all devices together."
    )


class Select(Section):
    best: Text = Field(description="Metric that chooses the checkpoint.", examples=["val_loss"])
    goal: Goal | None = Field(None, description="maximize or minimize; told from the metric's name when left out.")


class Checkpoint(Section):
    every: Duration | None = Field(None, description="Time between checkpoints; the end of each epoch when left out.")
    keep: Annotated[Integer, Field(ge=1, le=100)] = 2
    select: Select | None = None


class CustomProgram(Section):
    """`framework: custom`: any command, by environment variables."""

    command: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(examples=[["python", "train.py"]])
    produces: RelativePath = Field(description="File or folder that the command leaves in AIF_MODEL_DIR.")
    predict: EntryPoint = Field(description="`function(model_dir, batch)` that returns outputs.")


class Training(Section):
    framework: Framework = "pytorch"
    model: EntryPoint | None = Field(None, description="`build(params, signature)` that returns the model.")
    loop: EntryPoint | None = Field(None, description="Own loop: `fit(context)`.")
    custom: CustomProgram | None = Field(None, description="Of `framework: custom`.")
    dataset: Name | None = Field(None, description="Dataset to train on, where there are several.")
    start_from: StartFrom | None = None
    hyperparameters: dict[Identifier, Hyperparameter] = Field(default_factory=dict, examples=[{"learning_rate": 0.001}])
    epochs: Annotated[Integer, Field(ge=1, le=1_000_000)] = 1
    batch: Batch = Field(default_factory=Batch)
    seed: Annotated[Integer, Field(ge=0, lt=2**32)] = 0
    precision: Precision = "fp32"
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    hardware: Hardware = Field(default_factory=Hardware)

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

    class_: EntryPoint = Field(alias="class", description="Class with fit(train), transform(batch) and state.")
    serve: Literal["graph", "server", "client"] = Field("graph", description="Where it runs when the model serves.")


class OwnStep(Section):
    """A step of your own between reading and training."""

    name: Name
    call: EntryPoint
    inputs: dict[Identifier, Text] = Field(
        default_factory=dict, description="Name in your code → dataset, or `step.output`."
    )
    outputs: dict[Identifier, Literal["parquet", "csv", "jsonl", "npz", "file"]] = Field(default_factory=dict)
    params: dict[Identifier, Hyperparameter] = Field(default_factory=dict)
    hardware: Hardware = Field(default_factory=Hardware)


class SearchRange(Section):
    """Values of one hyperparameter to try; exactly one form."""

    uniform: tuple[Number | Integer, Number | Integer] | None = None
    log_uniform: tuple[Number | Integer, Number | Integer] | None = None
    int_uniform: tuple[Integer, Integer] | None = None
    choice: tuple[Scalar, ...] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        exactly_one(self, "uniform", "log_uniform", "int_uniform", "choice")
        return self


class Objective(Section):
    metric: Text
    goal: Goal


class Tuning(Section):
    algorithm: Literal["tpe", "random", "grid", "cmaes", "hyperband"] = "tpe"
    trials: Annotated[Integer, Field(ge=1, le=100_000)]
    parallel: Annotated[Integer, Field(ge=1, le=1000)] = 1
    objective: Objective
    search: dict[Identifier, SearchRange]
    hardware: Hardware | None = None


class Code(Section):
    """How your code reaches the step: a folder, a built image, or a Git commit."""

    path: RelativePath | None = Field(None, description="Folder of your code, relative to the spec.")
    requirements: RelativePath | None = Field(None, description="Requirements file, relative to the spec.")
    image: Text | None = Field(
        None, description="Image that holds the code, pinned by digest.", examples=["registry.example/digits@sha256:…"]
    )
    git: Text | None = None
    ref: Annotated[Text, Field(pattern=r"^[0-9a-f]{40}$")] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.git is not None and self.ref is None:
            raise PydanticCustomError("one_of", "`git` needs `ref`, a full commit")
        if (self.path is None) == (self.git is None) and self.image is None:
            exactly_one(self, "path", "git")
        return self


Overlay = dict[str, Any]
