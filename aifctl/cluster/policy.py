"""What an environment's owners allow an apply to do, and which fields are somebody else's to set. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from aifctl.cluster import fields
from aifctl.cluster.errors import Conflict
from aifctl.manifest import Manifest

Steps = tuple[str, ...]
"""A field's path, a text a step: a key, or of a list's item its name or position; `*` is every one."""
KEYS = ("name", "containerPort", "port", "mountPath", "key", "type", "ip")
"""Merge keys that name an item of a list in a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one environment; the defaults are those of a platform file that says nothing."""

    may_replace: Callable[[str, str], bool] = lambda kind, group: False
    """(kind, group) → whether objects may be deleted and made again for a field that can't change in place."""
    ignored: Callable[[str, str, str], tuple[Steps, ...]] = lambda kind, group, name: ()
    """(kind, group, name) → fields left to others."""
    most: Callable[[int], int] = lambda total: max(20, total // 2)
    """Objects of a unit → how many of them one apply may prune."""


SCALED = re.compile(r"\.spec\.replicas")
QUEUED = re.compile(r"\.spec\.(?:runPolicy\.)?suspend|\.metadata\.labels\.kueue\.x-k8s\.io/queue-name")
QUEUE_MANAGERS = frozenset({"kueue", "kueue-controller", "kueue-admission", "manager"})


def yielded(conflict: Conflict) -> bool:
    """Whether a field is left to its owner without anybody having to say so: replicas to an autoscaler (it writes by
    the scale subresource), suspension and queue of a job to Kueue."""
    if SCALED.fullmatch(conflict.field):
        return conflict.subresource == "scale" and conflict.manager not in fields.OVERRULED
    return bool(QUEUED.fullmatch(conflict.field)) and conflict.manager in QUEUE_MANAGERS


BUILT_IN = re.compile(r"|apps|autoscaling|batch|policy|(?!.*x-k8s).*\.k8s\.io")
"""Groups of kinds to which a null is a field that is left out; to a custom kind it may be a value."""


def normal(manifest: Manifest) -> Mapping[str, Any]:
    """The object as the server would keep it, so that we own what we mean: no nulls, a Secret's `stringData` as `data`
    (else it stays for ever, and its drift is not seen), no status; the object itself where there is nothing to do."""
    found = manifest.object
    if BUILT_IN.fullmatch(manifest.group) and _has_null(found):
        found = _without_nulls(found)
    if "status" in found:
        found = {key: value for key, value in found.items() if key != "status"}
    if manifest.kind == "Secret" and not manifest.group and isinstance(found.get("stringData"), dict):
        plain = {name: base64.b64encode(str(text).encode()).decode() for name, text in found["stringData"].items()}
        found = {key: value for key, value in found.items() if key != "stringData"}
        found = {**found, "data": {**(found.get("data") or {}), **plain}}
    return found


def adapted(manifest: Manifest, live: Mapping[str, Any] | None, policy: Policy) -> Mapping[str, Any]:
    """What is sent: the manifest without fields that are left to others.

    A field that another manager owns is left out. One that nobody else owns keeps its live value: leaving it out would
    delete it. On an object that is not there yet everything is sent.
    """
    found = normal(manifest)
    rules = policy.ignored(manifest.kind, manifest.group, manifest.name)
    if not rules or live is None:
        return found
    body: dict[str, Any] = deepcopy(dict(found))
    foreign = fields.others(live)
    for steps in rules:
        _leave(body, live, foreign, steps)
    return body


def dropped(body: Mapping[str, Any], conflicts: tuple[Conflict, ...]) -> Mapping[str, Any]:
    """Without the fields of these conflicts, whose paths are the server's: `.spec.replicas`, with labels in full."""
    found: dict[str, Any] = deepcopy(dict(body))
    for conflict in conflicts:
        _drop(found, _steps(conflict.field))
    return found


def _steps(path: str) -> Steps:
    """`.metadata.labels.kueue.x-k8s.io/queue-name` → its keys: what follows `labels` or `annotations` is one key."""
    match = re.fullmatch(r"\.metadata\.(labels|annotations)\.(.+)", path)
    return ("metadata", match[1], match[2]) if match else tuple(path.strip(".").split("."))


def _leave(body: Any, live: Any, foreign: Any, steps: Steps) -> None:
    """Walks body, live object and others' fields together."""
    head, *rest = steps
    for key in _matching(body, head):
        there = _inside(live, body, key)
        theirs = _owned_inside(foreign, body, key)
        if rest:
            _leave(body[key], there, theirs, tuple(rest))
        elif there is None or theirs is not None:
            _remove(body, key)
        else:
            body[key] = deepcopy(there)


def _drop(body: Any, steps: Steps) -> None:
    head, *rest = steps
    for key in _matching(body, head):
        if rest:
            _drop(body[key], tuple(rest))
        else:
            _remove(body, key)


def _matching(value: Any, step: str) -> list[Any]:
    """Keys or positions of a step, the last first, so that removing one moves no other."""
    if isinstance(value, dict):
        return list(value) if step == "*" else [step] if step in value else []
    if isinstance(value, list):
        found = [at for at, item in enumerate(value) if step in ("*", str(at), _name(item))]
        return found[::-1]
    return []


def _name(item: Any) -> str | None:
    return next((str(item[key]) for key in KEYS if key in item), None) if isinstance(item, dict) else None


def _inside(live: Any, body: Any, key: Any) -> Any:
    """What the live object has where the body has `key`; items of lists are found by name."""
    if isinstance(live, dict) and isinstance(key, str):
        return live.get(key)
    if isinstance(live, list):
        name = _name(body[key])
        if name is not None:
            return next((item for item in live if _name(item) == name), None)
        return live[key] if key < len(live) else None
    return None


def _owned_inside(foreign: Any, body: Any, key: Any) -> Any:
    """The part of others' fields below `key`, None where they own nothing there."""
    if not isinstance(foreign, Mapping):
        return None
    if isinstance(key, str):
        return foreign.get(f"f:{key}")
    return next((inside for text, inside in foreign.items() if fields.is_item(text, key, body[key])), None)


def _remove(body: Any, key: Any) -> None:
    del body[key]


def _has_null(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(_has_null(item) for item in (value.values() if isinstance(value, dict) else value))
    return value is None


def _without_nulls(value: Any) -> Any:
    """In mappings; a null in a list is the server's to refuse."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
