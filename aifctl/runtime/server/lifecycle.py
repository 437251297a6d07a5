"""How a server process listens and leaves.

On SIGTERM or SIGINT readiness goes false at once. For `drain_delay` seconds requests are still answered, then new ones
get 503 while those in flight finish, for at most `grace` seconds. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

import uvicorn

from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.runtime.server import app

EXIT_CUT_OFF = 1
"""Requests were still running at the end of the grace period."""
LAST_ANSWERS = 2
"""Seconds that connections get to close once nothing is in flight."""


def run(service: app.Service, listener: socket.socket) -> tuple[int, list[Diagnostic]]:
    """Blocks until the server has stopped. Exit code 0 when every admitted request was answered, else AIF865."""
    _announce(service, listener)
    config = uvicorn.Config(
        app.build(service),
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )
    server = _Server(config, service)
    server.run(sockets=[listener])
    service.engine.close()
    if not server.cut_off:
        return 0, []
    what = f"{server.cut_off} requests were cut off after {service.options.grace:g} s of grace"
    hint = "raise `--grace`, and the pod's terminationGracePeriodSeconds with it"
    return EXIT_CUT_OFF, [Diagnostic("AIF865", what, hint=hint, severity=Severity.WARNING)]


def end_process(code: int) -> None:
    """Ends without waiting for worker threads: a call of the model can't be interrupted and may never end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def listen(host: str, port: int) -> socket.socket:
    """A bound, listening socket. Raises Report (AIF862)."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol: asyncio sets TCP_NODELAY only where that is said to be TCP, and without it every answer of
        # two packets waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn, but leaving in our order, and ending with our exit code instead of raising the signal again."""

    def __init__(self, config: uvicorn.Config, service: app.Service) -> None:
        super().__init__(config)
        self.service = service
        self.cut_off = 0
        self._leaving: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leave)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def leave(self) -> None:
        if self._leaving is not None:
            self.cut_off = self.service.in_flight
            self.should_exit = self.force_exit = True
            return
        self.service.turn(app.Phase.LEAVING)
        self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        await asyncio.sleep(self.service.options.drain_delay)
        self.service.turn(app.Phase.DRAINING)
        deadline = time.monotonic() + self.service.options.grace
        while self.service.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self.cut_off = self.service.in_flight
        self.force_exit = self.cut_off > 0
        self.should_exit = True


def _announce(service: app.Service, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    model = service.model
    print(f"serving {model.name}, version {model.version} ({model.format}), on http://{address}", flush=True)


def _cannot_listen(host: str, port: int, error: OSError) -> Report:
    what = f"can't listen on {host}:{port}: {(error.strerror or str(error)).lower()}"
    return Report(Diagnostic("AIF862", what, hint="choose another `--port` (0 takes a free one) or `--host`"))
