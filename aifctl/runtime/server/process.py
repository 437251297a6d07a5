"""One server process from start to end: load the bundle, warm up, serve, and say on stderr what went wrong."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import numpy as np

from aifctl.diagnostics import Diagnostic, Report, format
from aifctl.runtime import bundle
from aifctl.runtime.server import app, lifecycle
from aifctl.runtime.server.fetch import fetched
from aifctl.runtime.server.model import Model, of_bundle
from aifctl.runtime.server.options import ServerOptions, check
from aifctl.runtime.server.tensors import NUMPY
from aifctl.runtime.signature import Arrays

EXIT_STARTUP = 1


def serve(options: ServerOptions) -> int:
    """Serves until it is told to stop; the exit code. Findings are printed to stderr, none is raised.

    Does not return but ends the process where a call of the model is still running: nothing can interrupt it.
    """
    try:
        findings = list(check(options))
        if findings:
            raise Report(*findings)
        with fetched(options.bundle) as folder:
            model = load(folder, options)
            warm_up(model)
            with lifecycle.listen(options.host, options.port) as listener:
                service = app.of_model(model, options)
                code, findings = lifecycle.run(service, listener)
    except Report as report:
        report_findings(list(report.diagnostics))
        return EXIT_STARTUP
    report_findings(findings)
    if service.engine.busy:
        lifecycle.end_process(code)
    return code


def load(folder: Path, options: ServerOptions) -> Model:
    """Raises Report where the bundle is missing, damaged, or not the one asked for, and where its own code fails."""
    try:
        loaded = bundle.load(folder, options.sha256)
    except Report:
        raise
    except Exception as error:  # boundary: the code of a bundle raises what it likes
        frames = [
            f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ]
        what = f"the code of bundle {options.bundle} fails when it is loaded: {type(error).__name__}: {error}"
        hint = "compare the versions in bundle.json with the ones installed here"
        raise Report(Diagnostic("AIF866", what, hint=hint, notes=tuple(frames[-2:]))) from error
    return of_bundle(loaded, options.name, loaded.sha256, loaded.format)


def warm_up(model: Model) -> None:
    """One row of zeros through a compiled graph: its first call allocates, and a graph that can't run is found now.

    User code is not called: nobody knows what it does with zeros. Raises Report (AIF864).
    """
    if model.format == "custom" or any(tensor.datatype == "BYTES" for tensor in model.inputs.values()):
        return
    zeros: Arrays = {
        name: np.zeros([max(size, 1) for size in tensor.shape], NUMPY[tensor.datatype])
        for name, tensor in model.inputs.items()
    }
    try:
        model.bundle.predict(zeros)
    except Exception as error:  # boundary: each runtime has its own exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        what = f"model `{model.name}` fails on a row of zeros: {reason[:200]}"
        hint = "compare the versions in bundle.json with the ones installed here"
        raise Report(Diagnostic("AIF864", what, hint=hint)) from error


def report_findings(findings: list[Diagnostic]) -> None:
    sys.stderr.write(format.text(findings, {}))
