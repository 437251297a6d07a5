"""Companies that tests promote, push and serve in: made once, copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.delivery.acme import WORSE, Acme
from tests.delivery.garden import garden

__all__ = ["garden"]


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Acme:
    """Two runs of this machine (the second one worse) and one of the lab."""
    acme = Acme.founded(tmp_path_factory.mktemp("companies") / "made")
    acme.run_in_lab()
    acme.run_here()
    acme.spec(strength=WORSE).run_here()
    acme.spec()
    return acme


@pytest.fixture
def acme(_made: Acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acme:
    """A company with runs, and the working folder in it."""
    copy = _made.moved(tmp_path / "acme")
    monkeypatch.chdir(copy.root)
    return copy


@pytest.fixture
def new_acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acme:
    """A company that has run nothing yet."""
    company = Acme.founded(tmp_path / "acme")
    monkeypatch.chdir(company.root)
    return company
