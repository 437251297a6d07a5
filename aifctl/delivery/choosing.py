"""Which model a command is about, where it takes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aifctl import pipeline
from aifctl.diagnostics import Diagnostic, Report
from aifctl.diagnostics.model import KeyPath, errors
from aifctl.spec import load, schema
from aifctl.spec.load import Repository, Unit
from aifctl.spec.models.platform import Environment


def only_unit(
    loaded: Repository,
    name: str | None,
    environment: Environment,
    assignments: Mapping[KeyPath, Any] | None = None,
) -> Unit:
    """The one model here, or the named one, with `assignments` set. Raises Report: with its findings where it has
    errors, AIF121 where there is none of that name, AIF122 where there are several and none was named.
    """
    units, found = load.units(loaded, environment, dict(assignments or {}))
    chosen = [unit for unit in units if name in (None, unit.name)]
    known = sorted({document.model_name for document in loaded.documents} - {""})
    if len(chosen) == 1 and (name is not None or len(known) <= 1):
        return chosen[0]
    if name is None and len(known) > 1:
        listed = ", ".join(f"`{each}`" for each in known)
        raise Report(Diagnostic("AIF122", f"several models here: {listed}", "name one, or its file"))
    unreadable = any(diagnostic.code < "AIF2" for diagnostic in errors(loaded.diagnostics))
    resolved = pipeline.finish(loaded, found)
    if errors(resolved) and (name is None or name in known or unreadable):
        raise pipeline.Findings(resolved, loaded.texts)
    raise Report(Diagnostic("AIF121", f"no model `{name}` here", schema.did_you_mean(str(name), known)))
