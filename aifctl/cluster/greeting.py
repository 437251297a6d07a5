"""The first question to an API server: which version it is, and what time it has. Needs no right."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

import aiohttp

from aifctl.cluster.access import Access
from aifctl.cluster.errors import ApiError, Unreachable, Untrusted

PATH = "/version"
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Greeting:
    """`ahead`: seconds that this machine's clock is ahead of the server's, negative for behind; the header it is told
    by counts whole seconds. None where the server does not say its time. `took`: seconds until the answer was there."""

    version: str
    ahead: float | None
    took: float


async def greet(access: Access) -> Greeting:
    """Raises Unreachable, Untrusted, ApiError, and Report (AIF702) for credentials that can't be used."""
    tls, headers = access.tls(), access.headers()
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    start, started = time.time(), time.monotonic()
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=timeout) as session,
            session.get(
                access.server + PATH, headers=headers, ssl=tls, proxy=access.proxy,
                server_hostname=access.server_name, allow_redirects=False,
            ) as response,
        ):  # fmt: skip
            body, took = await response.read(), time.monotonic() - started
            if response.status != 200:
                raise ApiError.of(response.status, body, response.headers)
            found = await response.json(content_type=None)
    except aiohttp.ClientConnectorCertificateError as error:
        raise Untrusted(access.server, str(error.certificate_error)) from None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(access.server, str(error) or type(error).__name__) from None
    version = found.get("gitVersion") if isinstance(found, dict) else None
    if not isinstance(version, str):
        raise Unreachable(access.server, f"what answers to {PATH} is no API server")
    return Greeting(version, _ahead(response.headers.get("Date"), start + took / 2), took)


def _ahead(date: str | None, here: float) -> float | None:
    """The header (RFC 9110, 6.6.1) is cut to whole seconds: its middle is the best guess."""
    try:
        there: datetime = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return here - (there.timestamp() + 0.5)
