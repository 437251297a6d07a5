"""Which framework exports what, which server reads it, and where preprocessing can run. What exists, built or not.

Sources: the exporters' own documentation; KServe 0.20's runtimes; TF Serving and Triton model repositories.
"""

from __future__ import annotations

from collections.abc import Iterator

from aifctl.checks.subject import Subject, listed
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.spec.models.serving import Export

EXPORTS: dict[str, tuple[str, ...]] = {
    "pytorch": ("onnx", "torchscript", "safetensors"),
    "lightning": ("onnx", "torchscript", "safetensors"),
    "huggingface": ("safetensors", "onnx"),
    "tensorflow": ("savedmodel", "onnx", "keras", "h5", "tflite"),
    "custom": ("custom",),
}
READS: dict[str, tuple[str, ...]] = {
    "aif": ("onnx", "savedmodel", "custom"),
    "tf-serving": ("savedmodel",),
    "triton": ("onnx", "savedmodel", "torchscript"),
    "kserve": ("onnx", "savedmodel", "torchscript", "safetensors"),
    "vllm": ("safetensors",),
    "torchserve": ("torchscript",),
}
RUNS_PYTHON = ("aif",)
"""Servers that run user code beside the model."""
ARCHIVES = ("keras", "h5")
"""Formats that hold Python objects: loading one can run code, and only Python loads them."""
QUANTIZED = ("onnx", "tflite")
OPSETS: dict[str, tuple[int, int]] = {
    "pytorch": (18, 26),
    "lightning": (18, 26),
    "huggingface": (18, 26),
    "tensorflow": (13, 18),
}
"""First and last ONNX operator set that the framework's exporter writes.

PyTorch: torch.onnx's operators are written in set 18 (`TORCHLIB_OPSET` of torch 2.9 to 2.15); asked for an older one it
warns and writes 18, or a conversion of it where one succeeds. onnxruntime 1.31 runs up to 26. TensorFlow: tf2onnx 1.17
is tested on 14 to 18 by its README, refuses 19 ("not supported yet"), and its quantised operators begin with 13.
"""


def check(subject: Subject) -> Iterator[Diagnostic]:
    for index, export in enumerate(subject.spec.export):
        yield from _from_framework(subject, index, export)
        yield from _options(subject, index, export)
        yield from _opset(subject, index, export)
    yield from _server(subject)
    yield from _archive(subject)
    yield from _end_of_life(subject)
    yield from _preprocessing(subject)


def served(subject: Subject) -> tuple[int, Export] | None:
    """The export that serves, with its place in the list."""
    serving = subject.spec.serving
    if serving is None:
        return None
    return next(((i, e) for i, e in enumerate(subject.spec.export) if e.name == serving.export), None)


def _from_framework(subject: Subject, index: int, export: Export) -> Iterator[Diagnostic]:
    framework = subject.spec.training.framework
    if export.format not in EXPORTS[framework]:
        message = f"a `{framework}` model can't be exported as `{export.format}`"
        hint = f"it can be exported as {listed(EXPORTS[framework])}"
        yield Diagnostic("AIF340", message, hint, subject.at("export", index, "format"))


def _options(subject: Subject, index: int, export: Export) -> Iterator[Diagnostic]:
    """Options that say something about another kind of export."""
    if export.opset is not None and export.format != "onnx":
        yield _odd(subject, index, "opset", f"`{export.format}` has no opset", "it belongs to `format: onnx`")
    if export.quantize is not None and export.format not in QUANTIZED:
        hint = f"quantized can be {listed(QUANTIZED)}"
        yield _odd(subject, index, "quantize", f"`{export.format}` can't be quantized", hint)
    if export.calibrate is not None and export.quantize != "int8-static":
        hint = "add `quantize: int8-static`, or leave `calibrate` out"
        yield _odd(subject, index, "calibrate", "only `quantize: int8-static` is calibrated", hint)


def _opset(subject: Subject, index: int, export: Export) -> Iterator[Diagnostic]:
    framework = subject.spec.training.framework
    if export.opset is None or export.format != "onnx" or framework not in OPSETS:
        return
    first, last = OPSETS[framework]
    if not first <= export.opset <= last:
        message = f"a `{framework}` model can't be exported with opset {export.opset}"
        hint = f"use opset {first} to {last}, or leave `opset` out"
        yield Diagnostic("AIF348", message, hint, subject.at("export", index, "opset"))


def _odd(subject: Subject, index: int, field: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic("AIF347", message, hint, subject.at("export", index, field, on_key=True))


def _server(subject: Subject) -> Iterator[Diagnostic]:
    serving, found = subject.spec.serving, served(subject)
    if serving is None or found is None:
        return
    _, export = found
    archive = export.format in ARCHIVES and subject.policy("keras-archive-in-production") is Severity.ERROR
    if export.format in READS[serving.runtime] or (archive and subject.serves_on_cluster):
        return
    able = [name for name, formats in READS.items() if export.format in formats]
    fitting = [each.name for each in subject.spec.export if each.format in READS[serving.runtime]]
    hint = f"it reads {listed(READS[serving.runtime])}"
    if fitting:
        hint += f"; serve the export {listed(fitting)}"
    elif able:
        hint += f"; `{export.format}` is read by {listed(able)}"
    message = f"`{serving.runtime}` can't read the export `{export.name}`, which is `{export.format}`"
    yield Diagnostic("AIF341", message, hint, subject.at("serving", "export"))


def _archive(subject: Subject) -> Iterator[Diagnostic]:
    found, level = served(subject), subject.policy("keras-archive-in-production")
    if found is None or level is None or not subject.serves_on_cluster or found[1].format not in ARCHIVES:
        return
    index, export = found
    message = f"a Keras archive (`{export.format}`) would serve in `{subject.environment.name}`"
    hint = "serve a `savedmodel`: loading an archive can run any code that is in it"
    yield Diagnostic("AIF342", message, hint, subject.at("export", index, "format"), severity=level)


def _end_of_life(subject: Subject) -> Iterator[Diagnostic]:
    if subject.spec.serving is not None and subject.spec.serving.runtime == "torchserve":
        message = "TorchServe is no longer maintained: its repository was archived in August 2025"
        hint = "export `onnx` and serve it with `runtime: aif`"
        where = subject.at("serving", "runtime")
        yield Diagnostic("AIF343", message, hint, where, severity=Severity.WARNING)


def _preprocessing(subject: Subject) -> Iterator[Diagnostic]:
    preprocessing, serving = subject.spec.preprocessing, subject.spec.serving
    if preprocessing is None:
        return
    where = subject.at("preprocessing", "serve")
    if preprocessing.serve == "graph" and subject.spec.training.framework == "custom":
        hint = "use `serve: server`, or `client` where callers preprocess"
        yield Diagnostic("AIF344", "a custom model has no graph that preprocessing could be part of", hint, where)
    if preprocessing.serve == "server" and serving is not None and serving.runtime not in RUNS_PYTHON:
        message = f"`{serving.runtime}` runs no Python, so preprocessing can't run in the server"
        hint = f"use `serve: graph`, or a server that runs Python: {listed(RUNS_PYTHON)}"
        yield Diagnostic("AIF344", message, hint, where)
