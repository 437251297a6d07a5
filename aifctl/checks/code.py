"""User code: there where entry points need it, with the modules they name, in an image that has what it requires."""

from __future__ import annotations

from collections.abc import Iterator

from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.diagnostics.model import KeyPath
from aifctl.spec.schema import suggest

BASE = frozenset(
    {
        "aifctl",
        "pydantic",
        "pyyaml",
        "py-yaml12",
        "jinja2",
        "typer",
        "rich",
        "aiohttp",
        "orjson",
        "kubernetes",
        "prometheus-client",
    }
)
DATA = frozenset({"numpy", "pandas", "pyarrow", "scikit-learn", "matplotlib", "fsspec"})
TRACKING = frozenset({"mlflow"})
STORES = frozenset({"s3fs", "gcsfs"})
ONNX = frozenset({"onnx", "onnxruntime", "onnxscript", "tf2onnx"})
SKLEARN = frozenset({"scipy", "joblib", "skops"})
"""What scikit-learn comes with, and what its models are kept in."""
TORCH = frozenset({"torch", "safetensors"})
TENSORFLOW = frozenset({"tensorflow", "keras"})
RUNTIME_IMAGES: dict[str, frozenset[str]] = {
    "pytorch": BASE | DATA | TRACKING | STORES | ONNX | TORCH,
    "lightning": BASE | DATA | TRACKING | STORES | ONNX | TORCH,
    "huggingface": BASE | DATA | TRACKING | STORES | ONNX | TORCH,
    "tensorflow": BASE | DATA | TRACKING | STORES | ONNX | TENSORFLOW,
    "custom": BASE | DATA | TRACKING | STORES | SKLEARN,
}
"""Packages of a framework's runtime image, normalised: extras `data`, `mlflow`, `s3`, `gcs`, `onnx` and its own."""


def check(subject: Subject) -> Iterator[Diagnostic]:
    yield from _needed(subject)
    yield from _files(subject)
    yield from _modules(subject)
    if subject.trains_on_cluster:
        yield from _requirements(subject)


def entry_points(subject: Subject) -> Iterator[tuple[KeyPath, str]]:
    """(path below `spec`, `module:name`) of everything that imports user code."""
    spec = subject.spec
    training = spec.training
    if training.model is not None:
        yield ("training", "model"), training.model
    if training.loop is not None:
        yield ("training", "loop"), training.loop
    if training.custom is not None:
        yield ("training", "custom", "predict"), training.custom.predict
    if spec.preprocessing is not None:
        yield ("preprocessing", "class"), spec.preprocessing.class_
    for index, step in enumerate(spec.steps):
        yield ("steps", index, "call"), step.call
    for index, dataset in enumerate(spec.datasets):
        if dataset.source.call is not None:
            yield ("datasets", index, "source", "call"), dataset.source.call


def _needed(subject: Subject) -> Iterator[Diagnostic]:
    if subject.spec.code is None:
        path, value = next(entry_points(subject))
        hint = "say where it lies: `code: {path: src}`"
        yield Diagnostic("AIF350", f"`{value}` is your code, but the spec has no `code`", hint, subject.at(*path))


def _files(subject: Subject) -> Iterator[Diagnostic]:
    """Data, code and requirements that can't be read."""
    facts = subject.unit.facts
    for index, dataset in enumerate(subject.spec.datasets):
        fact = facts.data.get(dataset.name)
        if fact is not None and fact.problem is not None:
            yield _unusable(subject, dataset.source.value, fact.problem, ("datasets", index, "source", "path"))
    code = subject.spec.code
    if code is not None and code.path is not None and facts.code is not None and facts.code.problem is not None:
        yield _unusable(subject, code.path, facts.code.problem, ("code", "path"))
    required = facts.requirements
    if code is not None and code.requirements is not None and required is not None and required.problem is not None:
        yield _unusable(subject, code.requirements, required.problem, ("code", "requirements"))


def _unusable(subject: Subject, name: str, problem: str, path: KeyPath) -> Diagnostic:
    hint = f"paths are relative to the folder of {subject.unit.document.path.name}, and stay inside it"
    return Diagnostic("AIF351", f"`{name}` {problem}", hint, subject.at(*path))


def _modules(subject: Subject) -> Iterator[Diagnostic]:
    """Entry points whose module is not in the code's folder. What a function is called only importing would tell."""
    fact = subject.unit.facts.code
    if fact is None or fact.problem is not None or not fact.files:
        return
    modules = set(_module_names(fact.files))
    tops = {module.partition(".")[0] for module in modules}
    for path, value in entry_points(subject):
        module = value.partition(":")[0]
        if module in modules:
            continue
        close = suggest(module, modules)
        sure = module.partition(".")[0] in tops or close is not None
        hint = (
            f"did you mean `{close}:{value.partition(':')[2]}`?" if close is not None else _files_hint(module, modules)
        )
        code = subject.spec.code
        message = f"there is no module `{module}` in `{code.path if code is not None else ''}`"
        severity = Severity.ERROR if sure else Severity.WARNING
        yield Diagnostic("AIF356", message, hint, subject.at(*path), severity=severity)


def _files_hint(module: str, modules: set[str]) -> str:
    there = ", ".join(f"`{name}`" for name in sorted(modules)[:5])
    file = module.replace(".", "/")
    return f"it would be the file `{file}.py`; modules there are {there}" if there else f"it would be `{file}.py`"


def _module_names(files: dict[str, str]) -> Iterator[str]:
    for file in files:
        if file.endswith(".py"):
            yield file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _requirements(subject: Subject) -> Iterator[Diagnostic]:
    """Requirements beyond the runtime image need an image of one's own."""
    code, fact = subject.spec.code, subject.unit.facts.requirements
    if code is None or fact is None or fact.problem is not None:
        return
    where = subject.at("code", "requirements")
    if code.image is not None:
        lock = subject.unit.lock
        if lock is None or lock.requirements is None:
            yield Diagnostic("AIF353", f"`{code.requirements}` is not locked", "run `aifctl lock`", where)
        return
    framework = subject.spec.training.framework
    lacking = sorted(set(fact.names) - RUNTIME_IMAGES[framework])
    if lacking:
        names = ", ".join(f"`{name}`" for name in lacking)
        hint = "run `aifctl build` and name the image it makes: `code: {image: …@sha256:…}`"
        message = f"the runtime image of `{framework}` does not have {names}"
        yield Diagnostic("AIF352", message, hint, where)
