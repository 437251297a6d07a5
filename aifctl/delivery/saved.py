"""A live plan in a file: approved once, applied exactly so or not at all.

Holds digests and no values: of each object its uid and a salted digest of what would change. When it is applied, the
same plan is made again and held against it; a status that moved meanwhile makes no difference, a field does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aifctl import __version__, digest
from aifctl.cluster.planning import Plan, UnitPlan
from aifctl.delivery.files import write_text
from aifctl.diagnostics import Diagnostic, Report
from aifctl.plan.change import Action, Change, Masked

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """`objects` and `trees` by the text of an object's identity, and of its unit."""

    environment: str
    commit: str
    salt: bytes
    trees: Mapping[str, str]
    objects: Mapping[str, Mapping[str, str]]
    paths: tuple[str, ...]
    """Of the specs that were planned, below the repository's root; none for all of it."""
    allow_prune: bool


def save(plan: Plan, path: Path, root: Path, commit: str, paths: Iterable[Path]) -> None:
    """`root` is the repository's. Raises Report (AIF621)."""
    document = {
        "format": FORMAT,
        "aifctl": __version__,
        "environment": plan.request.environment,
        "commit": commit,
        "paths": [Path(os.path.relpath(each, root)).as_posix() for each in paths],
        "allow_prune": plan.request.allow_prune,
        "salt": plan.ground.salt.hex(),
        "trees": _trees(plan),
        "objects": _objects(plan),
    }
    write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def load(path: Path) -> Saved:
    """Raises Report (AIF735)."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}, this aifctl reads {FORMAT}")
        return Saved(
            environment=str(found["environment"]),
            commit=str(found["commit"]),
            salt=bytes.fromhex(found["salt"]),
            trees={str(k): str(v) for k, v in found["trees"].items()},
            objects={str(k): {str(a): str(b) for a, b in v.items()} for k, v in found["objects"].items()},
            paths=tuple(map(str, found["paths"])),
            allow_prune=bool(found["allow_prune"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Report(Diagnostic("AIF735", f"{path} is no saved plan: {said}")) from None


def moved(saved: Saved, plan: Plan) -> list[Diagnostic]:
    """Why the plan of today is not the one that was saved (AIF734); none when it is."""
    found = [*_differ(saved.trees, _trees(plan), _tree_words), *_differ(saved.objects, _objects(plan), _object_words)]
    hint = "plan again, and have the new plan approved"
    return [Diagnostic("AIF734", message, hint) for message in found]


def _trees(plan: Plan) -> dict[str, str]:
    return {str(unit.unit): unit.wanted.tree if unit.wanted is not None else "" for unit in plan.units}


def _objects(plan: Plan) -> dict[str, dict[str, str]]:
    """Whatever would change; what would not is not part of what was approved."""
    return {
        f"{unit.unit}: {change.identity}": {
            "action": str(change.action),
            "uid": _uid(unit, change),
            "diff": _digest(change, plan.ground.salt),
        }
        for unit in plan.units
        for change in unit.changes
        if change.action is not Action.UNCHANGED
    }


def _uid(unit: UnitPlan, change: Change) -> str:
    lives = {item.identity: item.live for item in unit.items} | {r.entry.identity: r.live for r in unit.removals}
    live = lives.get(change.identity)
    return str(live["metadata"].get("uid", "")) if live else ""


def _digest(change: Change, salt: bytes) -> str:
    """Salted, so that a value can't be guessed from it. Of what is deleted only that counts, and which object it is."""
    if change.action is Action.DELETE:
        return digest.of_value([salt.hex(), change.reason])
    told = [[each.shown_path, str(each.op), _plain(each.before), _plain(each.after)] for each in change.fields]
    return digest.of_value([salt.hex(), change.reason, told])


def _plain(value: Any) -> Any:
    if isinstance(value, Masked):
        return {"secret": value.digest}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _differ(old: Mapping[str, Any], new: Mapping[str, Any], words: Any) -> list[str]:
    return [
        f"{key} {words(old.get(key), new.get(key))}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)
    ]


def _tree_words(old: str | None, new: str | None) -> str:
    if old is None:
        return "was not part of the plan"
    return "is compiled to other objects now" if new is not None else "is not part of this compile"


def _object_words(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> str:
    if old is None:
        return f"would be changed too ({new['action'] if new else ''})"
    if new is None:
        return f"needs no {old['action']} any more"
    if old["action"] != new["action"]:
        return f"needs {new['action']} now, and not {old['action']}"
    return "is another object now" if old["uid"] != new["uid"] else "differs by other fields now"
