"""A few pages over HTTP for probes and Prometheus: GET of a path, and no more. Served by the loop itself, so an answer
says that the loop turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aifctl.diagnostics import Diagnostic, Report

PATIENCE = 5.0
LONGEST = 8192
"""Bytes of a request's head."""


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"


Pages = Mapping[str, Callable[[], Page]]
REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


async def serve(address: str, pages: Pages) -> asyncio.Server:
    """Listens on `host:port`. Raises Report (AIF779)."""
    host, _, port = address.rpartition(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answered(head, pages))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks like this gets no answer
        finally:
            writer.close()

    try:
        return await asyncio.start_server(answer, host.strip("[]") or None, int(port), limit=LONGEST)
    except (OSError, ValueError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Report(Diagnostic("AIF779", f"can't listen on {address}: {why}", "choose another port")) from None


def _answered(head: bytes, pages: Pages) -> bytes:
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if method not in ("GET", "HEAD"):
        page = Page(405, b"only GET\n")
    else:
        page = pages[path]() if path in pages else Page(404, b"not here\n")
    lines = (f"HTTP/1.1 {page.status} {REASONS[page.status]}", f"Content-Type: {page.kind}",
             f"Content-Length: {len(page.body)}", "Connection: close", "", "")  # fmt: skip
    return "\r\n".join(lines).encode() + (b"" if method == "HEAD" else page.body)
