"""The ASGI application: routes, admission, and the one place where errors become answers.

Every answer but the metrics and binary tensors is JSON; errors are `{"error": text}`. Nothing a client sends gives a
500: that status means that the model itself failed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

import aifctl
from aifctl.runtime.server import body, metrics, protocol, rows
from aifctl.runtime.server.engine import (
    Call,
    Engine,
    Limits,
    features_key,
    merge_features,
    merge_rows,
    rows_key,
    workers_for,
)
from aifctl.runtime.server.errors import DRAINING, OVERLOADED, UNKNOWN_MODEL, RequestError, brief
from aifctl.runtime.server.model import Model, describe
from aifctl.runtime.server.options import ServerOptions
from aifctl.runtime.server.sampling import Sampler
from aifctl.runtime.server.tensors import NUMPY
from aifctl.runtime.signature import Arrays

LOG = logging.getLogger("aifctl.server")
CLOSE = {"Connection": "close"}
CLIENT_LEFT = 499
"""nginx's status for a client that closed before its answer; only the counters see it."""


class Phase(StrEnum):
    SERVING = "serving"
    LEAVING = "leaving"
    """Not ready any more, but still answering: load balancers have not noticed yet."""
    DRAINING = "draining"
    """Finishing what is in flight; new requests get 503."""


@dataclass(slots=True)
class Service:
    """One served model and its state. Belongs to one event loop."""

    model: Model
    options: ServerOptions
    metrics: metrics.Metrics
    engine: Engine
    sampler: Sampler
    features: Call[Arrays]
    rows: Call[list[rows.Row]]
    phase: Phase = Phase.SERVING
    in_flight: int = 0

    @property
    def ready(self) -> bool:
        return self.phase is Phase.SERVING

    def turn(self, phase: Phase) -> None:
        self.phase = phase
        self.metrics.ready.set(self.ready)

    @contextmanager
    def admitted(self) -> Any:
        """Raises RequestError 503. Taken before the body is read, so that bodies in memory are bounded too."""
        if self.phase is Phase.DRAINING:
            raise RequestError(DRAINING, "the server is shutting down", CLOSE)
        if self.in_flight >= self.options.max_pending:
            raise RequestError(OVERLOADED, "too many requests at a time", {"Retry-After": "1"})
        self.in_flight += 1
        self.metrics.in_flight.set(self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1
            self.metrics.in_flight.set(self.in_flight)


def of_model(model: Model, options: ServerOptions) -> Service:
    measured = metrics.of_model(model)
    limits = Limits(
        workers=workers_for(model.format, options.workers),
        pending=options.max_pending,
        timeout=options.timeout,
        batch=options.max_batch,
        delay=options.batch_delay,
    )
    service = Service(
        model=model,
        options=options,
        metrics=measured,
        engine=Engine(limits, measured.called),
        sampler=Sampler(model, options.log_sample, frozenset(options.redact)),
        features=Call(
            "features", lambda value: _conform(model, model.bundle.predict(value)), merge_features, features_key
        ),
        rows=Call("rows", lambda value: _conform(model, _predict_rows(model, value)), merge_rows, rows_key),
    )
    service.turn(Phase.SERVING)
    return service


def build(service: Service) -> Starlette:
    routes = [
        Route(path, _endpoint(service, name, handler), methods=[method]) for method, path, name, handler in _ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted(service)})


async def _predict(service: Service, request: Request) -> Response:
    with service.admitted():
        value = await _json_body(service, request)
        row = rows.decode_row(service.model, value)
        answers = await _answer_rows(service, "predict", [row])
    return _json({**answers[0], **_named(service)})


async def _batch_predict(service: Service, request: Request) -> Response:
    with service.admitted():
        value = await _json_body(service, request)
        decoded = rows.decode(service.model, value, service.options.max_batch)
        answers = await _answer_rows(service, "batch_predict", decoded)
    return _json({"predictions": answers, **_named(service)})


async def _answer_rows(service: Service, endpoint: str, decoded: list[rows.Row]) -> list[dict[str, Any]]:
    outputs = await service.engine.submit(service.rows, decoded, len(decoded))
    answers = rows.encode(service.model, outputs)
    _count(service, answers)
    service.sampler.rows(endpoint, decoded, answers)
    return answers


async def _infer(service: Service, request: Request) -> Response:
    _require_model(service, request)
    with service.admitted():
        body.require_media_type(request, ("application/json", "application/octet-stream"))
        data = await body.read(request, service.options.max_body_bytes, service.options.timeout)
        decoded = protocol.decode(service.model, data, request.headers.get(protocol.HEADER), service.options.max_batch)
        outputs = await service.engine.submit(service.features, decoded.features, decoded.rows)
        descriptions = describe(service.model, outputs)
        _count(service, descriptions)
        service.sampler.tensors("infer", decoded.features, descriptions)
        content, headers = protocol.encode(service.model, decoded, outputs)
    return Response(content, headers=headers)


async def _json_body(service: Service, request: Request) -> Any:
    body.require_media_type(request, ("application/json",))
    return body.parse_json(await body.read(request, service.options.max_body_bytes, service.options.timeout))


async def _server(service: Service, request: Request) -> Response:
    return _json({"name": "aifctl", "version": aifctl.__version__, "extensions": list(protocol.EXTENSIONS)})


async def _live(service: Service, request: Request) -> Response:
    return _json({"live": True})


async def _ready(service: Service, request: Request) -> Response:
    """The protocol's text says `live` and its OpenAPI file `ready`: both are there."""
    return _json({"live": True, "ready": service.ready}, 200 if service.ready else 503)


async def _health(service: Service, request: Request) -> Response:
    return _json({"status": str(service.phase), **_named(service)}, 200 if service.ready else 503)


async def _metadata(service: Service, request: Request) -> Response:
    _require_model(service, request)
    return _json(service.model.metadata())


async def _model_ready(service: Service, request: Request) -> Response:
    _require_model(service, request)
    return _json({"name": service.model.name, "ready": service.ready}, 200 if service.ready else 503)


async def _metrics(service: Service, request: Request) -> Response:
    return Response(service.metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})


Handler = Callable[[Service, Request], Awaitable[Response]]

_MODEL = "/v2/models/{model}"
_VERSION = _MODEL + "/versions/{version}"
_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", "/predict", "predict", _predict),
    ("POST", "/batch_predict", "batch_predict", _batch_predict),
    ("GET", "/health", "health", _health),
    ("GET", "/metrics", "metrics", _metrics),
    ("GET", "/v2", "server", _server),
    ("GET", "/v2/health/live", "live", _live),
    ("GET", "/v2/health/ready", "ready", _ready),
    *(
        route
        for path in (_MODEL, _VERSION)
        for route in (
            ("GET", path, "model", _metadata),
            ("GET", path + "/ready", "model_ready", _model_ready),
            ("POST", path + "/infer", "infer", _infer),
        )
    ),
)
"""Method, path, name in the metrics, handler."""


def _endpoint(service: Service, name: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        start = time.perf_counter()
        status = CLIENT_LEFT
        try:
            response = await handler(service, request)
            status = response.status_code
        except RequestError as error:
            service.metrics.failed(name, error.reason.name)
            status = error.reason.status
            response = _json({"error": error.message}, status, error.headers)
        except asyncio.CancelledError:
            if service.phase is not Phase.DRAINING:
                raise
            service.metrics.failed(name, DRAINING.name)
            status = DRAINING.status
            response = _json({"error": "the server was stopped before the model had answered"}, status, CLOSE)
        except ClientDisconnect:
            response = Response(status_code=status)
        except Exception:  # boundary: a fault of ours must not show a traceback to the client
            LOG.exception("a request to %s failed", name)
            service.metrics.failed(name, "internal")
            status = 500
            response = _json({"error": "internal error; the server's log has the reason"}, status)
        finally:
            service.metrics.answered(name, status, time.perf_counter() - start)
        return response

    return answer


def _unrouted(service: Service) -> Callable[[Request, HTTPException], Awaitable[Response]]:
    """Unknown paths (404) and methods (405)."""

    async def answer(request: Request, error: HTTPException) -> Response:
        service.metrics.answered("other", error.status_code, 0.0)
        service.metrics.failed("other", "unknown-path" if error.status_code == 404 else "method")
        message = f"no such path: {brief(request.url.path)}" if error.status_code == 404 else "method not allowed here"
        return _json({"error": message}, error.status_code, error.headers or {})

    return answer


def _require_model(service: Service, request: Request) -> None:
    name, version = request.path_params["model"], request.path_params.get("version")
    if name != service.model.name:
        raise RequestError(UNKNOWN_MODEL, f"unknown model {brief(name)}; this server has `{service.model.name}`")
    if version not in (None, service.model.version):
        known = f"`{service.model.version}`"
        raise RequestError(UNKNOWN_MODEL, f"unknown version {brief(version)} of `{name}`; this server has {known}")


def _predict_rows(model: Model, value: list[rows.Row]) -> Arrays:
    return model.bundle.predict_rows(rows.columns(model, value))


def _conform(model: Model, outputs: Arrays) -> Arrays:
    """The signature's outputs in its dtypes: custom code may give lists or doubles. Runs in a worker."""
    return {name: np.asarray(outputs[name], NUMPY[tensor.datatype]) for name, tensor in model.outputs.items()}


def _count(service: Service, descriptions: list[dict[str, Any]]) -> None:
    service.metrics.predictions.inc(len(descriptions))
    low = sum(_is_low(item.get("confidence", 1.0), service.options.low_confidence) for item in descriptions)
    if low:
        service.metrics.low_confidence.inc(low)


def _is_low(confidence: float | None, bound: float) -> bool:
    """A model that computed NaN is as unsure as can be."""
    return confidence is None or confidence < bound


def _named(service: Service) -> dict[str, str]:
    return {"model": service.model.name, "version": service.model.version}


def _json(value: object, status: int = 200, headers: Any = None) -> Response:
    content = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return Response(content, status, headers=headers, media_type="application/json")
