"""Reading a request's body: bounded in bytes whatever the client declares, and decoded as strict JSON (RFC 8259)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import zlib
from typing import Any, NoReturn

from starlette.requests import Request

from aifctl.runtime.server.errors import MALFORMED, MEDIA_TYPE, SLOW_BODY, TOO_LARGE, RequestError

LINGER_SECONDS = 1.0
LINGER_FACTOR = 4
_CLOSE = {"Connection": "close"}


async def read(request: Request, limit: int, timeout: float) -> bytes:
    """The body, unpacked where it is gzip or deflate. Raises RequestError 400, 408, 413 or 415."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise RequestError(MEDIA_TYPE, "content-encoding is not one of identity, gzip, deflate", _CLOSE)
    try:
        async with asyncio.timeout(timeout):
            body = await _read_bounded(request, limit)
    except TimeoutError:
        raise RequestError(SLOW_BODY, f"the body did not arrive within {timeout:g} s", _CLOSE) from None
    return body if encoding == "identity" else _unpack(body, limit)


def require_media_type(request: Request, allowed: tuple[str, ...]) -> None:
    """A body without a declared type is taken as JSON. Raises RequestError 415."""
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared and declared not in allowed:
        raise RequestError(MEDIA_TYPE, f"content-type is not {' or '.join(allowed)}", _CLOSE)


def parse_json(data: bytes) -> Any:
    """Raises RequestError 400: not UTF-8, not JSON, NaN or Infinity, nested so deep that it exhausts the stack."""
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise RequestError(MALFORMED, "the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise RequestError(MALFORMED, f"the body is not JSON: {error.msg} at {where}") from None
    except ValueError:  # int() refuses numbers of more than 4,300 digits
        raise RequestError(MALFORMED, "the body has a number with too many digits") from None
    except RecursionError:
        raise RequestError(MALFORMED, "the body is nested too deeply") from None


async def _read_bounded(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        await _refuse_large(request, limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            await _refuse_large(request, limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def _refuse_large(request: Request, limit: int) -> NoReturn:
    """Reads on for a moment without keeping anything: a client that is still sending would see a reset, not the 413."""
    if request.headers.get("expect", "").lower() != "100-continue":
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await _discard(request, LINGER_FACTOR * limit)
    raise RequestError(TOO_LARGE, f"the body is larger than {limit} bytes", _CLOSE)


async def _discard(request: Request, limit: int) -> None:
    """Takes messages from the server itself: `request.stream()` can't be entered a second time."""
    size, until = 0, time.monotonic() + LINGER_SECONDS
    while size <= limit and time.monotonic() < until:
        message = await request.receive()
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _unpack(body: bytes, limit: int) -> bytes:
    """Both formats, told apart by their header (zlib's wbits 47); stops at the limit, so a zip bomb costs that much."""
    unpacker = zlib.decompressobj(wbits=47)
    try:
        data = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise RequestError(MALFORMED, "the body is not what its content-encoding says") from None
    if len(data) > limit:
        raise RequestError(TOO_LARGE, f"the unpacked body is larger than {limit} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise RequestError(MALFORMED, "the packed body is cut off or has bytes after its end")
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise RequestError(MALFORMED, f"the body has {name}, which JSON does not know")
