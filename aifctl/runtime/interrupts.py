"""Ctrl-C and its like, counted: the executor decides what the first and the second mean."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP while it lasts, instead of dying of them. Outside the main thread it can't."""

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self.NUMBERS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup: stay deaf
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        self.count += 1
