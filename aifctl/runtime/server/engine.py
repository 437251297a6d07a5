"""Runs the model in worker threads: at most so many calls at a time, so many waiting, and each for so long.

The event loop never computes: onnxruntime and TensorFlow release the interpreter lock, so health and metrics answer
during a call. A call can't be interrupted: one that outlives its request keeps its worker until it returns. Calls that
nobody waits for any more and that have not begun are dropped, so a slow model does no work for clients that have left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from aifctl.runtime.data import RowError
from aifctl.runtime.server.errors import MODEL_FAILED, OVERLOADED, SIGNATURE, TIMEOUT, RequestError
from aifctl.runtime.signature import Arrays

P = TypeVar("P")
LOG = logging.getLogger("aifctl.server")
MOST_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Limits:
    workers: int
    pending: int
    timeout: float
    batch: int
    delay: float


def workers_for(format: str, asked: int | None) -> int:
    """A compiled graph may be called by several threads; whether user code may be is not known."""
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if format == "custom" else min(cores, MOST_WORKERS)


@dataclass(frozen=True, slots=True)
class Call(Generic[P]):
    """One way to call the model: with features, or with raw rows."""

    name: str
    run: Callable[[P], Arrays]
    merge: Callable[[Sequence[P]], P]
    key: Callable[[P], object]
    """Payloads of equal keys can be merged."""


def merge_features(payloads: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([payload[name] for payload in payloads]) for name in payloads[0]}


def features_key(payload: Arrays) -> object:
    """Dimensions that the signature leaves open must be equal."""
    return tuple((name, array.shape[1:]) for name, array in sorted(payload.items()))


def merge_rows(payloads: Sequence[list[Any]]) -> list[Any]:
    return [row for payload in payloads for row in payload]


def rows_key(payload: list[Any]) -> object:
    return None


@dataclass(slots=True)
class _Waiting:
    """Requests that will be computed together."""

    items: list[tuple[Any, int, asyncio.Future[Arrays]]] = field(default_factory=list)
    rows: int = 0
    timer: asyncio.TimerHandle | None = None


class Engine:
    """Belongs to one event loop; only `_timed` runs in the workers."""

    def __init__(self, limits: Limits, observe: Callable[[int, float], None]) -> None:
        self.limits = limits
        self._observe = observe
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="model")
        self._calls: set[Future[Arrays]] = set()
        self._groups: dict[object, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, call: Call[P], payload: P, rows: int) -> Arrays:
        """Outputs of `rows` rows. Raises RequestError 400, 500, 503 or 504."""
        if len(self._calls) >= self.limits.pending:
            raise RequestError(OVERLOADED, "the model is still busy with earlier requests", {"Retry-After": "1"})
        result = self._alone(call, payload, rows) if self.limits.delay <= 0 else self._together(call, payload, rows)
        try:
            return await asyncio.wait_for(result, self.limits.timeout)
        except TimeoutError:
            raise RequestError(TIMEOUT, f"the model did not answer within {self.limits.timeout:g} s") from None

    @property
    def busy(self) -> int:
        """Calls that are running or queued, those that nobody waits for any more included."""
        return len(self._calls)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _alone(self, call: Call[P], payload: P, rows: int) -> Arrays:
        started = self._pool.submit(self._timed, call.run, payload, rows)
        self._calls.add(started)
        loop = asyncio.get_running_loop()
        started.add_done_callback(lambda done: self._forget(loop, done))
        try:
            return await asyncio.wrap_future(started)
        except Exception as error:  # noqa: BLE001 - boundary: a model is foreign code and raises what it likes
            raise _refusal(error, rows) from None

    def _forget(self, loop: asyncio.AbstractEventLoop, done: Future[Arrays]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(self._calls.discard, done)

    def _timed(self, run: Callable[[P], Arrays], payload: P, rows: int) -> Arrays:
        start = time.perf_counter()
        outputs = run(payload)
        self._observe(rows, time.perf_counter() - start)
        return outputs

    async def _together(self, call: Call[P], payload: P, rows: int) -> Arrays:
        loop = asyncio.get_running_loop()
        key = (call.name, call.key(payload))
        group = self._groups.get(key)
        if group is not None and group.rows + rows > self.limits.batch:
            self._flush(key, call)
            group = None
        if group is None:
            group = self._groups[key] = _Waiting(timer=loop.call_later(self.limits.delay, self._flush, key, call))
        answer: asyncio.Future[Arrays] = loop.create_future()
        group.items.append((payload, rows, answer))
        group.rows += rows
        if group.rows >= self.limits.batch:
            self._flush(key, call)
        return await answer

    def _flush(self, key: object, call: Call[Any]) -> None:
        group = self._groups.pop(key)
        if group.timer is not None:
            group.timer.cancel()
        items = [item for item in group.items if not item[2].done()]
        if items:
            task = asyncio.get_running_loop().create_task(self._answer(call, items))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call[Any], items: list[tuple[Any, int, asyncio.Future[Arrays]]]) -> None:
        """A merged call that fails is made again one by one, so that one client's rows can't fail another's."""
        rows = sum(count for _, count, _ in items)
        try:
            outputs = await self._alone(call, call.merge([payload for payload, _, _ in items]), rows)
            if len(items) > 1 and any(len(array) != rows for array in outputs.values()):
                raise RequestError(MODEL_FAILED, "the model does not give one entry a row")
        except RequestError as error:
            if len(items) == 1:
                _settle(items[0][2], error)
                return
            for item in items:
                await self._answer(call, [item])
            return
        start = 0
        for _, count, answer in items:
            _settle(answer, {name: array[start : start + count] for name, array in outputs.items()})
            start += count


def _refusal(error: Exception, rows: int) -> RequestError:
    """Whose fault it is. An invalid argument to a runtime got past the signature: an index out of a table, say."""
    if isinstance(error, RowError):
        where = f"row {error.rows[0] + 1}: " if error.rows and rows > 1 else ""
        return RequestError(SIGNATURE, where + str(error))
    if type(error).__name__ in _INVALID:
        return RequestError(SIGNATURE, "the model does not accept these values")
    LOG.error("the model failed on %d rows", rows, exc_info=error)
    return RequestError(MODEL_FAILED, "the model failed on this request; the server's log has the reason")


_INVALID = frozenset({"InvalidArgument", "InvalidArgumentError"})
"""Of onnxruntime and of TensorFlow, by name: neither is imported for a bundle that does not need it."""


def _settle(answer: asyncio.Future[Arrays], result: Arrays | RequestError) -> None:
    """Unless the request has gone meanwhile."""
    if answer.done():
        return
    if isinstance(result, RequestError):
        answer.set_exception(result)
    else:
        answer.set_result(result)
