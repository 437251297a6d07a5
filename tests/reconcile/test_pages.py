"""Probes, metrics and log lines."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from aifctl.diagnostics import Diagnostic, Report
from aifctl.reconcile.server import Page, serve
from aifctl.reconcile.telemetry import Log, Metrics
from tests.reconcile.process import free_port


def asked(request: bytes) -> bytes:
    async def act() -> bytes:
        port = free_port()
        server = await serve(f"127.0.0.1:{port}", {"/healthz": lambda: Page(200, b"ok\n")})
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        server.close()
        return answer

    return asyncio.run(act())


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, b"ok\n"),
        (b"GET /healthz?verbose HTTP/1.1\r\n\r\n", 200, b"ok\n"),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", 200, b""),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404, b"not here\n"),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405, b"only GET\n"),
        (b"\xff\xfe\r\n\r\n", 405, b"only GET\n"),
    ],
)
def test_what_is_answered(request_: bytes, status: int, body: bytes) -> None:
    head, _, found = asked(request_).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert found == body


@pytest.mark.parametrize("request_", [b"", b"GET", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000])
def test_who_asks_badly_gets_no_answer(request_: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # closed before all of it was read
        assert asked(request_) == b""


@pytest.mark.parametrize("address", ["127.0.0.1:99999999", "nowhere", "256.1.1.1:80", "127.0.0.1:x"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(Report, match="AIF779"):
        asyncio.run(serve(address, {}))


def test_lines_are_one_line_each_and_can_be_read_back() -> None:
    lines: list[str] = []
    hostile = 'a "b"\nlevel=error\tx\x1b[31m'
    Log(lines.append)("applied", unit="prod/vision/digits", why=hostile, nothing=None, seconds=0.12345)
    Log(lines.append, as_json=True).finding(Diagnostic("AIF770", hostile, "hint"), unit="x")
    text, data = lines
    assert "\n" not in text
    assert "\x1b" not in text
    assert " unit=prod/vision/digits " in text
    assert text.endswith("seconds=0.123")
    assert json.loads(data)["message"] == hostile


def test_metrics_have_a_name_and_a_help_each() -> None:
    metrics = Metrics()
    metrics.units.labels("synced").set(3)
    page = metrics.page().decode()
    assert 'aifctl_reconcile_units{state="synced"} 3.0' in page
    names = [line.split()[2] for line in page.splitlines() if line.startswith("# HELP")]
    assert all(name.startswith("aifctl_reconcile_") for name in names)
    assert len(names) == len(set(names))
