"""References between sections: what is named exists, steps do not read each other in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter

from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic, Where
from aifctl.diagnostics.model import KeyPath
from aifctl.spec.schema import did_you_mean

KINDS = ("prepare", "custom", "train", "evaluate", "gate", "export", "verify", "register", "serve")


def check(subject: Subject) -> Iterator[Diagnostic]:
    yield from _trained_dataset(subject)
    yield from _served_export(subject)
    yield from _scored_dataset(subject)
    yield from _step_inputs(subject)
    yield from _dataset_steps(subject)
    yield from _variable_steps(subject)
    yield from _circle(subject)


def _unknown(what: str, name: str, known: Iterable[str], where: Where) -> Diagnostic:
    return Diagnostic("AIF310", f"there is no {what} `{name}`", did_you_mean(name, known), where)


def _trained_dataset(subject: Subject) -> Iterator[Diagnostic]:
    names = [dataset.name for dataset in subject.spec.datasets]
    chosen = subject.spec.training.dataset
    if chosen is not None and chosen not in names:
        yield _unknown("dataset", chosen, names, subject.at("training", "dataset"))
    if chosen is None and len(names) > 1:
        message = f"`training` does not say which of {len(names)} datasets it learns from"
        hint = f"name one: `dataset: {names[0]}`"
        yield Diagnostic("AIF314", message, hint, subject.at("training", on_key=True))


def _served_export(subject: Subject) -> Iterator[Diagnostic]:
    serving, names = subject.spec.serving, [export.name for export in subject.spec.export]
    if serving is not None and serving.export not in names:
        where = subject.at("serving", "export")
        if names:
            yield _unknown("export", serving.export, names, where)
        else:
            hint = f"add one: `export: [{{name: {serving.export}, format: onnx}}]`"
            yield Diagnostic("AIF310", f"there is no export `{serving.export}`", hint, where)


def _scored_dataset(subject: Subject) -> Iterator[Diagnostic]:
    scoring, names = subject.spec.batch_scoring, [dataset.name for dataset in subject.spec.datasets]
    if scoring is not None and scoring.input not in names:
        yield _unknown("dataset", scoring.input, names, subject.at("batch_scoring", "input"))


def _step_inputs(subject: Subject) -> Iterator[Diagnostic]:
    spec = subject.spec
    outputs = [f"{step.name}.{output}" for step in spec.steps for output in step.outputs]
    known = [*(dataset.name for dataset in spec.datasets), *outputs]
    for index, step in enumerate(spec.steps):
        for name, value in step.inputs.items():
            if value not in known:
                what = "step output" if "." in value else "dataset"
                yield _unknown(what, value, known, subject.at("steps", index, "inputs", name))


def _dataset_steps(subject: Subject) -> Iterator[Diagnostic]:
    outputs = {f"{step.name}.{name}": form for step in subject.spec.steps for name, form in step.outputs.items()}
    for index, dataset in enumerate(subject.spec.datasets):
        wanted, where = dataset.source.step, subject.at("datasets", index, "source", "step")
        if wanted is None:
            continue
        if wanted not in outputs:
            yield _unknown("step output", wanted, outputs, where)
        elif outputs[wanted] == "file":
            hint = "declare it as `parquet`, `csv`, `jsonl` or `npz` if it is a table"
            yield Diagnostic("AIF328", f"the output `{wanted}` is a file of no known format, not a table", hint, where)


def steps_of(subject: Subject) -> list[str]:
    """Every name that `env` and `secrets` may give in `steps`: steps of this run, kinds of steps, and `serve`."""
    spec = subject.spec
    exports = [f"{kind}-{export.name}" for export in spec.export for kind in ("export", "verify")]
    prepares = [f"prepare-{dataset.name}" for dataset in spec.datasets] if len(spec.datasets) > 1 else []
    return [*KINDS, *prepares, *(step.name for step in spec.steps), *exports]


def _variable_steps(subject: Subject) -> Iterator[Diagnostic]:
    known = steps_of(subject)
    given: list[tuple[KeyPath, tuple[str, ...] | None]] = [
        *((("env", name), variable.steps) for name, variable in subject.spec.env.items()),
        *((("secrets", index), each.steps) for index, each in enumerate(subject.spec.secrets)),
    ]
    for path, names in given:
        for index, name in enumerate(names or ()):
            if name not in known:
                yield _unknown("step", name, known, subject.at(*path, "steps", index))


def _circle(subject: Subject) -> Iterator[Diagnostic]:
    """Own steps may read datasets that other steps make, so a circle can lead through both."""
    spec = subject.spec
    reads: dict[str, set[str]] = {}
    for step in spec.steps:
        reads[f"step `{step.name}`"] = {
            f"step `{value.partition('.')[0]}`" if "." in value else f"dataset `{value}`"
            for value in step.inputs.values()
        }
    for dataset in spec.datasets:
        if dataset.source.step is not None:
            reads[f"dataset `{dataset.name}`"] = {f"step `{dataset.source.step.partition('.')[0]}`"}
    try:
        TopologicalSorter(reads).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        names = {f"step `{step.name}`": index for index, step in enumerate(spec.steps)}
        first = next((names[node] for node in circle if node in names), 0)
        message = f"steps read each other in a circle: {' ← '.join(circle)}"
        hint = "let one of them read a dataset with a source of its own"
        yield Diagnostic("AIF313", message, hint, subject.at("steps", first, "inputs", on_key=True))
