"""Fixtures of the control plane; what each gives is told in ./plane.py."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.controlplane.binaries import MissingBinaries, locked

# The rest takes 0.3 s to import, which runs without a cluster need not pay.
if TYPE_CHECKING:
    from tests.controlplane.cluster import Cluster
    from tests.controlplane.plane import ControlPlane

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The control plane of this test run; tests keep to a namespace of their own."""
    from tests.controlplane.keeper import shared_control_plane

    with or_skip(), shared_control_plane(_of_this_run(tmp_path_factory)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def bare_control_plane() -> Iterator[ControlPlane]:
    """An etcd and an API server for one module alone, to stop, start and break."""
    from tests.controlplane.plane import ControlPlane

    with or_skip(), ControlPlane(controllers=False) as plane:
        yield plane


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """A fresh namespace; its deletion is asked for and not awaited."""
    name = control_plane.create_namespace()
    yield name
    control_plane.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@pytest.fixture(scope="session")
def crds(control_plane: Cluster) -> Cluster:
    """The control plane with every CRD installed."""
    install_crds(control_plane)
    return control_plane


@pytest.fixture(scope="session")
def nodes(control_plane: Cluster) -> Cluster:
    """The control plane with simulated nodes."""
    from tests.controlplane.nodes import simulated_nodes, start_nodes

    with locked(control_plane.folder / "nodes.lock"):
        start_nodes(control_plane, simulated_nodes())
    return control_plane


def install_crds(cluster: Cluster, *names: str) -> list[str]:
    """Install the CRDs of these names or folders, all of them where none is named; skips where they are not here."""
    folder = crds_folder()
    if not folder.is_dir():
        _skip(f"no CRDs to test with: {folder} is no folder (AIFCTL_TEST_CRDS names another)")
    return cluster.install_crds(folder, names or None)


def crds_folder() -> Path:
    """The folder of CRDs: AIFCTL_TEST_CRDS, else `shared/crds` beside this checkout."""
    return Path(os.environ.get("AIFCTL_TEST_CRDS") or ROOT.parent / "shared" / "crds")


def _of_this_run(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run share and no other run does."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "control-plane"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def or_skip() -> Iterator[None]:
    """Skip where no control plane can be had; fail where AIFCTL_REQUIRE_CLUSTER=1 says that there must be one."""
    try:
        yield
    except MissingBinaries as error:
        _skip(f"no control plane to test against: {error}")


def _skip(reason: str) -> None:
    if os.environ.get("AIFCTL_REQUIRE_CLUSTER") == "1":
        pytest.fail(f"{reason} (AIFCTL_REQUIRE_CLUSTER=1 makes this a failure)", pytrace=False)
    pytest.skip(reason)
