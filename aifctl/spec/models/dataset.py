"""`datasets`: where rows come from, what the model reads of them, how they are split and checked."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.section import (
    EntryPoint,
    Flag,
    Identifier,
    Integer,
    Name,
    Number,
    RelativePath,
    Scalar,
    Section,
    Sha256,
    Text,
    exactly_one,
)

Format = Literal["csv", "parquet", "jsonl", "npz", "tfrecord", "imagefolder", "huggingface"]
DType = Literal["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "string"]


class Source(Section):
    """Where the rows lie; exactly one of path, uri, table, sql, call and step."""

    path: RelativePath | None = Field(None, description="File or folder, relative to the spec.")
    uri: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9+.-]*://", max_length=2000)] | None = Field(
        None, description="Any URL that fsspec reads: s3://, gs://, https://, hf:// …"
    )
    table: Text | None = Field(None, description="Table of a lakehouse catalogue, with `snapshot`.")
    sql: Text | None = Field(None, description="Query against the connection of `call`'s kind; with `snapshot`.")
    call: EntryPoint | None = Field(None, description="Your function that returns the rows.")
    step: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9-]*\.[A-Za-z_]\w*$")] | None = Field(
        None, description="Output of one of your own steps, as `step.output`."
    )
    sha256: Sha256 | None = Field(None, description="Pin: the content's SHA-256.")
    version: Text | None = Field(None, description="Pin: object version, ETag or dataset revision.")
    snapshot: Text | None = Field(None, description="Pin: a table's snapshot.")
    arguments: dict[Identifier, Scalar] = Field(default_factory=dict, description="Passed to `call`.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        exactly_one(self, "path", "uri", "table", "sql", "call", "step")
        return self

    @property
    def kind(self) -> str:
        return next(name for name in ("path", "uri", "table", "sql", "call", "step") if getattr(self, name) is not None)

    @property
    def value(self) -> str:
        return str(getattr(self, self.kind))


Columns = Annotated[Text, Field(min_length=1)] | tuple[Annotated[Text, Field(min_length=1)], ...]


class Feature(Section):
    """One input of the model."""

    type: Literal["tensor", "number", "category", "text", "image"] = Field(
        description="How the columns become an array."
    )
    columns: Columns | None = Field(
        None,
        description="Column, list of columns, or a range `p0..p63`; the feature's own name when left out.",
        examples=["p0..p63"],
    )
    dtype: DType = Field("float32", description="Type of the array's elements.")
    shape: tuple[Annotated[Integer, Field(ge=1)], ...] | None = Field(
        None, description="Shape of one row, without the batch dimension."
    )
    values: tuple[Text | Integer, ...] | None = Field(
        None, description="Of a category: its known values, in the order of their codes."
    )
    tokenizer: Text | None = Field(None, description="Of a text: the tokenizer, as a pinned model name.")
    size: tuple[Annotated[Integer, Field(ge=1)], Annotated[Integer, Field(ge=1)]] | None = Field(
        None, description="Of an image: height and width."
    )


class Label(Section):
    """What the model learns to predict."""

    column: Text = Field(description="Column of the label.", examples=["digit"])
    classes: Annotated[Integer, Field(ge=2)] | None = Field(
        None, description="Number of classes; learned from the data when left out."
    )
    names: tuple[Text, ...] | None = Field(None, description="Names of the classes, in the order of their codes.")


class SplitBy(Section):
    """How rows are drawn; at most one of them."""

    stratify: Text | None = Field(None, description="Column whose shares stay equal in every split.")
    group: Text | None = Field(None, description="Column whose equal values stay in one split.")
    time: Text | None = Field(None, description="Column to order by: the earliest rows train, the latest test.")
    column: Text | None = Field(None, description="Column that names each row's split; then no shares are given.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        exactly_one(self, "stratify", "group", "time", "column")
        return self


class Split(Section):
    """Shares of train, validation and test; they add up to 1."""

    train: Annotated[Number, Field(gt=0, le=1)] | None = None
    validation: Annotated[Number, Field(ge=0, lt=1)] | None = None
    test: Annotated[Number, Field(ge=0, lt=1)] | None = None
    seed: Annotated[Integer, Field(ge=0)] = Field(0, description="Seed of the draw.")
    by: SplitBy | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Share of each split; 0.8, 0.1 and 0.1 where the spec gives none."""
        if self.by is not None and self.by.column is not None:
            return {}
        given = {name: getattr(self, name) for name in ("train", "validation", "test")}
        if all(share is None for share in given.values()):
            return {"train": 0.8, "validation": 0.1, "test": 0.1}
        return {name: share or 0.0 for name, share in given.items()}


class Range(Section):
    min: Number | Integer | None = None
    max: Number | Integer | None = None


class DataChecks(Section):
    """What must hold of the rows before a GPU-hour is spent."""

    min_rows: Annotated[Integer, Field(ge=1)] | None = None
    max_rows: Annotated[Integer, Field(ge=1)] | None = None
    no_nulls: tuple[Text, ...] = Field((), description="Columns that have a value in every row.")
    unique: tuple[Text, ...] = Field((), description="Columns without a value that occurs twice.")
    ranges: dict[Text, Range] = Field(default_factory=dict, description="Column → least and greatest value.")


class Dataset(Section):
    """A named set of rows."""

    name: Name
    source: Source
    format: Format | None = Field(
        None, description="csv, parquet, jsonl, npz …; told from the file's ending when left out."
    )
    features: dict[Identifier, Feature] = Field(default_factory=dict, description="The model's inputs by name.")
    label: Label | None = None
    split: Split = Field(default_factory=Split)
    checks: DataChecks = Field(default_factory=DataChecks)
    pinned: Flag = Field(True, description="false: the data is meant to change; every run reads what is there then.")
    hardware: Hardware | None = Field(None, description="What reading it needs; a small CPU pod by default.")

    @model_validator(mode="after")
    def _pin_or_not(self) -> Self:
        pins = [name for name in ("sha256", "version", "snapshot") if getattr(self.source, name) is not None]
        if pins and not self.pinned:
            raise PydanticCustomError("pin", "`pinned: false` and a pin (`{pin}`) exclude each other", {"pin": pins[0]})
        return self
