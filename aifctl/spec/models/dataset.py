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

    path: RelativePath | None = None
    """File, relative to the spec's folder and inside it. Its content is pinned by itself (large files by `aifctl
    lock`)."""
    uri: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9+.-]*://", max_length=2000)] | None = None
    """URL of a file, of any scheme that fsspec reads: `s3://`, `gs://`, `https://` …; `aifctl lock` pins it.
    Example: `s3://acme-data/digits.parquet`."""
    table: Text | None = None
    """Table of a lakehouse catalogue, pinned by `snapshot`. Not built yet: use `call`. Example: `sales.orders`."""
    sql: Text | None = None
    """Query that gives the rows, pinned by `snapshot`. Not built yet: use `call`. Example: `SELECT * FROM orders`."""
    call: EntryPoint | None = None
    """Your function that returns the rows as a table; it gets `arguments` by name. Example: `digits.data:load`."""
    step: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9-]*\.[A-Za-z_]\w*$")] | None = None
    """Output of one of your own `steps`, as `step.output`. Example: `featurise.table`."""
    sha256: Sha256 | None = None
    """Pin: SHA-256 of the file, 64 hex digits. Reading anything else fails. Usually `aifctl lock` keeps the pin."""
    version: Text | None = None
    """Pin: the object's version or ETag in its store. Usually `aifctl lock` keeps the pin.
    Example: `3sL4kqtJlcpXroDTDmJ`."""
    snapshot: Text | None = None
    """Pin: the snapshot of a `table` or `sql`. Example: `"8744736658442914487"`."""
    arguments: dict[Identifier, Scalar] = Field(default_factory=dict)
    """Arguments of `call`, by name. Example: `{year: 2026}`."""

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

    type: Literal["tensor", "number", "category", "text", "image"]
    """How columns become an array: `tensor` and `number` take numbers, `category` gives the code of each value. `text`
    and `image` are not built yet.
    Example: `tensor`."""
    columns: Columns | None = None
    """Column, list of columns, or a range `p0..p63`; the column of the feature's own name when left out.
    Example: `p0..p63`."""
    dtype: DType = "float32"
    """Type of the array's elements."""
    shape: tuple[Annotated[Integer, Field(ge=1)], ...] | None = None
    """Shape of one row, without the batch dimension; it holds as many values as there are columns. Left out: none for
    one column, else the number of columns.
    Example: `[8, 8]`."""
    values: tuple[Text | Integer, ...] | None = None
    """Of a category: its known values, in the order of their codes 0, 1 …; learned from the data when left out.
    Example: `[red, green]`."""
    tokenizer: Text | None = None
    """Of a text: the tokenizer, as a pinned model's name."""
    size: tuple[Annotated[Integer, Field(ge=1)], Annotated[Integer, Field(ge=1)]] | None = None
    """Of an image: height and width in pixels. Example: `[224, 224]`."""


class Label(Section):
    """What the model learns to predict."""

    column: Text
    """Column that holds the class or the number to predict; no feature may read it. Example: `digit`."""
    classes: Annotated[Integer, Field(ge=2)] | None = None
    """Number of classes; learned from the data when left out. Not for regression. Example: `10`."""
    names: tuple[Text, ...] | None = None
    """Names of the classes, in the order of their codes 0, 1 …; what the served model answers with.
    Example: `[cat, dog]`."""


class SplitBy(Section):
    """How rows are drawn; exactly one of them."""

    stratify: Text | None = None
    """Column whose values occur in the same shares in every split, such as the label of rare classes.
    Example: `digit`."""
    group: Text | None = None
    """Column whose equal values stay in one split, so that no patient is trained on and tested with.
    Example: `patient`."""
    time: Text | None = None
    """Column of numbers or ISO dates to order by: the earliest rows train, the latest test. Nothing is drawn.
    Example: `sold_at`."""
    column: Text | None = None
    """Column that says `train`, `validation` or `test` of each row; then no shares are given. Example: `split`."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        exactly_one(self, "stratify", "group", "time", "column")
        return self


class Split(Section):
    """Shares of train, validation and test; they add up to 1. Where none is given: 0.8, 0.1 and 0.1."""

    train: Annotated[Number, Field(gt=0, le=1)] | None = None
    """Share of rows to train on, between 0 and 1. Example: `0.8`."""
    validation: Annotated[Number, Field(ge=0, lt=1)] | None = None
    """Share of rows that training looks at to choose the checkpoint; 0 when another share is given and this one not.
    Example: `0.1`."""
    test: Annotated[Number, Field(ge=0, lt=1)] | None = None
    """Share of rows that only evaluation and gates see; 0 when another share is given and this one not.
    Example: `0.1`."""
    seed: Annotated[Integer, Field(ge=0)] = 0
    """Seed of the draw: the same seed gives the same rows on every machine."""
    by: SplitBy | None = None
    """Draw with regard to a column, or take the split from one; plainly at random when left out.
    Example: `{stratify: digit}`."""

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
    """Bounds of a column's values; empty values are not looked at."""

    min: Number | Integer | None = None
    """Least value, itself allowed; no bound when left out. Example: `0`."""
    max: Number | Integer | None = None
    """Greatest value, itself allowed; no bound when left out. Example: `16`."""


class DataChecks(Section):
    """What must hold of the rows before a GPU-hour is spent."""

    min_rows: Annotated[Integer, Field(ge=1)] | None = None
    """Fewest rows that the whole dataset may have; no bound when left out. Example: `1000`."""
    max_rows: Annotated[Integer, Field(ge=1)] | None = None
    """Most rows that the whole dataset may have; no bound when left out. Example: `10000000`."""
    no_nulls: tuple[Text, ...] = ()
    """Columns that must have a value in every row. Example: `[digit]`."""
    unique: tuple[Text, ...] = ()
    """Columns in which no value may occur twice. Example: `[id]`."""
    ranges: dict[Text, Range] = Field(default_factory=dict)
    """Column of numbers → least and greatest value. Example: `{age: {min: 0, max: 120}}`."""


class Dataset(Section):
    """A named set of rows: where they lie, what the model reads of them, how they are split and checked."""

    name: Name
    """Name of the dataset, unique in the spec: other sections and the lock file call it so."""
    source: Source
    """Where the rows lie: exactly one of `path`, `uri`, `call`, `step`, `table` and `sql`.
    Example: `{path: data/digits.csv}`."""
    format: Format | None = None
    """How the rows are written. Left out: what the file's ending says, parquet for functions and own steps. `tfrecord`,
    `imagefolder` and `huggingface` are not built yet."""
    features: dict[Identifier, Feature] = Field(default_factory=dict)
    """The model's inputs by name, in the order in which the model takes them.
    Example: `{pixels: {type: tensor, columns: p0..p63, shape: [8, 8]}}`."""
    label: Label | None = None
    """What is learned; left out for data that only own steps read, or where the `task` has no label.
    Example: `{column: digit, classes: 10}`."""
    split: Split = Field(default_factory=Split)
    """How rows are divided into train, validation and test; 0.8, 0.1 and 0.1 at random when left out."""
    checks: DataChecks = Field(default_factory=DataChecks)
    """What must hold of the rows before anything is trained on them; a run whose data breaks it stops there."""
    pinned: Flag = True
    """`false`: the data is meant to change, and every run reads what is there then. A `schedule` needs one such."""
    hardware: Hardware | None = None
    """What reading it asks of the cluster; 1 CPU core and 2Gi of memory when left out."""

    @model_validator(mode="after")
    def _pin_or_not(self) -> Self:
        pins = [name for name in ("sha256", "version", "snapshot") if getattr(self.source, name) is not None]
        if pins and not self.pinned:
            raise PydanticCustomError("pin", "`pinned: false` and a pin (`{pin}`) exclude each other", {"pin": pins[0]})
        return self
