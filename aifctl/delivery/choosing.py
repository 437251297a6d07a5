"""Which model a command is about, where it takes one."""

from __future__ import annotations

from aifctl import pipeline
from aifctl.diagnostics import Diagnostic, Report
from aifctl.spec import load, schema
from aifctl.spec.load import Repository, Unit
from aifctl.spec.models.platform import Environment


def only_unit(loaded: Repository, name: str | None, environment: Environment) -> Unit:
    """The one model here, or the named one. Raises Report with every finding otherwise."""
    units, found = load.units(loaded, environment)
    chosen = [unit for unit in units if name in (None, unit.name)]
    if len(chosen) == 1:
        return chosen[0]
    resolved = pipeline.finish(loaded, found)
    if resolved and not chosen:
        raise pipeline.Findings(resolved, loaded.texts)
    names = [unit.name for unit in units]
    if name is None:
        raise Report(Diagnostic("AIF122", f"several models here: {', '.join(names)}", "name one, or its file"))
    raise Report(Diagnostic("AIF121", f"no model `{name}` here", schema.did_you_mean(name, names)))
