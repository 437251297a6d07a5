"""What the vocabulary has and no back end builds yet: one table, so that nothing is ever passed over in silence.

An error where leaving it out would change what is trained, served or exposed; else a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.diagnostics.model import KeyPath
from aifctl.spec.models.platform import Role

Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """`path` is below `spec`, `*` stands for every entry of a list or mapping; `what` may name the `{value}` there."""

    path: str
    what: str
    hint: str
    test: Test = bool
    role: Role = "train"
    severity: Severity = Severity.ERROR
    on_key: bool = False
    cluster: bool = False
    """What a laptop does not have anyway: only a warning there, where no platform names environments that have it."""


def _among(*values: object) -> Test:
    return lambda value: value in values


def _other_than(value: object) -> Test:
    return lambda found: found != value


def _above(limit: int) -> Test:
    return lambda value: isinstance(value, int) and value > limit


STAGES = ("training", "evaluation", "tuning", "datasets.*", "steps.*", "export.*")
"""Those that may ask for hardware."""
TABLE = (
    Unbuilt("task", "`task: causal-lm`", "tasks are `classification`, `regression` and `custom`", _among("causal-lm")),
    Unbuilt("tuning", "tuning", "try values by hand: `aifctl run --set …`, and compare by `aifctl runs`", on_key=True),
    Unbuilt("training.start_from", "starting from an earlier model", "load it in `build`", on_key=True),
    Unbuilt(
        "training.framework",
        "`framework: {value}`",
        "use `pytorch` with a `loop` of your own, or `custom` with your script",
        _among("lightning", "huggingface"),
    ),
    Unbuilt(
        "training.precision",
        "`precision: {value}`",
        "use `fp32`, `bf16-mixed` or `fp16-mixed`",
        _among("tf32", "bf16", "fp8-mixed"),
    ),
    Unbuilt("code.git", "code from Git", "check it out below the spec: `code: {path: …}`"),
    Unbuilt(
        "datasets.*.format",
        "reading `{value}`",
        "use `csv`, `parquet`, `jsonl` or `npz`; or read it in a function: `source: {call: …}`",
        _among("tfrecord", "imagefolder", "huggingface"),
    ),
    Unbuilt("datasets.*.source.table", "reading tables of a catalogue", "read it in a function: `source: {call: …}`"),
    Unbuilt("datasets.*.source.sql", "reading by SQL", "query it in a function: `source: {call: …}`"),
    Unbuilt(
        "datasets.*.source.uri",
        "reading from the Hugging Face hub",
        "load it in a function: `source: {call: …}`",
        lambda uri: isinstance(uri, str) and uri.startswith("hf://"),
    ),
    Unbuilt(
        "datasets.*.features.*.type",
        "features of type `{value}`",
        "turn it into numbers: a `tensor` of columns",
        _among("text", "image"),
    ),
    *(
        Unbuilt(f"{stage}.hardware.nodes", "a step on {value} nodes", "use one node", _above(1), cluster=True)
        for stage in STAGES
    ),
    *(
        Unbuilt(
            f"{stage}.hardware.per_node",
            "a step on {value} devices",
            "use one device: `per_node: 1`",
            _above(1),
            cluster=True,
        )
        for stage in STAGES
    ),
    Unbuilt("export.*.quantize", "quantizing", "export without `quantize`"),
    Unbuilt(
        "export.*.format",
        "the export `{value}`",
        "export `onnx`, or `savedmodel` from TensorFlow",
        _among("torchscript", "safetensors", "keras", "h5", "tflite"),
    ),
    Unbuilt(
        "serving.runtime", "serving with `{value}`", "use `runtime: aif`", _other_than("aif"), "serve", cluster=True
    ),
    Unbuilt(
        "serving.rollout.strategy",
        "a `{value}` rollout",
        "leave `rollout` out: replicas are replaced one after the other",
        _other_than("rolling"),
        "serve",
        cluster=True,
    ),
    Unbuilt(
        "serving.rollout.analysis",
        "judging a rollout by its requests",
        "leave `analysis` out",
        lambda value: value is not None,
        "serve",
        on_key=True,
        cluster=True,
    ),
    Unbuilt(
        "serving.route",
        "routing from outside the cluster",
        "leave `route` out",
        bool,
        "serve",
        on_key=True,
        cluster=True,
    ),
    Unbuilt(
        "serving.log.redact",
        "redacting logged predictions",
        "leave `log` out, so that nothing is logged",
        bool,
        "serve",
        on_key=True,
    ),
    Unbuilt("batch_scoring", "batch scoring", "call `/batch_predict` of the served model", on_key=True),
    Unbuilt(
        "monitoring.drift",
        "watching for drift",
        "nothing is watched; what serves stays the same",
        bool,
        "serve",
        Severity.WARNING,
        on_key=True,
    ),
    *(
        Unbuilt(
            f"monitoring.alerts.{name}",
            f"alerting on `{name}`",
            "no alert is made; the server's `/metrics` has what it takes",
            lambda value: value is not None,
            "serve",
            Severity.WARNING,
        )
        for name in ("p99", "error_rate")
    ),
)


def check(subject: Subject) -> Iterator[Diagnostic]:
    has_others = subject.platform is not None
    for row in TABLE:
        if row.role not in subject.environment.roles or (row.cluster and subject.environment.local and has_others):
            continue
        for path, value in _found(subject.spec, row.path.split(".")):
            if row.test(value):
                message = f"not built yet: {row.what.format(value=value)}"
                where = subject.at(*path, on_key=row.on_key)
                mild = row.cluster and subject.environment.local
                yield Diagnostic(
                    "AIF390", message, row.hint, where, severity=Severity.WARNING if mild else row.severity
                )


def _found(here: Any, steps: list[str]) -> Iterator[tuple[KeyPath, Any]]:
    """(path, value) of everything that the steps lead to."""
    if not steps:
        yield (), here
        return
    step, rest = steps[0], steps[1:]
    for name, below in _entries(here) if step == "*" else _field(here, step):
        for path, value in _found(below, rest):
            yield (name, *path), value


def _entries(here: Any) -> Iterator[tuple[str | int, Any]]:
    yield from here.items() if isinstance(here, dict) else enumerate(here or ())


def _field(here: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(here, BaseModel):
        yield name, getattr(here, name)
