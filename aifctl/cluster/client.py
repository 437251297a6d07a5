"""HTTP to one API server: verbs, retries, errors. Everything else in this package goes through `Client`.

One event loop, one session, at most `CONNECTIONS` requests at a time; priority and fairness on the server do the rest,
so there is no rate limit of our own.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import orjson
from multidict import CIMultiDict

from aifctl import __version__
from aifctl.cluster.access import Access
from aifctl.cluster.errors import ApiError, Unreachable, Untrusted
from aifctl.diagnostics import Report

CONNECTIONS = 32
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
PATIENCE = 20.0
"""Seconds that one request is tried again for when the server is busy, failing or away."""
FIRST = 3.0
"""Seconds for the first answer of all: a wrong address is said soon. Servers that answered once may restart."""
CONNECT = 5.0
ANSWER = 65.0
"""Seconds without a byte; the server gives up on a request after 60."""
ONCE = 5.0
"""Seconds for what is asked once, and done without where it does not come."""
PAGE = 500
BUSY = frozenset({429, 500, 502, 503, 504})
RENEWALS = 2
"""Times that one request is sent again with fresh credentials."""
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Account:
    """Whom to impersonate: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation"""

    user: str = ""

    @classmethod
    def of_account(cls, namespace: str, name: str) -> Account:
        return cls(f"system:serviceaccount:{namespace}:{name}")


OURSELVES = Account()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    params: Mapping[str, str] | None = None
    data: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Connection:
    """What all clients of one session share."""

    access: Access
    reload: Callable[[], Access] | None
    session: aiohttp.ClientSession
    tls: Any
    headers: Mapping[str, str]
    answered: bool = False
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS))


class Client:
    """Use as `async with Client(access) as client`. Methods raise ApiError (the server said no) or Unreachable."""

    def __init__(
        self, access: Access, *, patience: float = PATIENCE, reload: Callable[[], Access] | None = None
    ) -> None:
        """`reload` gives fresh credentials when the server takes ours no more (a token that has expired)."""
        self.access, self.patience, self._reload = access, patience, reload
        self.account = OURSELVES
        self._connection: _Connection | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
        session = aiohttp.ClientSession(connector=connector, auto_decompress=True, trust_env=True)
        try:
            tls, headers = self.access.tls(), self.access.headers()
        except BaseException:
            await session.close()
            raise
        self._connection = _Connection(self.access, self._reload, session, tls, headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.session.close()

    def acting_as(self, account: Account) -> Client:
        """The same connection under another account. Not to be entered or left."""
        other = Client(self.access, patience=self.patience)
        other._connection, other.account = self._connection, account
        return other

    async def get(self, path: str, params: Mapping[str, str] | None = None, accept: str = JSON) -> dict[str, Any]:
        return await self.request("GET", path, params, accept=accept)

    async def items(
        self, path: str, params: Mapping[str, str] | None = None, accept: str = JSON
    ) -> tuple[list[dict[str, Any]], str]:
        """All items (each with apiVersion and kind) and the resourceVersion of the whole, read page by page."""
        items: list[dict[str, Any]] = []
        asked = {"limit": str(PAGE), **(params or {})}
        while True:
            try:
                page = await self.get(path, asked, accept)
            except ApiError as error:
                if error.status == 410 and "continue" in asked:  # the list changed too much between two pages
                    asked.pop("continue")
                    asked.pop("limit", None)
                    items.clear()
                    continue
                raise
            if "items" not in page:  # whoever says this, it does not say that nothing is there
                raise self._strange(path, json.dumps(page))
            kind, version = page.get("kind", "").removesuffix("List"), page.get("apiVersion", "")
            items += [{"apiVersion": version, "kind": kind, **item} for item in page.get("items") or ()]
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return items, str(meta.get("resourceVersion", ""))
            asked["continue"] = meta["continue"]

    async def create(
        self, path: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return await self.request("POST", path, params, body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT; with a resourceVersion in the body it fails with 409 when somebody else wrote in between."""
        return await self.request("PUT", path, None, body)

    async def patch(self, path: str, kind: str, body: Any, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self.request("PATCH", path, params, body, kind)

    async def delete(
        self, path: str, uid: str | None, propagation: str = "Background", version: str = ""
    ) -> dict[str, Any]:
        """Deletes just the object with this uid (and resourceVersion): another one of the name is left alone (409)."""
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid, **({"resourceVersion": version} if version else {})}
        return await self.request("DELETE", path, None, body)

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """What is no JSON: a pod's log. Asked once: its node may be away, and an answer without it is worth more than a
        late one."""
        try:
            async with asyncio.timeout(ONCE):
                return (await self._once(_Request("GET", path, params))).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(self.access.server, _said(error)) from None

    async def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        kind: str = JSON,
        accept: str = JSON,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        answer = await self._tried(_Request(method, path, params, data, {"Content-Type": kind, "Accept": accept}))
        try:
            found = orjson.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict) or ("kind" not in found and path != "/version"):
            raise self._strange(path, answer.decode("utf-8", "replace"))
        return found

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Events {type, object} as they come, until the server ends the stream. Not retried: the caller lists anew."""
        connection = self._open()
        asked = {"watch": "1", "allowWatchBookmarks": "true", **params}
        silence = float(params.get("timeoutSeconds", ANSWER)) + _LONGEST_PAUSE
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=silence)
        try:
            async with connection.session.get(
                self._url(path), params=asked, headers=self._headers(connection), ssl=connection.tls, timeout=timeout,
                proxy=self.access.proxy, server_hostname=self.access.server_name, allow_redirects=False,
                read_bufsize=1 << 20,
            ) as response:  # fmt: skip
                if response.status >= 300:
                    raise ApiError.of(response.status, await response.read(), response.headers)
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield _event(line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(self.access.server, str(error) or type(error).__name__) from None

    # One request, tried until it is answered

    async def _tried(self, request: _Request) -> bytes:
        """Retries are safe for all that we send: applies and gets repeat, PUT and DELETE carry preconditions, and who
        creates expects 409 (it may be our own first try)."""
        connection, start, pause, renewals = self._open(), time.monotonic(), 0.1, 0
        while True:
            wait: float | None = None
            used = connection.headers
            try:
                return await self._once(request)
            except ApiError as error:
                if error.status == 401 and renewals < RENEWALS and self._renew(used):
                    renewals += 1
                    continue
                if error.status not in BUSY or not error.passing:
                    raise
                last: Exception = error
                wait = error.retry_after
            except aiohttp.ClientConnectorCertificateError as error:
                raise Untrusted(self.access.server, str(error.certificate_error)) from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                last = Unreachable(self.access.server, _said(error))
            pause = min(pause * 2, _LONGEST_PAUSE)
            pause_now = pause * random.uniform(0.5, 1.0) if wait is None else wait  # noqa: S311 - jitter
            patience = self.patience if connection.answered else min(self.patience, FIRST)
            if time.monotonic() + pause_now > start + patience:
                raise last from None
            await asyncio.sleep(pause_now)

    async def _once(self, request: _Request) -> bytes:
        connection = self._open()
        headers = self._headers(connection)
        headers.update(request.headers)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=ANSWER)
        async with (
            connection.slots,
            connection.session.request(
                request.method, self._url(request.path), params=request.params, data=request.data, headers=headers,
                ssl=connection.tls, timeout=timeout, proxy=self.access.proxy,
                server_hostname=self.access.server_name, allow_redirects=False,
            ) as response,
        ):  # fmt: skip
            answer = await response.read()
        connection.answered = True
        if response.status >= 400:
            raise ApiError.of(response.status, answer, response.headers)
        if response.status >= 300:  # an API server does not; who wants us to log in does
            raise Unreachable(self.access.server, f"it redirects to {response.headers.get('Location', 'nowhere')}")
        return answer

    def _open(self) -> _Connection:
        assert self._connection is not None, "use `async with`"
        return self._connection

    def _url(self, path: str) -> str:
        return self.access.server + path

    def _headers(self, connection: _Connection) -> CIMultiDict[str]:
        headers = CIMultiDict(connection.headers)
        headers["Accept"] = JSON
        headers["Accept-Encoding"] = "identity"  # lists would be compressed, which costs more than it saves nearby
        headers["User-Agent"] = f"aifctl/{__version__}"
        user, groups = (self.account.user, ()) if self.account.user else (self.access.user, self.access.groups)
        if user:
            headers["Impersonate-User"] = user
        for group in groups:
            headers.add("Impersonate-Group", group)
        return headers

    def _renew(self, refused: Mapping[str, str]) -> bool:
        """Reads the credentials anew, unless another request has done so; whether they differ from the refused ones."""
        connection = self._open()
        if connection.headers is not refused:
            return True
        try:
            if connection.reload is not None:
                connection.access = connection.reload()
            fresh = connection.access.headers()
        except Report:
            return False  # the server's refusal is what is told
        if fresh == refused:
            return False
        connection.headers = fresh
        return True

    def _strange(self, path: str, answer: str) -> Unreachable:
        start = " ".join(answer[:80].split())
        return Unreachable(self.access.server, f"what answers to {path} is no API server: `{start}`")


def _event(line: bytes) -> dict[str, Any]:
    event = orjson.loads(line)
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise ValueError("an event of a watch can't be read")
    return event


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
