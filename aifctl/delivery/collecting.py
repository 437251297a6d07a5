"""`aifctl gc`: frees what no release, no recent run and no running one reaches in this machine's store."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from aifctl import pipeline
from aifctl.diagnostics import Diagnostic, Report, Where
from aifctl.spec import schema, source
from aifctl.spec.load import LOCAL
from aifctl.spec.models.release import Release
from aifctl.spec.models.section import parse_duration

if TYPE_CHECKING:
    from aifctl.runtime.gc import Garbage, Plan

STORE = ".aif"


def plan(root: Path, older_than: float, keep_runs: int) -> Plan:
    """What could go from the store of the repository at `root`.

    `older_than` is seconds of age; the newest `keep_runs` runs of each model stay. Raises Report where a release can't
    be read: then nothing may be judged unreachable.
    """
    from aifctl.runtime import gc, runs
    from aifctl.runtime.store import Store

    store = root / STORE
    listing = runs.list_runs(Store(store))
    newest: dict[str, list[str]] = {}
    for record in listing.records:
        newest.setdefault(record.model, []).append(record.run)
    kept = {run for names in newest.values() for run in names[:keep_runs]}
    return gc.plan_gc(store, _released(root), kept, time.time(), older_than)


def age(text: str) -> float:
    """Seconds of `7d`, `12h` … Raises Report for other texts."""
    try:
        return parse_duration(text)
    except PydanticCustomError as error:
        raise Report(Diagnostic("AIF208", f"`--older-than`: {error.message()}")) from None


def as_json(garbage: Sequence[Garbage], deleted: bool) -> str:
    rows = [{"path": str(item.path), "bytes": item.bytes, "reason": item.reason} for item in garbage]
    return json.dumps({"format_version": "1.0", "deleted": deleted, "items": rows}, indent=2)


def as_text(garbage: Sequence[Garbage], deleted: bool) -> str:
    lines = [f"{item.bytes:>12,}  {item.reason:<40}  {item.path}" for item in garbage]
    total = sum(item.bytes for item in garbage)
    verb = "freed" if deleted else "could be freed; delete with --delete"
    return "\n".join([*lines, f"{total:>12,}  bytes {verb}" if garbage else "nothing to free"])


def _released(root: Path) -> set[str]:
    """Digests of the steps that releases of this machine stand on: training, and every bundle's export."""
    digests: set[str] = set()
    for path in sorted((root / "releases" / LOCAL).glob("*.yaml")):
        text = source.read_text(path, str(path))
        documents, found = source.parse(text, path, str(path))
        release, problems = schema.validate(Release, documents[0].value if documents else {}, Where(str(path)))
        if release is None:
            raise pipeline.Findings(source.resolve([*found, *problems], {str(path): text}), {str(path): text})
        for entry in filter(None, (release.stable, release.candidate)):
            digests.add(entry.train)
            digests |= {part for each in entry.exports.values() for part in each.uri.split("/") if len(part) == 64}
    return digests
