"""How two runs differ, value by value: for `aifctl runs A B`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aifctl.runtime.runs import RunRecord


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs; None where a side has none. `key` is a dotted path."""

    section: str
    key: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    a: RunRecord
    b: RunRecord
    differences: tuple[Difference, ...]


def compare(a: RunRecord, b: RunRecord) -> Comparison:
    """What differs, by section: spec, parameters, metrics, digests of steps, artifacts, commit, package versions."""
    sections = zip(_sections(a), _sections(b), strict=True)
    return Comparison(a, b, tuple(d for (name, left), (_, right) in sections for d in _differences(name, left, right)))


def _sections(record: RunRecord) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    return (
        ("spec", record.spec),
        ("parameters", record.parameters),
        ("metrics", record.metrics),
        ("steps", {name: step.digest for name, step in record.steps.items()}),
        ("artifacts", {name: _hashes(artifact) for name, artifact in record.artifacts.items()}),
        ("code", {key: record.git.get(key) for key in ("commit", "dirty")} if record.git else {}),
        ("packages", record.machine.get("packages") or {}),
    )


def _hashes(artifact: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry["sha256"] for name, entry in artifact.get("files", {}).items()}


def _differences(section: str, left: Any, right: Any) -> list[Difference]:
    a, b = dict(_flat(left)), dict(_flat(right))
    return [
        Difference(section, key, a.get(key), b.get(key)) for key in dict.fromkeys((*a, *b)) if a.get(key) != b.get(key)
    ]


def _flat(value: Any, at: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list | tuple) and value:
        for position, item in enumerate(value):
            named = isinstance(item, Mapping) and isinstance(item.get("name"), str)
            yield from _flat(item, f"{at}[{item['name'] if named else position}]")
    elif at:
        yield at, value


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "a": comparison.a.run,
        "b": comparison.b.run,
        "differences": [asdict(difference) for difference in comparison.differences],
    }
