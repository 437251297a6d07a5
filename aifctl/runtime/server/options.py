"""What one server process is told at its start. Plain data: imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aifctl.diagnostics import Diagnostic

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Times are seconds, sizes bytes. `bundle` is a folder or an fsspec URL; `name` stands in URLs."""

    bundle: str
    name: str
    sha256: str | None = None
    """Content digest the bundle must have (the release's); None takes what is there."""
    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one; the line printed when the server is ready names it."""
    max_batch: int = 32
    """Rows of one request, and of one merged call of the model."""
    max_body_bytes: int = 8 * MEBIBYTE
    timeout: float = 30.0
    """Of reading one body (408), and of computing its answer, waiting included (504)."""
    batch_delay: float = 0.0
    """How long a request may wait for others to be computed with it; 0 computes each on its own."""
    workers: int | None = None
    """Model calls at a time; None: one a core up to 4, and one for custom code, which may not be made for more."""
    max_pending: int = 128
    """Requests that are being read, wait or are computed; more get 503."""
    low_confidence: float = 0.5
    """Predictions below are counted as such."""
    log_sample: float = 0.0
    """Fraction of predictions written to stdout, one JSON object a line."""
    redact: tuple[str, ...] = ()
    """Columns whose values never get into that log."""
    drain_delay: float = 0.0
    """After SIGTERM, go on serving for so long while not ready: load balancers need a moment to notice."""
    grace: float = 25.0
    """How long requests may then take to finish before they are cut off."""


def check(options: ServerOptions) -> Iterator[Diagnostic]:
    """AIF860 for each option out of its range."""
    for field, (holds, wanted) in _RANGES.items():
        value = getattr(options, field)
        if not holds(value):
            flag = "--" + field.replace("_", "-")
            yield Diagnostic("AIF860", f"`{flag}` is {value!r}", hint=f"`{flag}` must be {wanted}")


def _between(least: float, greatest: float) -> tuple[Callable[[float], bool], str]:
    return lambda value: least <= value <= greatest, f"between {least:g} and {greatest:g}"


_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_RANGES: dict[str, tuple[Callable[..., bool], str]] = {
    "bundle": (bool, "a folder or a URL"),
    "name": (lambda value: _NAME.fullmatch(value) is not None, "letters, digits, `.`, `_` and `-`, at most 128"),
    "sha256": (lambda value: value is None or _SHA256.fullmatch(value) is not None, "64 lower-case hex digits"),
    "port": _between(0, 65535),
    "max_batch": _between(1, 65536),
    "max_body_bytes": _between(1, 1 << 32),
    "timeout": _between(0.001, 3600),
    "batch_delay": _between(0, 10),
    "workers": (lambda value: value is None or 1 <= value <= 256, "between 1 and 256"),
    "max_pending": _between(1, 65536),
    "low_confidence": _between(0, 1),
    "log_sample": _between(0, 1),
    "drain_delay": _between(0, 3600),
    "grace": _between(0, 3600),
}
