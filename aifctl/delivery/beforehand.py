"""Modules that are imported in the background, beside the work that needs them later.

What talks to clusters takes 0.2 s, most of it reading certificates, which holds up nothing else.
"""

from __future__ import annotations

import importlib
import threading

_begun: list[threading.Thread] = []


def load(module: str) -> None:
    """Begins to import it. Whoever imports it as usual waits for it, and gets its error if there is one."""
    thread = threading.Thread(target=_loaded, args=(module,), daemon=True)
    _begun.append(thread)
    thread.start()


def wait() -> None:
    """Until all that was begun is there: a process that is forked before would inherit locks that nobody opens."""
    while _begun:
        _begun.pop().join()


def _loaded(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001 - raised again where the module is needed
        return
