"""Faults on the way to an API server: a reverse proxy that obeys rules and remembers every request.

    with FaultProxy(control_plane) as proxy:
        proxy.add(Rule("apply", Respond(429, retry_after=1), path="/configmaps/", times=2))
        proxy.add(Rule("create", Forward(then=Respond(500)), nth=3))       # 500 after commit
        run(kubeconfig=proxy.kubeconfig)
        assert proxy.writes(ignoring="/leases/") == []

The first rule that matches a request acts on it; without one it is forwarded. Answers stream, so watches pass through.
What cannot be forwarded (the API server is down) ends as a cut connection. Upgrades (exec, port-forward) do not pass.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import yarl
from aiohttp import web

from tests.controlplane.cluster import SERVER_SIDE_APPLY, Cluster

WRITES = frozenset({"create", "update", "patch", "apply", "delete", "deletecollection"})
REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired",
    422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip
EXPIRED_EVENT = (
    b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired",'
    b'"message":"too old resource version"}}\n'
)
# Named by RFC 9110, 7.6.1, as the business of one connection; lengths are written anew.
_OF_ONE_CONNECTION = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"}
_PATH = re.compile(
    r"/(?:api/(?P<core>v[^/]+)|apis/(?P<group>[^/]+/v[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?P<sub>/.+)?"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came; `at` is time.monotonic()."""

    method: str
    verb: str  # a Kubernetes verb, `apply` for a server-side apply, `other` for discovery, health and the like
    path: str
    query: str
    user: str  # who is impersonated
    at: float

    @property
    def dry_run(self) -> bool:
        return "dryRun=All" in self.query

    def __str__(self) -> str:
        return f"{self.verb} {self.path}{'?' if self.query else ''}{self.query}"


@dataclasses.dataclass(frozen=True, slots=True)
class Respond:
    """Answer with a Status and do not forward. `body` replaces the Status; `causes` are its details' causes."""

    status: int
    message: str = "the test says so"
    reason: str = ""
    retry_after: int | None = None
    causes: tuple[dict[str, str], ...] = ()
    body: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """Reset the connection."""


@dataclasses.dataclass(frozen=True, slots=True)
class Forward:
    """Forward after `delay` seconds; the caller gets the answer, or what `then` says once the server has done it."""

    delay: float = 0
    then: Respond | Cut | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Truncate:
    """Forward, and of the answer pass on `lines` (of a watch: events) and `tail`, then reset the connection.

    `orderly` ends the answer instead, as a server does whose watch times out.
    """

    lines: int
    tail: bytes = b""
    orderly: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """Call a function with the request, before it is forwarded or `after` the server has done it.

    In both cases the caller waits for it; it runs in a thread and may block. So the program under test is killed at one
    exact request, or held until another one has had its way.
    """

    function: Callable[[Seen], object]
    after: bool = False


Action = Respond | Cut | Forward | Truncate | Call


@dataclasses.dataclass(slots=True)
class Rule:
    """Act on requests whose method or verb is one of `on` (`|` between, `*` is any) and that match the patterns.

    `nth` (from 1) is the first match acted on, `times` how many are; None is all from there. Dry runs are requests as
    any other: `query="^((?!dryRun).)*$"` leaves them out.
    """

    on: str
    action: Action
    path: str = ""
    query: str = ""
    nth: int = 1
    times: int | None = None
    matched: int = 0

    def takes(self, seen: Seen) -> bool:
        wanted = self.on.split("|")
        if not ("*" in wanted or seen.method in wanted or seen.verb in wanted):
            return False
        if not (re.search(self.path, seen.path) and re.search(self.query, seen.query)):
            return False
        self.matched += 1
        return self.nth <= self.matched < self.nth + (self.times or 1_000_000_000)


class FaultProxy:
    """A context manager; rules may be added and cleared while it runs, from any thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.rules: list[Rule] = []
        self.requests: list[Seen] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def ca(self) -> Path:
        return self._cluster.ca

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, through the proxy."""
        return self.kubeconfig_with({"token": self._cluster.token})

    def kubeconfig_with(self, user: dict[str, Any]) -> Path:
        """A kubeconfig through the proxy with this user entry: `{"token": …}`, `{"token": …, "as": …}`."""
        return self._cluster.write_kubeconfig("proxy", user, server=self.url)

    def add(self, *rules: Rule) -> None:
        self.rules = [*self.rules, *rules]

    def clear(self) -> None:
        """Forget rules and requests."""
        self.rules, self.requests = [], []

    def seen(self, on: str = "*", path: str = "", query: str = "") -> list[Seen]:
        """The requests so far that a rule with these patterns would take."""
        rule = Rule(on, Cut(), path, query)
        return [each for each in list(self.requests) if rule.takes(each)]

    def count(self, on: str = "*", path: str = "", query: str = "") -> int:
        return len(self.seen(on, path, query))

    def writes(self, *, ignoring: str = r"(?!)") -> list[str]:
        """The writes so far that were no dry runs and whose path does not match `ignoring`: `apply /api/v1/…`."""
        wrote = (each for each in list(self.requests) if each.verb in WRITES and not each.dry_run)
        return [str(each) for each in wrote if not re.search(ignoring, each.path)]

    def reads_of_objects(self, *, ignoring: str = r"(?!)") -> list[str]:
        """The reads so far of single objects."""
        return [str(each) for each in self.seen("get") if not re.search(ignoring, each.path)]

    async def _start(self) -> None:
        server = self._cluster.server_certificate(f"proxy-{uuid.uuid4().hex[:8]}")
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(server.certificate, server.key)
        upstream = ssl.create_default_context(cafile=str(self._cluster.ca))
        connector = aiohttp.TCPConnector(ssl=upstream, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        application = web.Application(client_max_size=16 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        # A request that its caller has given up is ended here too, as the API server would.
        self._runner = web.AppRunner(
            application, handler_cancellation=True, shutdown_timeout=0.2, access_log=None, auto_decompress=False
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = _seen(request)
        self.requests.append(seen)
        action = next((rule.action for rule in self.rules if rule.takes(seen)), Forward())
        match action:
            case Respond():
                await request.read()
                return _respond(action)
            case Cut():
                return _cut(request)
            case Truncate():
                return await self._forward(request, action)
            case Forward():
                await asyncio.sleep(action.delay)
                return await self._forward_then(request, action.then)
            case Call():
                return await self._call(request, seen, action)

    async def _call(self, request: web.BaseRequest, seen: Seen, action: Call) -> web.StreamResponse:
        if not action.after:
            await asyncio.to_thread(action.function, seen)
            return await self._forward(request)
        try:
            async with await self._ask(request) as answer:
                body = await answer.read()
        except aiohttp.ClientError:
            return _cut(request)
        await asyncio.to_thread(action.function, seen)
        return web.Response(status=answer.status, body=body, headers=_passed_on(answer.headers))

    async def _forward_then(self, request: web.BaseRequest, then: Respond | Cut | None) -> web.StreamResponse:
        if then is None:
            return await self._forward(request)
        try:
            async with await self._ask(request) as answer:
                await answer.read()
        except aiohttp.ClientError:
            return _cut(request)
        return _cut(request) if isinstance(then, Cut) else _respond(then)

    async def _forward(self, request: web.BaseRequest, limit: Truncate | None = None) -> web.StreamResponse:
        try:
            async with await self._ask(request) as answer:
                passed = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
                await passed.prepare(request)
                if limit is not None:
                    return await _some(request, answer, passed, limit)
                async for chunk in answer.content.iter_any():
                    await passed.write(chunk)
                await passed.write_eof()
                return passed
        except aiohttp.ClientError:
            return _cut(request)

    async def _ask(self, request: web.BaseRequest) -> aiohttp.ClientResponse:
        return await self._session.request(
            request.method,
            yarl.URL(self._cluster.url + request.raw_path, encoded=True),
            data=await request.read(),
            headers=_passed_on(request.headers),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
            allow_redirects=False,
        )


async def _some(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, passed: web.StreamResponse, limit: Truncate
) -> web.StreamResponse:
    for _ in range(limit.lines):
        await passed.write(await answer.content.readline())
    await passed.write(limit.tail)
    if limit.orderly:
        await passed.write_eof()
    elif request.transport is not None:
        # Unlike abort(), close() sends what was written: the answer then lacks its end.
        request.transport.close()
    return passed


def _seen(request: web.BaseRequest) -> Seen:
    path, _, query = request.raw_path.partition("?")
    user = request.headers.get("Impersonate-User", "")
    return Seen(request.method, _verb(request, path, query), path, query, user, time.monotonic())


def _verb(request: web.BaseRequest, path: str, query: str) -> str:
    match = _PATH.fullmatch(path)
    if match is None:
        return "other"
    named = match["name"] is not None
    if request.method == "PATCH":
        return "apply" if request.content_type == SERVER_SIDE_APPLY else "patch"
    if request.method == "GET" and not named:
        return "watch" if re.search(r"\bwatch=(true|1)\b", query) else "list"
    if request.method == "DELETE" and not named:
        return "deletecollection"
    return {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}.get(request.method, "other")


def _passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_ONE_CONNECTION}


def _respond(action: Respond) -> web.Response:
    reason = action.reason or REASONS.get(action.status, "")
    details: dict[str, Any] = {"causes": list(action.causes)} if action.causes else {}
    headers = {}
    if action.retry_after is not None:
        headers["Retry-After"] = str(action.retry_after)
        details["retryAfterSeconds"] = action.retry_after
    status = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": action.message, "reason": reason, "details": details, "code": action.status,
    }  # fmt: skip
    text = json.dumps(action.body if action.body is not None else status)
    return web.Response(status=action.status, text=text, content_type="application/json", headers=headers)


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
