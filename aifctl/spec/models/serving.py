"""`evaluation`, `export`, `registry`, `serving`, `batch_scoring`, `monitoring`, `schedule`: what follows training."""

from typing import Annotated, Literal

from pydantic import Field

from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.section import Cpu, Duration, Fraction, Integer, Name, Number, Section, Size, Text

ExportFormat = Literal["onnx", "savedmodel", "custom", "torchscript", "safetensors", "keras", "h5", "tflite"]
Runtime = Literal["aif", "tf-serving", "triton", "kserve", "vllm", "torchserve"]
Quantization = Literal["int8-dynamic", "int8-static", "fp16"]


class Bound(Section):
    min: Number | Integer | None = None
    max: Number | Integer | None = None


class Evaluation(Section):
    split: Literal["train", "validation", "test"] = "test"
    metrics: tuple[Text, ...] | None = Field(
        None, description="Metrics to compute; the task's usual ones when left out."
    )
    gate: dict[Text, Bound] = Field(
        default_factory=dict, description="Metric → least and greatest value that may pass."
    )
    compare_with: Literal["champion"] | None = Field(
        None, description="Compare with what serves now, again at promote."
    )
    hardware: Hardware = Field(default_factory=Hardware)


class Parity(Section):
    """How far an export may differ from the trained model (fp32, eval mode, CPU)."""

    rtol: Annotated[Number, Field(ge=0)] | None = None
    atol: Annotated[Number, Field(ge=0)] | None = None
    max_metric_drop: Fraction | None = Field(None, description="Greatest loss a metric may show, absolute.")


class Calibrate(Section):
    split: Literal["train", "validation"] = "train"
    rows: Annotated[Integer, Field(ge=1)] = 500


class Export(Section):
    name: Name
    format: ExportFormat
    opset: Annotated[Integer, Field(ge=13, le=26)] | None = Field(
        None, description="ONNX operator set; 18 when left out."
    )
    quantize: Quantization | None = None
    calibrate: Calibrate | None = None
    parity: Parity = Field(default_factory=Parity)
    hardware: Hardware = Field(default_factory=Hardware)


class Registry(Section):
    name: Text | None = Field(None, description="Registered model's name; the model's own when left out.")
    description: Text = ""


class Resources(Section):
    cpu: Cpu = 1.0
    memory: Size = 1024**3
    accelerator: Name | None = None
    devices: Annotated[Integer, Field(ge=1)] = 1


class Batching(Section):
    max: Annotated[Integer, Field(ge=1, le=65_536)] = 32
    delay: Duration = 0.0


class Autoscaling(Section):
    min: Annotated[Integer, Field(ge=0)] = 1
    max: Annotated[Integer, Field(ge=1)]
    metric: Text = Field("cpu", description="cpu (per cent of the request), concurrency, or a metric's name.")
    target: Annotated[Number | Integer, Field(gt=0)] = 70


class RolloutStep(Section):
    weight: Annotated[Integer, Field(ge=0, le=100)]
    pause: Duration


class Analysis(Section):
    max_error_rate: Fraction | None = None
    max_p99: Duration | None = None
    min_requests: Annotated[Integer, Field(ge=1)] | None = None


class Rollout(Section):
    strategy: Literal["rolling", "canary", "blue-green", "shadow"] = "rolling"
    steps: tuple[RolloutStep, ...] = ()
    analysis: Analysis | None = None


class Route(Section):
    host: Text
    path: Annotated[Text, Field(pattern=r"^/")] = "/"


class PredictionLog(Section):
    sample: Fraction = 0.0
    redact: tuple[Text, ...] = ()


class Serving(Section):
    runtime: Runtime = "aif"
    export: Name = Field(description="Name of the export that serves.")
    replicas: Annotated[Integer, Field(ge=0, le=10_000)] = 1
    resources: Resources = Field(default_factory=Resources)
    batching: Batching = Field(default_factory=Batching)
    autoscaling: Autoscaling | None = None
    rollout: Rollout = Field(default_factory=Rollout)
    route: Route | None = None
    log: PredictionLog = Field(default_factory=PredictionLog)


class Output(Section):
    uri: Text


class BatchScoring(Section):
    input: Name
    output: Output
    schedule: Text | None = None


class Alerts(Section):
    p99: Duration | None = None
    error_rate: Fraction | None = None
    low_confidence: Fraction | None = Field(None, description="Confidence below which a prediction counts as unsure.")


class Drift(Section):
    reference: Literal["train", "validation", "test"] = "train"
    psi: Annotated[Number, Field(gt=0)] = 0.2


class Monitoring(Section):
    alerts: Alerts = Field(default_factory=Alerts)
    drift: Drift | None = None


class Schedule(Section):
    cron: Annotated[Text, Field(pattern=r"^\S+( \S+){4}$")] = Field(
        description="Minute, hour, day of month, month, day of week.", examples=["0 3 * * *"]
    )
    timezone: Text = "UTC"
