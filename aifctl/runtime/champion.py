"""What serves, measured again on the rows that a candidate was tested on; and MLflow's mirror of a release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import bundle, metrics
from aifctl.runtime.data import Prepared
from aifctl.runtime.server.fetch import fetched
from aifctl.runtime.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`bundle` is a folder or URL with the content `sha256`; `prepare` the digest of the candidate's prepare step."""

    bundle: str
    sha256: str
    store: Store
    prepare: str
    split: str
    metrics: tuple[str, ...]


def measure(question: Question) -> dict[str, float]:
    """The champion's metrics from raw rows. Raises Report where it can't answer them (AIF637: other columns, say)."""
    published = question.store.find(question.prepare)
    if published is None:
        hint = "run it again, or release with --allow-worse"
        raise Report(Diagnostic("AIF637", "the candidate's test rows are no longer in the store", hint))
    split = Prepared.open(published).split(question.split)
    label = split.schema.label
    if label is None or split.label is None:
        return {}
    with fetched(question.bundle) as folder:
        loaded = bundle.load(folder, question.sha256)
        columns = [column for tensor in loaded.signature.inputs for column in tensor.columns]
        missing = [column for column in columns if column not in split.rows.columns]
        if missing or loaded.signature.classes != label.classes:
            reason = f"it reads `{missing[0]}`, which they lack" if missing else "it knows other classes"
            hint = "they answer different questions: release with --allow-worse, or without `compare_with`"
            raise Report(Diagnostic("AIF637", f"the champion can't be asked the candidate's test rows: {reason}", hint))
        rows = json.loads(split.rows[columns].to_json(orient="records", double_precision=15))
        outputs = loaded.predict_rows(rows)
        main = loaded.signature.outputs[0]
        return metrics.measure(question.metrics, split.label, outputs[main.name], main.kind or metrics.VALUE)


def is_worse(metric: str, candidate: float, champion: float, tolerance: float) -> bool:
    return metrics.drop(metric, champion, candidate) > tolerance


def mirror(uri: str, versions: Mapping[str, str], alias: str) -> str | None:
    """Moves the alias to these versions (registered model → version); why it could not, else None."""
    from aifctl.runtime.tracking import client

    try:
        registry = client(uri)
        for model, version in versions.items():
            registry.set_registered_model_alias(model, alias, version)
    except Exception as error:  # noqa: BLE001 - MLflow's back ends raise what they like; a mirror may not stop a release
        return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return None
