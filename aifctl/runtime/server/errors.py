"""Why a request gets no result: a value for the client, with the HTTP status that says whose fault it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reason:
    status: int
    name: str
    """Label of the error counter: few and fixed, so that clients can't grow the metrics."""


MALFORMED = Reason(400, "malformed")
SIGNATURE = Reason(400, "signature")
UNKNOWN_MODEL = Reason(404, "unknown-model")
SLOW_BODY = Reason(408, "slow-body")
TOO_LARGE = Reason(413, "too-large")
MEDIA_TYPE = Reason(415, "media-type")
MODEL_FAILED = Reason(500, "model-failed")
OVERLOADED = Reason(503, "overloaded")
DRAINING = Reason(503, "draining")
TIMEOUT = Reason(504, "timeout")


@dataclass(eq=False)
class RequestError(Exception):
    """Answered as `{"error": message}`. The message is for the client: it names the field, never server internals."""

    reason: Reason
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


def brief(value: object, limit: int = 60) -> str:
    """A client's own value for a message, cut short: an error must not echo megabytes."""
    if isinstance(value, list | dict | tuple):
        return f"a JSON {'object' if isinstance(value, dict) else 'list'}"
    text = value[:limit] if isinstance(value, str) else repr(value)[:limit]
    return f"`{text}`"
