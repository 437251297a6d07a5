"""`aifctl serve`: what a release says, as options of the model server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl import pipeline
from aifctl.delivery.promotion import bundle_location, only_unit
from aifctl.diagnostics import Diagnostic, Report
from aifctl.spec.load import Repository

if TYPE_CHECKING:
    from aifctl.runtime.server import ServerOptions


def released(loaded: Repository, name: str | None, environment: str, overrides: dict[str, Any]) -> ServerOptions:
    """The server's options for what this environment has released. Raises Report where nothing is."""
    from aifctl.runtime.server import ServerOptions

    place = loaded.environment(environment)
    unit = only_unit(loaded, name, place)
    if unit.release is None or unit.spec.serving is None:
        message = f"nothing of `{unit.name}` is released to `{environment}`"
        if unit.spec.serving is None:
            message = f"`{unit.name}` has no `serving` section"
        raise Report(Diagnostic("AIF638", message, f"`aifctl promote {unit.name} --env {environment}` releases a run"))
    model, found = pipeline.compile_unit(loaded, unit)
    if model is None or model.bundle.service is None:
        raise pipeline.Findings(pipeline.finish(loaded, found), loaded.texts)
    service = model.bundle.service
    values: dict[str, Any] = {
        "bundle": bundle_location(loaded, place, service.bundle.uri),
        "sha256": service.bundle.sha256,
        "name": service.name,
        "max_batch": service.max_batch,
        "batch_delay": service.batch_delay,
        "log_sample": service.log_sample,
    }
    if service.low_confidence is not None:
        values["low_confidence"] = service.low_confidence
    return ServerOptions(**values | overrides)


def bare(bundle: Path, name: str, overrides: dict[str, Any]) -> ServerOptions:
    """The server's options for a bundle that is not released: a look at what an export step made."""
    from aifctl.runtime.server import ServerOptions

    return ServerOptions(bundle=str(bundle), name=name, **overrides)
