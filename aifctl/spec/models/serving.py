"""`evaluation`, `export`, `registry`, `serving`, `batch_scoring`, `monitoring`, `schedule`: what follows training."""

from typing import Annotated, Literal

from pydantic import Field

from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.section import Cpu, Duration, Fraction, Integer, Name, Number, Section, Size, Text

ExportFormat = Literal["onnx", "savedmodel", "custom", "torchscript", "safetensors", "keras", "h5", "tflite"]
Runtime = Literal["aif", "tf-serving", "triton", "kserve", "vllm", "torchserve"]
Quantization = Literal["int8-dynamic", "int8-static", "fp16"]


class Bound(Section):
    """Bounds of one metric; at least one of them."""

    min: Number | Integer | None = None
    """Least value that passes, itself allowed; shares are written as 0.95, not 95. Example: `0.95`."""
    max: Number | Integer | None = None
    """Greatest value that passes, itself allowed. Example: `0.2`."""


class Evaluation(Section):
    """On which rows and by which metrics the model is measured, and the bounds it has to hold."""

    split: Literal["train", "validation", "test"] = "test"
    """Rows that are measured on, for evaluation, the gates of exports and the comparison with the champion."""
    metrics: tuple[Text, ...] | None = None
    """Metrics to compute. Of classes: `accuracy`, `f1_macro`, `precision_macro`, `recall_macro`, `log_loss`, `roc_auc`;
    of numbers: `mse`, `rmse`, `mae`, `r2`. Left out: accuracy, f1_macro and log_loss; or rmse, mae and r2.
    Example: `[accuracy, f1_macro]`."""
    gate: dict[Text, Bound] = Field(default_factory=dict)
    """Metric → bounds that it has to hold; a run that does not ends there, before anything is exported.
    Example: `{accuracy: {min: 0.95}}`."""
    compare_with: Literal["champion"] | None = None
    """`champion`: what serves now is measured again on the same rows when a run is promoted, and a worse one by the
    first metric is refused. Not compared when left out."""
    hardware: Hardware = Field(default_factory=Hardware)
    """What evaluation asks of the cluster; 1 CPU core and 2Gi of memory when left out."""


class Parity(Section):
    """How far an export may differ from the trained model (fp32, eval mode, CPU)."""

    rtol: Annotated[Number, Field(ge=0)] | None = None
    """Relative tolerance of outputs. Left out: 1e-3 for onnx, 1e-4 for savedmodel, 1e-6 for custom.
    Example: `0.001`."""
    atol: Annotated[Number, Field(ge=0)] | None = None
    """Absolute tolerance of outputs. Left out: 1e-4 for onnx, 1e-5 for savedmodel, 1e-6 for custom.
    Example: `0.0001`."""
    max_metric_drop: Fraction | None = None
    """How much worse any metric may be from raw rows through the bundle, absolute; 0.005 when left out, 0.02 for
    quantized exports.
    Example: `0.01`."""


class Calibrate(Section):
    """Rows that `quantize: int8-static` looks at."""

    split: Literal["train", "validation"] = "train"
    """Split that the rows are taken from."""
    rows: Annotated[Integer, Field(ge=1)] = 500
    """Number of rows."""


class Export(Section):
    """A bundle to serve from: model, preprocessing, signature, labels. It has to pass parity and the quality gate."""

    name: Name
    """Name of the export, unique in the spec; `serving.export` calls it so. Example: `onnx`."""
    format: ExportFormat
    """Format of the model in the bundle: `onnx` from PyTorch or TensorFlow, `savedmodel` from TensorFlow, `custom` from
    `framework: custom`. The others are not built yet.
    Example: `onnx`."""
    opset: Annotated[Integer, Field(ge=13, le=26)] | None = None
    """Version of ONNX' operator set, of `format: onnx` only: 18 and newer from PyTorch, up to 18 from TensorFlow.
    Left out: 18. Example: `18`."""
    quantize: Quantization | None = None
    """Smaller numbers for the weights; full precision when left out. Not built yet."""
    calibrate: Calibrate | None = None
    """Rows that `quantize: int8-static` looks at; 500 of the training rows when left out.
    Example: `{split: train, rows: 500}`."""
    parity: Parity = Field(default_factory=Parity)
    """How far the export may differ from the trained model; by format when left out.
    Example: `{rtol: 0.001, atol: 0.0001}`."""
    hardware: Hardware = Field(default_factory=Hardware)
    """What exporting and verifying ask of the cluster; 1 CPU core and 4Gi of memory each when left out."""


class Registry(Section):
    """How the model is registered with the platform's MLflow server."""

    name: Text | None = None
    """Name of the registered model; the model's own when left out. Example: `digits`."""
    description: Text = ""
    """A line for people that is registered with each version; changing it repeats the register step alone.
    Example: `Handwritten digits of 8 x 8 pixels`."""


class Resources(Section):
    """What one server asks of the cluster."""

    cpu: Cpu = 1.0
    """CPU cores of one server, `2` or `500m`."""
    memory: Size = 1024**3
    """Memory of one server; more than that and it is killed."""
    accelerator: Name | None = None
    """Accelerator by its name in the platform's catalogue; CPU when left out. Example: `nvidia-l4`."""
    devices: Annotated[Integer, Field(ge=1)] = 1
    """Devices of one server, one of the counts that the catalogue offers; counts only with an `accelerator`."""


class Batching(Section):
    """How requests are computed together."""

    max: Annotated[Integer, Field(ge=1, le=65_536)] = 32
    """Most rows of one request, and of one call of the model."""
    delay: Duration = 0.0
    """How long a request may wait for others to be computed with it; `0s` computes each by itself. Example: `5ms`."""


class Autoscaling(Section):
    """Servers that are added and taken away by a measure."""

    min: Annotated[Integer, Field(ge=0)] = 1
    """Fewest servers, at least 1: with none, nobody would notice a request."""
    max: Annotated[Integer, Field(ge=1)]
    """Most servers. Example: `4`."""
    metric: Text = "cpu"
    """What is measured: `cpu`, in per cent of the cores asked for; `concurrency`, requests at a time; or the name of a
    metric that a metrics adapter offers. `cpu` takes `metrics-server` in the cluster, others `prometheus-operator`.
    Example: `concurrency`."""
    target: Annotated[Number | Integer, Field(gt=0)] = 70
    """Value of the metric that a server is kept at: per cent for `cpu`, else in the metric's own unit, by server."""


class RolloutStep(Section):
    """One step of a canary."""

    weight: Annotated[Integer, Field(ge=0, le=100)]
    """Per cent of the traffic that the new release gets; more than in the step before. Example: `10`."""
    pause: Duration
    """How long the step lasts. Example: `5m`."""


class Analysis(Section):
    """What must hold of the new release at each step. Not built yet."""

    max_error_rate: Fraction | None = None
    """Greatest share of requests that may fail, between 0 and 1. Example: `0.01`."""
    max_p99: Duration | None = None
    """Longest time in which 99 % of requests must be answered. Example: `200ms`."""
    min_requests: Annotated[Integer, Field(ge=1)] | None = None
    """Fewest requests to judge by; with less a step says nothing. Example: `500`."""


class Rollout(Section):
    """How a new release takes over."""

    strategy: Literal["rolling", "canary", "blue-green", "shadow"] = "rolling"
    """`rolling` replaces one server after the other. `canary`, `blue-green` and `shadow` are not built yet."""
    steps: tuple[RolloutStep, ...] = ()
    """Shares of traffic, one after the other; of `strategy: canary`. Example: `[{weight: 10, pause: 5m}]`."""
    analysis: Analysis | None = None
    """What must hold at each step; nothing when left out. Not built yet.
    Example: `{max_error_rate: 0.01, min_requests: 500}`."""


class Route(Section):
    """Where the service is reached from outside the cluster. Not built yet."""

    host: Text
    """Host name. Example: `models.example.com`."""
    path: Annotated[Text, Field(pattern=r"^/")] = "/"
    """Path below which the model answers; begins with `/`. Example: `/digits`."""


class PredictionLog(Section):
    """Which predictions the server writes to its log, one JSON object a line."""

    sample: Fraction = 0.0
    """Share of predicted rows that are logged, drawn at random: 0 none, 0.01 one in a hundred, 1 all.
    Example: `0.01`."""
    redact: tuple[Text, ...] = ()
    """Columns whose values never get into the log. Not built yet. Example: `[email]`."""


class Serving(Section):
    """How a released model is served. `export` suffices."""

    runtime: Runtime = "aif"
    """The server; `aif` is aifctl's own. The others are not built yet."""
    export: Name
    """Name of the export that serves, one of `export`. Example: `onnx`."""
    replicas: Annotated[Integer, Field(ge=0, le=10_000)] = 1
    """Servers, where there is no `autoscaling`; 0 turns the model off."""
    resources: Resources = Field(default_factory=Resources)
    """What one server asks of the cluster; 1 CPU core and 1Gi of memory when left out.
    Example: `{cpu: 2, memory: 2Gi}`."""
    batching: Batching = Field(default_factory=Batching)
    """How requests are computed together; each by itself when left out. Example: `{max: 32, delay: 5ms}`."""
    autoscaling: Autoscaling | None = None
    """Bounds and measure of the number of servers; `replicas` of them when left out.
    Example: `{min: 2, max: 4, metric: cpu, target: 70}`."""
    rollout: Rollout = Field(default_factory=Rollout)
    """How a new release takes over; one server after the other when left out."""
    route: Route | None = None
    """Where the service is reached from outside; only from within the cluster when left out. Not built yet.
    Example: `{host: models.example.com, path: /digits}`."""
    log: PredictionLog = Field(default_factory=PredictionLog)
    """Which predictions are logged; none when left out. Example: `{sample: 0.01}`."""


class Output(Section):
    """Where predictions of a whole dataset go."""

    uri: Text
    """URL of a folder, of any scheme that fsspec writes. Example: `s3://acme-scores/digits`."""


class BatchScoring(Section):
    """Predictions for a whole dataset. Not built yet: call `/batch_predict` of the served model."""

    input: Name
    """Dataset to score, by name."""
    output: Output
    """Where predictions go. Example: `{uri: s3://acme-scores/digits}`."""
    schedule: Text | None = None
    """Minute, hour, day of month, month, day of week; by hand when left out. Example: `0 4 * * *`."""


class Alerts(Section):
    """Bounds beyond which somebody is told."""

    p99: Duration | None = None
    """Longest time in which 99 % of requests are answered. No alert is made of it yet. Example: `200ms`."""
    error_rate: Fraction | None = None
    """Greatest share of failed requests, between 0 and 1. No alert is made of it yet. Example: `0.01`."""
    low_confidence: Fraction | None = None
    """Confidence below which the server counts a prediction as unsure, in the metric
    `aif_low_confidence_predictions_total`; 0.5 when left out.
    Example: `0.6`."""


class Drift(Section):
    """How far inputs may move from those that were trained on. Not built yet."""

    reference: Literal["train", "validation", "test"] = "train"
    """Split that inputs are compared with."""
    psi: Annotated[Number, Field(gt=0)] = 0.2
    """Population stability index of a feature from which on it has drifted; 0.1 is little, 0.25 is much."""


class Monitoring(Section):
    """What is watched while the model serves."""

    alerts: Alerts = Field(default_factory=Alerts)
    """Bounds beyond which somebody is told. Example: `{low_confidence: 0.6}`."""
    drift: Drift | None = None
    """How far inputs may move from those that were trained on; not watched when left out. Not built yet."""


class Schedule(Section):
    """When runs start by themselves."""

    cron: Annotated[Text, Field(pattern=r"^\S+( \S+){4}$")]
    """Minute, hour, day of month, month, day of week: `0 3 * * *` is 3 o'clock each night. Example: `0 3 * * *`."""
    timezone: Text = "UTC"
    """Time zone that `cron` is read in, by its IANA name. Example: `Europe/Berlin`."""
