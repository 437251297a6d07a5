"""`pytest --update-golden`: writes expected files anew. Refused where CI is set, so that CI can only compare.

Signals that whoever started pytest ignores (a shell does so for `pytest … &`, `nohup` for SIGHUP) are given back their
meaning: processes that tests start would inherit it, and never hear the Ctrl-C that is tested.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.controlplane.fixtures import bare_control_plane, control_plane, crds, namespace, nodes

__all__ = ["bare_control_plane", "control_plane", "crds", "namespace", "nodes"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write expected files anew (refused in CI)")


def pytest_configure(config: pytest.Config) -> None:
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    if config.getoption("--update-golden") and os.environ.get("CI"):
        raise pytest.UsageError("--update-golden is refused where CI is set")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
