"""A server that answers as a test says: what no API server says of itself (login pages, broken proxies, dead lines)."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

Object = dict[str, Any]


def found(body: Any, code: int = 200, **headers: str) -> web.Response:
    return web.Response(status=code, text=json.dumps(body), content_type="application/json", headers=headers)


def status(code: int, message: str = "no", reason: str = "", **headers: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    return found({**body, "code": code}, code, **{key.replace("_", "-"): value for key, value in headers.items()})


def page(text: str = "<html>log in</html>", code: int = 200, **headers: str) -> web.Response:
    return web.Response(status=code, text=text, content_type="text/html", headers=headers)


class Cut:
    """Ends the connection without an answer."""


class Answers:
    """One answer a request, the last of them for ever. `requests` are those that came."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.requests = list(answers), list[web.Request]()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Cut):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer, list):
            return await _streamed(request, answer)
        if callable(answer):
            return await answer(request)  # type: ignore[no-any-return]
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


@contextlib.asynccontextmanager
async def serving(answers: Answers, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The server's URL."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answers.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _streamed(request: web.Request, chunks: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response
