"""`aifctl gc`: frees what no release, no recent run and no running one reaches in this machine's store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl import pipeline
from aifctl.diagnostics import Diagnostic, Report, Where
from aifctl.digest import SHORT
from aifctl.spec import git, schema, source
from aifctl.spec.load import LOCAL
from aifctl.spec.models.release import Release, ReleaseEntry
from aifctl.spec.paths import shown
from aifctl.spec.quantities import parse_duration

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
    entries = list(_released(root, older_than))
    kept = {run for names in newest.values() for run in names[:keep_runs]} | {entry.run for entry in entries}
    return gc.plan_gc(store, {each for entry in entries for each in _steps(entry)}, kept, time.time(), older_than)


def age(text: str) -> float:
    """Seconds of `7d`, `12h` … Raises Report for other texts."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Report(Diagnostic("AIF208", f"`--older-than`: {error}")) from None


def as_json(garbage: Sequence[Garbage], deleted: bool) -> dict[str, Any]:
    rows = [{"path": str(item.path), "bytes": item.bytes, "reason": item.reason} for item in garbage]
    return {"deleted": deleted, "items": rows}


def as_text(garbage: Sequence[Garbage], deleted: bool) -> str:
    lines = [f"{item.bytes:>12,}  {item.reason:<40}  {item.path}" for item in garbage]
    total = sum(item.bytes for item in garbage)
    verb = "freed" if deleted else "could be freed; delete with --delete"
    return "\n".join([*lines, f"{total:>12,}  bytes {verb}" if garbage else "nothing to free"])


def _released(root: Path, recent: float) -> Iterator[ReleaseEntry]:
    """What releases of this machine name, now or in commits of the last `recent` seconds: a revert brings it back."""
    folder = root / "releases" / LOCAL
    for path in sorted(folder.glob("*.yaml")):
        file = shown(path, Path.cwd())
        yield from _entries(source.read_text(path, file), path, file)
    for commit in _commits(root, recent):
        for name, data in git.read_tree(root, commit, f"releases/{LOCAL}").items():
            if name.endswith(".yaml"):
                # What was committed broken never served.
                with suppress(Report, UnicodeDecodeError):
                    yield from _entries(data.decode(), folder / name, f"{commit[:SHORT]}:{name}")


def _commits(root: Path, recent: float) -> list[str]:
    try:
        return git.commits_since(root, f"releases/{LOCAL}", recent)
    except Report:
        return []  # no Git here, or no commit yet


def _entries(text: str, path: Path, file: str) -> Iterator[ReleaseEntry]:
    documents, found = source.parse(text, path, file)
    release, problems = schema.validate(Release, documents[0].value if documents else {}, Where(file))
    if release is None:
        raise pipeline.Findings(source.resolve([*found, *problems], {file: text}), {file: text})
    yield from filter(None, (release.stable, release.candidate))


def _steps(entry: ReleaseEntry) -> Iterator[str]:
    """Digests of the steps it stands on: training, and every bundle's export. Its run tells the others."""
    yield entry.train
    yield from (part for each in entry.exports.values() for part in each.uri.split("/") if len(part) == 64)
