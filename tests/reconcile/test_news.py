"""What a reconciler makes of commits that come and go in Git, and when it looks again. No cluster is asked."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from aifctl.reconcile.loop import SOONEST, Reconciler
from aifctl.reconcile.settings import Settings
from aifctl.reconcile.telemetry import Log
from tests.controlplane.cluster import Cluster
from tests.delivery import garden as gardens
from tests.delivery.garden import Garden

INTERVAL = 60.0


@pytest.fixture
def garden(tmp_path: Path) -> Garden:
    return gardens.new(tmp_path / "garden", Cluster(tmp_path, "https://127.0.0.1:1"), "rose")


def reconciler(garden: Garden, tmp_path: Path, said: list[str]) -> Reconciler:
    settings = Settings(
        repository=str(garden.root), environment=garden.environment, state=tmp_path / "state", interval=INTERVAL
    )
    return Reconciler(settings, Log(said.append))


def refused(garden: Garden) -> str:
    """A commit of which nothing can be compiled: it no longer has the environment."""
    garden.edit("platform.yaml", f"- name: {garden.environment}\n", "- name: another\n")
    return garden.commit("bad")


def test_a_branch_reset_to_what_is_known_is_looked_at_as_rarely_as_before(garden: Garden, tmp_path: Path) -> None:
    good = garden.git("rev-parse", "HEAD").strip()
    said: list[str] = []
    found = reconciler(garden, tmp_path, said)

    async def act() -> None:
        assert await found.news()
        bad = refused(garden)
        assert await found.news()
        assert found._pause() < INTERVAL
        garden.git("reset", "--quiet", "--hard", good)
        assert await found.news()
        assert found._pause() == INTERVAL
        # And told anew when it comes back.
        garden.git("reset", "--quiet", "--hard", bad)
        assert await found.news()

    asyncio.run(act())
    assert found.compilation is not None
    assert found.compilation.commit == good
    assert len([line for line in said if "event=finding" in line]) == 2
    assert len([line for line in said if "event=commit" in line]) == 1


def test_a_try_that_was_due_long_ago_is_no_reason_to_ask_without_end(garden: Garden, tmp_path: Path) -> None:
    """Neither the remote nor the own copy is there any more, so the commit that was refused can't be tried."""
    found = reconciler(garden, tmp_path, [])

    async def act() -> None:
        assert await found.news()
        refused(garden)
        await found.news()
        found._tries.not_before = 0.0
        garden.root.rename(tmp_path / "aside")
        shutil.rmtree(found.source.mirror)
        await found.news()
        assert found._pause() >= SOONEST

    asyncio.run(act())
