"""What Prometheus scrapes. All names start with `aif_`; every series has `model` and `version`, so that the stable and
the candidate release can be told apart. Label values are few and fixed: a client can't make new series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prometheus_client import (
    GC_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from aifctl.runtime.server.model import Model

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CONTENT_TYPE: str = CONTENT_TYPE_LATEST
_MODEL = ("model", "version")


@dataclass(frozen=True, slots=True)
class Metrics:
    registry: CollectorRegistry
    model: tuple[str, str]
    requests: Counter
    seconds: Histogram
    errors: Counter
    predictions: Any
    low_confidence: Any
    in_flight: Any
    ready: Any
    rows: Any
    model_seconds: Any

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        self.requests.labels(*self.model, endpoint, str(status)).inc()
        self.seconds.labels(*self.model, endpoint).observe(seconds)

    def failed(self, endpoint: str, reason: str) -> None:
        self.errors.labels(*self.model, endpoint, reason).inc()

    def called(self, rows: int, seconds: float) -> None:
        """One call of the model."""
        self.rows.observe(rows)
        self.model_seconds.observe(seconds)

    def exposition(self) -> bytes:
        return generate_latest(self.registry)


def of_model(model: Model) -> Metrics:
    """A registry of its own, so that two servers in one process (tests) do not share series."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(GC_COLLECTOR)
    labels = (model.name, model.version)
    info = Gauge("aif_model_info", "The release that serves", (*_MODEL, "sha256", "format", "task"), registry=registry)
    info.labels(*labels, model.sha256, model.format, model.signature.task).set(1)

    def counter(name: str, text: str, *extra: str) -> Counter:
        return Counter(name, text, (*_MODEL, *extra), registry=registry)

    def histogram(name: str, text: str, buckets: tuple[float, ...], *extra: str) -> Histogram:
        return Histogram(name, text, (*_MODEL, *extra), buckets=buckets, registry=registry)

    def gauge(name: str, text: str) -> Any:
        return Gauge(name, text, _MODEL, registry=registry).labels(*labels)

    return Metrics(
        registry=registry,
        model=labels,
        requests=counter("aif_requests", "Requests answered, by endpoint and status", "endpoint", "status"),
        seconds=histogram("aif_request_seconds", "Time from first byte to answer", SECONDS, "endpoint"),
        errors=counter("aif_errors", "Requests without a result, by reason", "endpoint", "reason"),
        predictions=counter("aif_predictions", "Rows predicted").labels(*labels),
        low_confidence=counter("aif_low_confidence_predictions", "Rows below the confidence asked for").labels(*labels),
        in_flight=gauge("aif_requests_in_flight", "Requests being read, waiting or computed"),
        ready=gauge("aif_ready", "1 while the server takes traffic"),
        rows=histogram("aif_batch_rows", "Rows of one call of the model", ROWS).labels(*labels),
        model_seconds=histogram("aif_model_seconds", "Time of one call of the model", SECONDS).labels(*labels),
    )
