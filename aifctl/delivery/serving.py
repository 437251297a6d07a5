"""`aifctl serve`: what a release says, as options of the model server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl import pipeline
from aifctl.checks import Subject, release
from aifctl.delivery.choosing import only_unit
from aifctl.delivery.promotion import bundle_location
from aifctl.diagnostics import Diagnostic, Report
from aifctl.lowering.placement import Place
from aifctl.lowering.service import lower
from aifctl.spec.load import Repository

if TYPE_CHECKING:
    from aifctl.runtime.server import ServerOptions


def released(loaded: Repository, name: str | None, environment: str, overrides: dict[str, Any]) -> ServerOptions:
    """The server's options for what this environment has released. Raises Report where nothing is."""
    from aifctl.runtime.server import ServerOptions

    place = loaded.environment(environment)
    unit = only_unit(loaded, name, place)
    if unit.spec.serving is None:
        hint = "add one to its spec, such as `serving: {export: onnx}`, or name a bundle with --bundle"
        raise Report(Diagnostic("AIF638", f"`{unit.name}` has no `serving` section", hint))
    if "serve" not in place.roles:
        raise Report(Diagnostic("AIF638", f"environment `{environment}` does not serve", "name one that does"))
    subject = Subject(unit, loaded.platform, loaded.platform_file)
    # Only what concerns serving: what was released serves, whatever became of the data and code it was trained from.
    found = list(release.check(subject))
    if found:
        raise pipeline.Findings(pipeline.finish(loaded, found), loaded.texts)
    service = lower(Place(unit, loaded.platform))
    if service is None:
        hint = f"`aifctl promote {unit.name} --env {environment}` releases a run"
        raise Report(Diagnostic("AIF638", f"nothing of `{unit.name}` is released to `{environment}`", hint))
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
