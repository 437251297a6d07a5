"""A small company in Git on the test control plane, and a reconciler for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controlplane.cluster import Cluster
from tests.delivery import garden as gardens
from tests.delivery.garden import Garden
from tests.reconcile.process import Reconciler

Start = Callable[..., Reconciler]


@pytest.fixture
def garden(tmp_path: Path, control_plane: Cluster) -> Iterator[Garden]:
    """Two models, committed; nothing applied."""
    found = gardens.new(tmp_path / "garden", control_plane, "rose", "tulip")
    yield found
    found.fell()


@pytest.fixture
def start(tmp_path: Path, garden: Garden) -> Start:
    """A reconciler of the garden, not started yet, that writes as the administrator."""

    def started(*options: str, kubeconfig: Path | None = None, state: str = "state") -> Reconciler:
        return Reconciler(
            garden.root, garden.environment, kubeconfig or garden.cluster.kubeconfig, tmp_path / state, "--as-myself",
            *options,
        )  # fmt: skip

    return started
