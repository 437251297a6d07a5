"""prepare: reads a dataset, checks it, splits it as indices and fingerprints it.

Publishes table.parquet (the rows as read), split.npz (positions by split, and `__rows__`: row numbers in the source,
from 1) and schema.json (`data.Schema`). All findings are reported at once, with row numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aifctl.contract import Feature, PrepareConfig, Site, StepSpec
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.runtime import splits
from aifctl.runtime import table as tables
from aifctl.runtime.checks import check_rows
from aifctl.runtime.data import ENCODABLE, Array, LabelSchema, RowError, Schema, encode, encode_label, plain
from aifctl.runtime.job import Job, parse_config
from aifctl.runtime.labels import learn_label
from aifctl.runtime.sources import Material, Place, acquire
from aifctl.runtime.splits import row_list
from aifctl.runtime.store import Store

if TYPE_CHECKING:
    import pandas as pd


def run(job: Job) -> dict[str, Any]:
    config = job.config(PrepareConfig)
    material = job.material or _acquire(config, job.spec, Place(site=job.site, store=job.store, inputs=job.inputs))
    table = material.read(config.format)
    prepared = _prepare(table, config)
    for finding in prepared.warnings:
        job.warn(finding)
    _write(prepared, job.path)
    schema = prepared.schema
    job.log(rows=schema.rows, **schema.splits, fingerprint=schema.fingerprint[:10])
    return {
        "rows": schema.rows,
        "splits": dict(schema.splits),
        "columns": len(prepared.table.columns),
        "fingerprint": schema.fingerprint,
        "source": material.pin,
    }


def chain(spec: StepSpec, site: Site, store: Store) -> tuple[dict[str, str | None], Material | None]:
    """The step's inputs with the pin of what its unpinned data is now, and that data. Raises what `acquire` raises."""
    config = parse_config(spec, PrepareConfig)
    pin = f"data:{config.dataset}"
    if pin not in spec.inputs or spec.inputs[pin] is not None:
        return dict(spec.inputs), None
    material = _acquire(config, spec, Place(site=site, store=store, inputs={}))
    return {**spec.inputs, pin: material.pin}, material


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    table: pd.DataFrame
    parts: Mapping[str, Array]
    schema: Schema
    warnings: tuple[Diagnostic, ...]


def _acquire(config: PrepareConfig, spec: StepSpec, place: Place) -> Material:
    return acquire(config.source, spec.inputs.get(f"data:{config.dataset}"), place)


def _prepare(table: pd.DataFrame, config: PrepareConfig) -> _Result:
    """Raises Report with everything found, as far as one finding does not hide the next."""
    _stop_on(_missing_columns(table, config))
    findings = list(check_rows(table, config.checks, config.dataset))
    label = _collect(findings, lambda: _label(table, config))
    if config.sample is not None and config.sample < len(table):
        # The index stays: it is how findings name rows.
        table = table.iloc[splits.sample(table, config.sample, config.split)]
    parts = _collect(findings, lambda: splits.split(table, config.split))
    features = _collect(findings, lambda: _features(table, config, parts or {}))
    _stop_on(findings)
    assert parts is not None
    assert features is not None
    nulls = {name: int(count) for name, count in table.isna().sum().items() if count}
    schema = Schema(
        task=config.task,
        features=features,
        label=label,
        rows=len(table),
        splits={name: len(positions) for name, positions in parts.items()},
        fingerprint=tables.fingerprint(table),
        nulls=nulls,
    )
    warnings = (*_null_warnings(schema), *_class_warnings(table, schema, parts))
    return _Result(table=table, parts=parts, schema=schema, warnings=warnings)


def _stop_on(findings: list[Diagnostic] | Iterator[Diagnostic]) -> None:
    found = tuple(findings)
    if found:
        raise Report(*found)


def _collect(findings: list[Diagnostic], work: Any) -> Any:
    try:
        return work()
    except Report as report:
        findings.extend(report.diagnostics)
        return None


def _missing_columns(table: pd.DataFrame, config: PrepareConfig) -> Iterator[Diagnostic]:
    split, checks = config.split, config.checks
    by = [("split", name) for name in (split.stratify, split.group, split.time, split.column) if name]
    asked = [(f"feature `{f.name}`", c) for f in config.features for c in f.columns] + by
    asked += [("label", config.label.column)] if config.label else []
    asked += [("checks", c) for c in (*checks.no_nulls, *checks.unique, *checks.ranges)]
    missing: dict[str, list[str]] = {}
    for asker, column in asked:
        if column not in table.columns:
            missing.setdefault(asker, []).append(column)
    for asker, columns in missing.items():
        near = get_close_matches(columns[0], list(table.columns), 1)
        hint = f"is it `{near[0]}`?" if near else f"it has {_some(list(table.columns))}"
        message = f"dataset `{config.dataset}` has no column {_some([f'`{c}`' for c in columns])} for the {asker}"
        yield Diagnostic("AIF813", message.replace("the feature", "feature"), hint)


def _label(table: pd.DataFrame, config: PrepareConfig) -> LabelSchema | None:
    return None if config.label is None else learn_label(table[config.label.column], config.label, config.task)


def _features(table: pd.DataFrame, config: PrepareConfig, parts: Mapping[str, Array]) -> tuple[Feature, ...]:
    """The features with shapes and categories filled in, each encoded once over all rows."""
    findings: list[Diagnostic] = []
    features = [_collect(findings, lambda f=declared: _feature(f, table, parts)) for declared in config.features]
    _stop_on(findings)
    return tuple(features)


def _feature(declared: Feature, table: pd.DataFrame, parts: Mapping[str, Array]) -> Feature:
    feature = _complete(declared, table, parts)
    try:
        encode(table, (feature,))
    except RowError as error:
        rows = f" in {row_list(table.index[list(error.rows)].tolist(), error.count)}" if error.count else ""
        hint = "declare its `values`" if feature.type == "category" and declared.values is None else None
        message = f"feature `{feature.name}`: column `{error.column}` {error.problem}{rows}"
        raise Report(Diagnostic("AIF814", message, hint)) from error
    return feature


def _complete(feature: Feature, table: pd.DataFrame, parts: Mapping[str, Array]) -> Feature:
    if feature.type not in ENCODABLE:
        hint = f"this version encodes {', '.join(ENCODABLE)}"
        raise Report(Diagnostic("AIF814", f"feature `{feature.name}` is of type `{feature.type}`", hint))
    shape = feature.shape or (() if len(feature.columns) == 1 else (len(feature.columns),))
    if int(np.prod(shape)) != len(feature.columns):
        found = f"{len(feature.columns)} columns, its shape {list(shape)} takes {int(np.prod(shape))}"
        message = f"feature `{feature.name}` has {found}"
        raise Report(Diagnostic("AIF814", message, "make `shape` and `columns` agree"))
    if feature.type == "text":
        return replace(feature, shape=shape, dtype="string")
    if feature.type == "category":
        values = feature.values or _learned(feature, table, parts.get("train"))
        dtype = feature.dtype if "int" in feature.dtype else "int64"
        return replace(feature, shape=shape, dtype=dtype, values=values)
    if feature.dtype == "string":
        message = f"feature `{feature.name}` is a {feature.type} of texts"
        raise Report(Diagnostic("AIF814", message, "use `type: text` or `category`"))
    return replace(feature, shape=shape)


def _learned(feature: Feature, table: pd.DataFrame, rows: Array | None) -> tuple[str | int | bool, ...]:
    """The values of the training rows, texts after numbers, each sorted; of all rows where there is no split."""
    column = table[feature.columns[0]]
    column = column if rows is None else column.iloc[rows]
    found = {plain(value) for value in column.dropna().unique()}
    return tuple(sorted(found, key=lambda value: (isinstance(value, str), value)))  # type: ignore[arg-type]


def _null_warnings(schema: Schema) -> Iterator[Diagnostic]:
    for feature in schema.features:
        empty = {column: schema.nulls[column] for column in feature.columns if column in schema.nulls}
        if empty:
            found = _some([f"{count} in `{column}`" for column, count in empty.items()])
            message = f"feature `{feature.name}` has empty values, which reach the model as NaN: {found}"
            hint = "fill them in the preprocessing, or refuse them with `checks: {no_nulls: […]}`"
            yield Diagnostic("AIF814", message, hint, severity=Severity.WARNING)


def _class_warnings(table: pd.DataFrame, schema: Schema, parts: Mapping[str, Array]) -> Iterator[Diagnostic]:
    label = schema.label
    if label is None or label.classes is None or label.names is None:
        return
    codes = encode_label(table[label.column].to_numpy(), label)
    counts: Array = np.bincount(codes[parts.get("train", slice(None))], minlength=label.classes)
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        names = _some([label.names[code] for code in absent])
        message = f"no training row has the class {names}"
        hint = "stratify the split by the label, or correct `classes`"
        yield Diagnostic("AIF816", message, hint, severity=Severity.WARNING)


def _write(result: _Result, folder: Path) -> None:
    import pyarrow as pa

    try:
        result.table.to_parquet(folder / "table.parquet", index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        hint = "give each column one type of value"
        raise Report(Diagnostic("AIF812", f"the table can't be kept: {str(error).splitlines()[0]}", hint)) from error
    arrays: dict[str, Any] = {**result.parts, "__rows__": result.table.index.to_numpy(dtype=np.int64) + 1}
    np.savez(folder / "split.npz", **arrays)
    (folder / "schema.json").write_text(result.schema.to_json(), encoding="utf-8")


def _some(items: list[Any], limit: int = 8) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more
