"""Datasets: shares, columns, shapes and labels that fit together and fit the task."""

from __future__ import annotations

import math
from collections.abc import Iterator

from aifctl.checks.subject import Subject, listed
from aifctl.diagnostics import Diagnostic
from aifctl.diagnostics.model import KeyPath
from aifctl.spec.columns import expand
from aifctl.spec.models.dataset import Dataset, Feature

LABELLED = frozenset({"classification", "regression", "sequence-classification"})
CLASSES = frozenset({"classification", "sequence-classification"})
OWN_FIELDS = {"shape": ("tensor", "number"), "values": ("category",), "tokenizer": ("text",), "size": ("image",)}
"""Field of a feature → the types it belongs to."""
SUFFIXES = (".csv", ".parquet", ".jsonl", ".npz", ".tfrecord")
ROUNDING = 1e-6


def check(subject: Subject) -> Iterator[Diagnostic]:
    for index, dataset in enumerate(subject.spec.datasets):
        yield from _shares(subject, index, dataset)
        yield from _format(subject, index, dataset)
        for name, feature in dataset.features.items():
            yield from _feature(subject, (index, name), feature)
        yield from _label(subject, index, dataset)
        yield from _leaks(subject, index, dataset)
    yield from _rows_to_use(subject)
    yield from _something_to_learn(subject)


def _shares(subject: Subject, index: int, dataset: Dataset) -> Iterator[Diagnostic]:
    split = dataset.split
    given = {n: getattr(split, n) for n in ("train", "validation", "test") if getattr(split, n) is not None}
    if split.by is not None and split.by.column is not None:
        for name in given:
            where = subject.at("datasets", index, "split", name, on_key=True)
            message = f"`{name}` gives a share, but the column `{split.by.column}` already says each row's split"
            yield Diagnostic("AIF321", message, "leave the shares out, or `by.column`", where)
        return
    total = sum(given.values())
    if given and not math.isclose(total, 1, abs_tol=ROUNDING):
        shares = " + ".join(f"{share:g}" for share in given.values())
        message = f"the shares of the split add up to {total:g}, not 1" + (f" ({shares})" if len(given) > 1 else "")
        yield Diagnostic("AIF320", message, _missing_share(given, total), subject.at("datasets", index, "split"))


def _missing_share(given: dict[str, float], total: float) -> str:
    absent = [name for name in ("test", "validation") if name not in given]
    if total < 1 and absent:
        return f"give the rest to `{absent[0]}: {1 - total:.6g}`"
    return "write shares such as `{train: 0.8, validation: 0.1, test: 0.1}`"


def _format(subject: Subject, index: int, dataset: Dataset) -> Iterator[Diagnostic]:
    source = dataset.source
    if dataset.format is None and source.kind in ("path", "uri") and not source.value.endswith(SUFFIXES):
        message = f"the format can't be told from the name `{source.value}`"
        hint = "say it: `format: csv`, `parquet`, `jsonl` or `npz`"
        yield Diagnostic("AIF328", message, hint, subject.at("datasets", index, "source", source.kind))


def _feature(subject: Subject, place: tuple[int, str], feature: Feature) -> Iterator[Diagnostic]:
    index, name = place
    path = ("datasets", index, "features", name)
    for field, types in OWN_FIELDS.items():
        if getattr(feature, field) is not None and feature.type not in types:
            message = f"a feature of type `{feature.type}` has no `{field}`"
            hint = f"`{field}` belongs to features of type {' or '.join(f'`{t}`' for t in types)}"
            yield Diagnostic("AIF329", message, hint, subject.at(*path, field, on_key=True))
    columns: list[str] = []
    for place_of_entry, entry in _entries(feature, name):
        try:
            expanded = expand(entry, name)
        except ValueError as error:
            hint = "write a range as `p0..p63`: the same prefix twice, the smaller number first"
            yield Diagnostic("AIF324", str(error), hint, subject.at(*path, *place_of_entry))
            return
        twice = [column for column in expanded if column in columns]
        if twice:
            message = f"the feature `{name}` has the column {listed(twice[:3])} twice"
            yield Diagnostic("AIF324", message, "name each column once", subject.at(*path, *place_of_entry))
            return
        columns += expanded
    if feature.shape is not None and math.prod(feature.shape) != len(columns):
        shape = " × ".join(map(str, feature.shape))
        message = f"{len(columns)} columns don't fill the shape {shape}, which holds {math.prod(feature.shape)} values"
        yield Diagnostic("AIF323", message, _shape_hint(len(columns)), subject.at(*path, "shape"))
    elif feature.type in ("category", "text", "image") and len(columns) != 1:
        message = f"a feature of type `{feature.type}` has one column, `{name}` has {len(columns)}"
        yield Diagnostic("AIF323", message, "make a feature of each column", subject.at(*path, "columns"))


def _shape_hint(count: int) -> str:
    side = math.isqrt(count)
    fits = f"`shape: [{side}, {side}]` or `shape: [{count}]`" if side * side == count > 1 else f"`shape: [{count}]`"
    return f"{count} columns fill {fits}"


def _label(subject: Subject, index: int, dataset: Dataset) -> Iterator[Diagnostic]:
    label, task = dataset.label, subject.spec.task
    if label is None:
        return
    path = ("datasets", index, "label")
    if task == "regression":
        for field in ("classes", "names"):
            if getattr(label, field) is not None:
                hint = f"leave `{field}` out, or use `task: classification`"
                where = subject.at(*path, field, on_key=True)
                yield Diagnostic("AIF326", f"the label of a regression has no `{field}`", hint, where)
        return
    if label.names is not None and len(set(label.names)) < len(label.names):
        twice = next(name for name in label.names if label.names.count(name) > 1)
        where = subject.at(*path, "names", _last(label.names, twice))
        yield Diagnostic("AIF326", f"two classes are called `{twice}`", "give each class its own name", where)
    if label.names is not None and label.classes is not None and len(label.names) != label.classes:
        message = f"{len(label.names)} names for {label.classes} classes"
        yield Diagnostic("AIF326", message, "name every class, in the order of their codes", subject.at(*path, "names"))


def _last(names: tuple[str, ...], name: str) -> int:
    return len(names) - 1 - names[::-1].index(name)


def _leaks(subject: Subject, index: int, dataset: Dataset) -> Iterator[Diagnostic]:
    """The label, or the column that says each row's split, among what the model reads."""
    told = {dataset.label.column: "the label"} if dataset.label is not None else {}
    if dataset.split.by is not None and dataset.split.by.column is not None:
        told[dataset.split.by.column] = "what says each row's split"
    for name, feature in dataset.features.items():
        for place, entry in _entries(feature, name):
            for column in told.keys() & set(_expanded(entry)):
                message = f"the feature `{name}` reads the column `{column}`, which is {told[column]}"
                hint = "a model that reads it looks perfect and knows nothing; take the column out"
                where = subject.at("datasets", index, "features", name, *place, on_key=not place)
                yield Diagnostic("AIF327", message, hint, where)


def _entries(feature: Feature, name: str) -> Iterator[tuple[KeyPath, str]]:
    """(path below the feature, column or range) of all that its `columns` lists; its own name where there are none."""
    if feature.columns is None:
        yield (), name
    elif isinstance(feature.columns, str):
        yield ("columns",), feature.columns
    else:
        yield from ((("columns", index), entry) for index, entry in enumerate(feature.columns))


def _expanded(entry: str) -> tuple[str, ...]:
    try:
        return expand(entry, entry)
    except ValueError:
        return ()


def _rows_to_use(subject: Subject) -> Iterator[Diagnostic]:
    """Splits that a section reads, but that get no rows."""
    dataset = subject.spec.main_dataset
    if (
        dataset is None
        or not (shares := dataset.split.shares)
        or not math.isclose(sum(shares.values()), 1, abs_tol=ROUNDING)
    ):
        return
    spec, index = subject.spec, subject.spec.datasets.index(dataset)
    best = spec.training.checkpoint.select
    uses = [
        ("train", ("datasets", index, "split"), "training"),
        (spec.evaluation.split, ("evaluation", "split"), "evaluation"),
    ]
    if best is not None and best.best.startswith("val_"):
        uses.append(("validation", ("training", "checkpoint", "select", "best"), f"`{best.best}`"))
    uses += [
        (export.calibrate.split, ("export", place, "calibrate", "split"), "calibration")
        for place, export in enumerate(spec.export)
        if export.calibrate is not None
    ]
    for name, path, reader in uses:
        if shares[name] == 0:
            place = path if path != ("evaluation", "split") or _given(subject, path) else ("datasets", index, "split")
            message = f"{reader} reads the split `{name}`, which has no rows"
            yield Diagnostic("AIF322", message, f"give it a share: `{name}: 0.1`", subject.at(*place))


def _given(subject: Subject, path: tuple[str, ...]) -> bool:
    here = subject.unit.merged.value["spec"]
    for step in path:
        if not isinstance(here, dict) or step not in here:
            return False
        here = here[step]
    return True


def _something_to_learn(subject: Subject) -> Iterator[Diagnostic]:
    dataset, task = subject.spec.main_dataset, subject.spec.task
    if dataset is None or task not in LABELLED:
        return
    index = subject.spec.datasets.index(dataset)
    where = subject.at("datasets", index, "name")
    if dataset.label is None:
        hint = "name its column: `label: {column: …}`"
        yield Diagnostic("AIF325", f"`task: {task}` needs a label, the dataset `{dataset.name}` has none", hint, where)
    if not dataset.features:
        hint = "name what the model reads: `features: {x: {type: number}}`"
        yield Diagnostic("AIF325", f"the dataset `{dataset.name}` has no features to learn from", hint, where)
