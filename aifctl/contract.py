"""The contract between compiler and runtime: the arguments of one ML step. Written by lowering, read by runtime.

A step is *what* to do (`StepSpec`: identity and configuration, the same on a laptop and in a pod) and *where* to do it
(`Site`: store, tracking server, folders, device; never part of an identity). Both travel as command-line arguments of
`python -m aifctl.runtime.entry`, so that `kubectl describe pod` and `ps` show the whole job.

Identity (version `v1`): `digest = H(id, kind, own, inputs)`, where `own` hashes the step's own identity parts
(`lowering.identity`) and `inputs` are the digests it reads: other steps', or the pins of its data. A digest below an
unpinned dataset is unknown (None) until `prepare` has read the data; the runtime then chains the same function on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any

from aifctl import digest

CONTRACT = 1
"""Version of these arguments. A runtime image accepts this one and the one before."""
IDENTITY = "v1"

MESSAGE_LIMIT = 4096
"""Bytes that Kubernetes keeps of a container's termination message."""
RUN = "aif.dev/run"
"""Label of a step's Job and of its pod: the object that drives their run."""
EXIT_FAILED = 1
"""The step can't succeed as it is (user code, a gate, bad data): do not retry."""
EXIT_RETRY = 75
"""A fault of the surroundings (store or tracking server unreachable): worth a retry. sysexits.h's EX_TEMPFAIL."""


class Kind(StrEnum):
    PREPARE = "prepare"
    CUSTOM = "custom"
    TRAIN = "train"
    EVALUATE = "evaluate"
    GATE = "gate"
    EXPORT = "export"
    VERIFY = "verify"
    REGISTER = "register"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """What one step does.

    `inputs` are read and chained into the digest; `needs` are read or only waited for, and never chained (a changed
    gate must not move the digest of what it lets pass). Keys are step names, or `data:<dataset>` for a pin
    (`sha256:<hex>` or `version:<text>`); values are full digests, None while unknown.
    """

    name: str
    kind: Kind
    model: str
    tenant: str
    own: str
    inputs: Mapping[str, str | None]
    needs: Mapping[str, str | None] = field(default_factory=dict)
    digest: str | None
    code: str | None = None
    """Tree digest of the user's code, when the step imports any."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """One of the `*Config` dataclasses below, as plain JSON values."""
    contract: int = CONTRACT
    id: str = IDENTITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where one step runs. `store` is an fsspec URL or a folder; folders are absolute paths."""

    store: str
    run: str
    """Name of the run this step is part of (`local-…` on a laptop)."""
    attempt: str = "a1"
    """Folder name the step writes under before it publishes."""
    tracking: str | None = None
    """MLflow tracking URI; None switches tracking off."""
    code: str | None = None
    """Folder of the user's code; put first on sys.path."""
    data: str | None = None
    """Folder that `path` sources are relative to."""
    device: str | None = None
    """cpu, cuda, mps …; None lets the framework choose."""
    result: str | None = None
    """File to write the step's result to: JSON {digest, skipped, seconds, outputs, diagnostics}."""
    events: str | None = None
    """File to append progress to, a JSON object a line: {step, event, …}; `-` is standard output."""
    message: str | None = None
    """File of at most MESSAGE_LIMIT bytes that gets the result in brief: a container's termination message."""
    known: str | None = None
    """Digests that inputs and needs lacked when the run was compiled: `step=digest`, joined by commas."""
    digest_file: str | None = None
    """File to write the step's digest to, 64 hex digits and nothing else: an engine hands it to the steps below."""


def step_digest(kind: str, own: str, inputs: Mapping[str, str | None]) -> str | None:
    """The step's content identity, 64 hex digits; None as long as an input is unknown."""
    if any(value is None for value in inputs.values()):
        return None
    return digest.of_value({"id": IDENTITY, "kind": str(kind), "own": own, "inputs": dict(inputs)})


def to_arguments(step: StepSpec, site: Site) -> list[str]:
    """Command-line arguments for `python -m aifctl.runtime.entry`; `from_arguments` reads them back."""
    flags = [f"--{name}={value}" for name, value in plain(site).items() if value is not None]
    return [f"--step={encode(step)}", *flags]


def encode(step: StepSpec) -> str:
    """Canonical JSON, with `{{` broken up: Argo would read it as a template tag. It can occur in strings only."""
    return digest.canonical_json(plain(step)).replace("{{", "{\\u007b")


def decode(text: str) -> StepSpec:
    """Raises ValueError for text that is no StepSpec, or of a contract this runtime does not know."""
    try:
        values = json.loads(text)
        spec = StepSpec(**{**values, "kind": Kind(values["kind"])})
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"not a step of contract {CONTRACT}: {error}") from error
    if not CONTRACT - 1 <= spec.contract <= CONTRACT:
        raise ValueError(f"step has contract {spec.contract}, this runtime reads {CONTRACT - 1} and {CONTRACT}")
    if spec.id != IDENTITY:
        raise ValueError(f"step has identity {spec.id}, this runtime computes {IDENTITY}")
    return spec


def plain(value: Any) -> dict[str, Any]:
    """As `dataclasses.asdict`, but what is plain already is shared, not copied: a fleet's compile lives in here."""
    return {name: _plain(getattr(value, name)) for name in _names(type(value))}


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is tuple:
        return [_plain(item) for item in value] if value and not isinstance(value[0], str) else value
    return plain(value) if is_dataclass(value) else value


_AS_IT_IS = frozenset({str, int, float, bool, type(None), dict, list})


def _names(kind: type[Any]) -> tuple[str, ...]:
    known = _NAMES.get(kind)
    if known is None:
        known = _NAMES[kind] = tuple(each.name for each in fields(kind))
    return known


_NAMES: dict[type[Any], tuple[str, ...]] = {}
"""Field names by dataclass, looked up once."""


# Configuration, one dataclass a kind. The runtime reads them with pydantic.TypeAdapter.


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where rows come from. `kind` is path, uri, call or step; `value` a path, URL, entry point or `step.output`."""

    kind: str
    value: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One model input, made of one or more columns, in the order given.

    `type`: tensor (several columns, reshaped), number, category, text, image. `shape` is without the batch dimension.
    """

    name: str
    type: str
    columns: tuple[str, ...]
    dtype: str = "float32"
    shape: tuple[int, ...] = ()
    values: tuple[str | int | bool, ...] | None = None
    """Of a category: its known values, in the order of their codes; None learns them from the training rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    column: str
    classes: int | None = None
    """Number of classes; None for regression, or to learn them from the data."""
    names: tuple[str, ...] | None = None
    """Names shown to people, in the order of the class codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Fractions (drawn with `seed`, if asked stratified, grouped or in time order), or a column of splits."""

    fractions: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    stratify: str | None = None
    group: str | None = None
    time: str | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChecks:
    min_rows: int | None = None
    max_rows: int | None = None
    no_nulls: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Column → (least, greatest), both inclusive, None for open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    dataset: str
    task: str
    source: Source
    format: str
    features: tuple[Feature, ...]
    label: Label | None
    split: Split
    checks: DataChecks = field(default_factory=DataChecks)
    sample: int | None = None
    """Keep this many rows (laptop runs: `--sample`), drawn with the split's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomConfig:
    """A user's own step: `call(context)` with `context.inputs[name]`, `.outputs[name]` (paths) and `.params`."""

    call: str
    inputs: Mapping[str, str]
    """Name in user code → step name, or `step.output`."""
    outputs: Mapping[str, str]
    """Name → format (parquet, csv, npz, file …)."""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """`cls` is `module:Class` with fit(train), transform(batch) and `state`; `serve` is graph, server or client."""

    cls: str
    serve: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    every: float | None = None
    """Seconds between checkpoints; None means at the end of each epoch."""
    keep: int = 2
    best: str | None = None
    """Metric whose best checkpoint becomes the model; None takes the last epoch's."""
    goal: str = "minimize"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomTraining:
    command: tuple[str, ...]
    produces: str
    """File or folder below AIF_MODEL_DIR that the command must leave there."""
    predict: str
    """`module:function(model_dir, batch) -> {output name: array}`, used by evaluation, export and serving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    task: str
    framework: str
    dataset: str
    """Name of the dataset that is trained on: the input step `prepare` or `prepare-<dataset>`."""
    model: str | None
    loop: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 1
    batch: int = 32
    seed: int = 0
    precision: str = "fp32"
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    preprocessing: Preprocessing | None = None
    custom: CustomTraining | None = None
    start_from: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    task: str
    dataset: str
    split: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    bounds: Mapping[str, Mapping[str, float]]
    """Metric → {min: …} and/or {max: …}, both inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    name: str
    format: str
    framework: str
    dataset: str
    opset: int | None = None
    quantize: str | None = None
    serve: str | None = None
    """Where preprocessing runs when this serves: graph, server or client; None as the training was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """Two gates: parity of outputs on the model's inputs, and outputs and metrics from raw rows through the bundle."""

    export: str
    task: str
    dataset: str
    split: str
    metrics: tuple[str, ...]
    rtol: float
    atol: float
    max_metric_drop: float
    """Greatest loss a metric may show against the reference on the same rows, absolute."""
    quantized: bool = False
    """Outputs of a quantized export differ by design: only its metrics are held against the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterConfig:
    name: str
    exports: tuple[str, ...]
    description: str = ""
