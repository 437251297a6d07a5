"""`aifctl serve`: answer predictions over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aifctl.cli import arguments


def serve(
    model: arguments.Name,
    env: arguments.OneEnv = "local",
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Serve this bundle's folder instead of a release, under the name MODEL."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    max_batch: Annotated[int | None, typer.Option("--max-batch", min=1, help="Most rows of a request.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds a request may take.")] = None,
) -> int:
    """Serve a released model: Open Inference Protocol v2 (/v2/…), /predict, /batch_predict, /health, /metrics.

    Ends on SIGTERM or Ctrl-C, after what it is answering is answered.

    Examples:
        aifctl serve digits --port 8080
        curl localhost:8080/predict --json '{"p0": 0, "p1": 12, …}'
    """
    from aifctl.delivery import serving

    given: dict[str, Any] = {"host": host, "port": port, "max_batch": max_batch, "timeout": timeout}
    overrides = {name: value for name, value in given.items() if value is not None}
    if bundle is not None:
        options = serving.bare(bundle, model, overrides)
    else:
        loaded, name = arguments.one_model(model)
        options = serving.released(loaded, name, env, overrides)
    from aifctl.runtime.server import process

    return process.serve(options)
