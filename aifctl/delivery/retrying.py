"""`aifctl retry`: one more attempt at a cluster's run, as a number in the lock file. No digest moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aifctl import pipeline
from aifctl.delivery.choosing import only_unit
from aifctl.delivery.files import write_text
from aifctl.diagnostics import Diagnostic, Report
from aifctl.digest import SHORT
from aifctl.spec import load, locking
from aifctl.spec.load import Repository
from aifctl.spec.paths import shown


@dataclass(frozen=True, slots=True)
class Retried:
    file: str
    run: str
    attempt: int


def retry(loaded: Repository, name: str | None, environment: str) -> Retried:
    """Counts one more attempt. Raises Report where the environment trains nothing, or the spec has errors."""
    place = loaded.environment(environment)
    if place.local or "train" not in place.roles:
        hint = "`aifctl run` goes on by itself" if place.local else "name one that trains"
        raise Report(Diagnostic("AIF639", f"environment `{environment}` has no run objects to retry", hint))
    unit = only_unit(loaded, name, place)
    model, found = pipeline.compile_unit(loaded, unit)
    if model is None or model.bundle.run is None:
        raise pipeline.Findings(pipeline.finish(loaded, found), loaded.texts)
    run = model.bundle.run
    first = f"{unit.name}-{run.digest[:SHORT]}"
    attempt = run.attempt + 1
    path = load.lock_path(unit.document, unit.name)
    write_text(path, locking.text(locking.with_retry(unit, environment, first, attempt)))
    return Retried(shown(path, Path.cwd()), f"{first}-a{attempt}", attempt)
