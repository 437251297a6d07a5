"""The Argo engine of a test module; skips where it can't be had, as the control plane does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.argo.binaries import controller
from tests.argo.engine import Engine, Stories, install_inner_kinds
from tests.controlplane.cluster import Cluster
from tests.controlplane.fixtures import install_crds, or_skip


@pytest.fixture(scope="module")
def engine(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A controller with a namespace and a repository of its own."""
    with or_skip():
        controller()
    install_crds(nodes, "argo-workflows")
    install_inner_kinds(nodes)
    with Engine(nodes, tmp_path_factory.mktemp("argo") / "company") as engine:
        yield engine


@pytest.fixture(scope="module")
def stories() -> Iterator[Stories]:
    """For tales that are told at the same time."""
    with ThreadPoolExecutor(32) as pool:
        yield Stories(pool)
