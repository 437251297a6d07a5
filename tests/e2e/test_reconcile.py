"""Case 6: the reconciler in the cluster, as `aifctl init --reconciler` writes it, with no rights but its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, until
from tests.e2e.conftest import DIGITS, Released, pods_settled
from tests.e2e.shop import ENVIRONMENT, TENANT, Shop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SYSTEM = "aif-system"
NAME = f"aifctl-reconciler-{ENVIRONMENT}"
WRONG = 9999


@pytest.fixture(scope="module")
def served_git(digits: Released) -> Iterator[str]:
    """The shop's repository, by Git's own server; its URL as pods see it."""
    root, port = digits.shop.root, _free_port()
    daemon = subprocess.Popen(
        ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={root.parent}", f"--port={port}", str(root)],
        start_new_session=True,
    )
    try:
        yield f"git://{_own_address(digits.shop.cluster)}:{port}/{root.name}"
    finally:
        daemon.kill()
        daemon.wait()


@pytest.fixture(scope="module")
def reconciler(digits: Released, served_git: str) -> Iterator[Shop]:
    """Installed as an administrator does it; where Python and Git are mounted, `pod_defaults` say so."""
    shop, cluster = digits.shop, digits.shop.cluster
    shop.aifctl(
        "init", "--reconciler", "--repo", served_git, "--image", cluster.images["reconciler"], "--env", ENVIRONMENT
    )
    folder = shop.root / "reconciler" / ENVIRONMENT
    written = sorted(path.name for path in folder.glob("*.yaml"))
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(folder))
    try:
        cluster.kubectl("--namespace", SYSTEM, "rollout", "status", f"deployment/{NAME}", "--timeout=110s")
        until(lambda: "leads" in _log(cluster) or "synced" in _log(cluster), "one of them leads")
        yield shop
    finally:
        print(_log(cluster))
        # But for the first of them: in that namespace is the record of what was applied.
        for name in written[1:]:
            cluster.kubectl("delete", "--filename", str(folder / name), "--ignore-not-found", check=False)
        shutil.rmtree(folder)


def test_case_6_the_cluster_is_what_git_says(reconciler: Shop) -> None:
    shop, cluster = reconciler, reconciler.cluster
    account = f"system:serviceaccount:{SYSTEM}:{NAME}"
    for denied in (
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "secrets"),
        ("create", "deployments"),
        ("delete", "services"),
        ("create", "pods/exec"),
    ):
        said = cluster.kubectl("auth", "can-i", *denied, "--as", account, "--namespace", TENANT, check=False)
        assert "yes" not in said.split(), f"{denied}: {said}"
        assert "no" in said.split(), f"{denied}: {said}"

    shop.model(DIGITS, lambda spec: spec["serving"].update(replicas=1))
    commit = shop.commit("Serve with one")
    until(lambda: _replicas(cluster) == 1, "the commit is in the cluster", patience=150)
    pods_settled(shop, DIGITS, 1)
    until(lambda: commit[:10] in shop.aifctl("history", DIGITS, "--env", ENVIRONMENT).text, "it is on record")

    # The best of three: what is measured is the reconciler, not what else the machine does.
    seconds = [_repaired(cluster) for _ in range(3)]
    print("drift was repaired within", ", ".join(f"{each:.2f} s" for each in seconds))
    assert min(seconds) < 2.0

    shop.aifctl("suspend", DIGITS, "--env", ENVIRONMENT, "--reason", "a look by hand")
    _break(cluster)
    time.sleep(5)
    assert _target(cluster) == WRONG, "what is suspended is left alone"
    assert "suspended" in shop.aifctl("status", DIGITS, "--env", ENVIRONMENT, code=None).text
    shop.aifctl("resume", DIGITS, "--env", ENVIRONMENT)
    until(lambda: _target(cluster) != WRONG, "what is resumed is repaired", every=0.1)


def _repaired(cluster: Cluster) -> float:
    """Seconds from an edit by hand until it is gone."""
    _break(cluster)
    began = time.monotonic()
    until(lambda: _target(cluster) != WRONG, "the edit is repaired", patience=30, every=0.05)
    return time.monotonic() - began


def _break(cluster: Cluster) -> None:
    patch = [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": WRONG}]
    cluster.kubectl("--namespace", TENANT, "patch", "service", DIGITS, "--type=json", "--patch", json.dumps(patch))


def _target(cluster: Cluster) -> object:
    return cluster.get(TENANT, "service", DIGITS)["spec"]["ports"][0]["targetPort"]


def _replicas(cluster: Cluster) -> int:
    return int(cluster.get(TENANT, "deployment", DIGITS)["spec"]["replicas"])


def _log(cluster: Cluster) -> str:
    selector = f"--selector=app.kubernetes.io/name={NAME}"
    return cluster.kubectl("--namespace", SYSTEM, "logs", selector, "--prefix", "--tail=200", check=False)


def _own_address(cluster: Cluster) -> str:
    """This machine's address, as the nodes see it."""
    (node, *_) = cluster.get("default", "nodes")["items"]
    address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
