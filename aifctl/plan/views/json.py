"""A plan for programs. `format_version` is `major.minor`: a new key raises the minor, a changed meaning the major.

{"format_version", "exit_code": 0 | 2,
 "summary": {"create", "change", "replace", "delete", "unchanged": number, "text"},
 "changes": [{"action", "environment", "model", "group", "kind", "namespace", "name", "reason", "replaces",
              "fields": [{"path", "keys", "op", "before", "after", "position"}]}],
 "runs": [{"environment", "model", "run", "before",
           "steps": [{"name", "kind", "status", "digest", "why", "parts": [{"path", "op"}], "inputs": []}]}]}

Objects without changes are counted and not listed. `keys` is the path in pieces: a text is a key of a mapping, a number
a place in a list, an object the merge key of a list's item. A field with the path "" is the whole object. A secret
value is {"secret": "<salted digest>"}; equal digests in one plan stand for equal values.
"""

from __future__ import annotations

import json as encoder
from collections.abc import Mapping, Sequence
from typing import Any

from aifctl.plan.change import Change, ChangeSet, FieldChange, Masked, Match
from aifctl.plan.steps import RunChange, StepChange, why
from aifctl.plan.views.summary import summary

FORMAT_VERSION = "1.0"


def json(changes: ChangeSet, runs: Sequence[RunChange] = ()) -> str:
    """ASCII, a line a change and a run. Raises ValueError for NaN and infinities, which no manifest may hold."""
    lists = ("changes", "runs")
    whole = document(changes, runs)
    parts = [f"{_dumps(key)}: {_dumps(value)}" for key, value in whole.items() if key not in lists]
    for key in lists:
        items = ",\n  ".join(_dumps(item) for item in whole[key])
        parts.append(f"{_dumps(key)}: [\n  {items}\n ]" if items else f"{_dumps(key)}: []")
    return "{" + ",\n ".join(parts) + "}\n"


def document(changes: ChangeSet, runs: Sequence[RunChange] = ()) -> dict[str, Any]:
    """The plan as plain JSON values."""
    return {
        "format_version": FORMAT_VERSION,
        "exit_code": changes.exit_code,
        "summary": {**{str(a): n for a, n in changes.counts.items()}, "text": summary(changes, runs)},
        "changes": [_change(change) for change in changes.notable],
        "runs": [_run(run) for run in runs],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "action": str(change.action),
        "environment": change.environment,
        "model": change.model,
        **change.identity._asdict(),
        "reason": change.reason,
        "replaces": change.replaces,
        "fields": [_field(field) for field in change.fields],
    }


def _field(field: FieldChange) -> dict[str, Any]:
    return {
        "path": field.shown_path,
        "keys": [dict(step.keys) if isinstance(step, Match) else step for step in field.path],
        "op": str(field.op),
        "before": _value(field.before),
        "after": _value(field.after),
        "position": field.position,
    }


def _run(run: RunChange) -> dict[str, Any]:
    return {
        "environment": run.environment,
        "model": run.model,
        "run": run.run,
        "before": run.before,
        "steps": [_step(step) for step in run.steps],
    }


def _step(step: StepChange) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.kind,
        "status": str(step.status),
        "digest": step.digest,
        "why": why(step),
        "parts": [{"path": part.path, "op": str(part.op)} for part in step.parts],
        "inputs": list(step.inputs),
    }


def _value(value: Any) -> Any:
    if isinstance(value, Masked):
        return {"secret": value.digest}
    if isinstance(value, Match):
        return dict(value.keys)
    if isinstance(value, Mapping):
        return {key: _value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return value


def _dumps(value: Any) -> str:
    return encoder.dumps(value, allow_nan=False)
