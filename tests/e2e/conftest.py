"""One cluster, one repository and one trained release for all cases; the time of each is printed in the end."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from tests.e2e import cluster as clusters
from tests.e2e.cluster import Cluster, pod_spec, until
from tests.e2e.shop import CLIENT, ENVIRONMENT, TENANT, TOOLS, Said, Shop, platform

DIGITS = "digits"
_TIMES: dict[str, float] = defaultdict(float)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    found = clusters.find()
    if isinstance(found, str):
        if os.environ.get("AIFCTL_REQUIRE_E2E"):
            pytest.fail(f"AIFCTL_REQUIRE_E2E is set, and there is {found}")
        pytest.skip(found)
    # Pods of another user than this one write there.
    store = found.store / uuid.uuid4().hex[:8]
    for path in (store, store / "artifacts", store / "mlflow"):
        path.mkdir(parents=True)
        path.chmod(0o777)
    yield replace(found, store=store)
    if not os.environ.get("AIFCTL_E2E_KEEP"):
        shutil.rmtree(store, ignore_errors=True)


@pytest.fixture(scope="session")
def tools(cluster: Cluster) -> Iterator[str]:
    """MLflow on SQLite, and a pod to ask servers from; the URL of MLflow."""
    labels = {"app": "mlflow"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TOOLS}})
    command = ["python", "-m", "mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{cluster.store}/mlflow/mlflow.db", "--allowed-hosts", "*"]
    command += ["--serve-artifacts", "--artifacts-destination", f"{cluster.store}/mlflow/artifacts"]
    ready = {"httpGet": {"path": "/health", "port": 5000}, "periodSeconds": 1}
    serving = pod_spec(cluster, cluster.images["pytorch"], command, readinessProbe=ready)
    asking = pod_spec(cluster, cluster.images["serve"], ["sleep", "infinity"])
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "mlflow", "namespace": TOOLS},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": serving},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "mlflow", "namespace": TOOLS},
            "spec": {"selector": labels, "ports": [{"port": 5000}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": CLIENT[1], "namespace": TOOLS},
            "spec": asking,
        },
    )
    for what in ("deployment/mlflow", f"pod/{CLIENT[1]}"):
        condition = "available" if what.startswith("deployment") else "ready"
        cluster.kubectl("--namespace", TOOLS, "wait", f"--for=condition={condition}", what, "--timeout=110s")
    yield f"http://{cluster.get(TOOLS, 'service', 'mlflow')['spec']['clusterIP']}:5000"
    if not os.environ.get("AIFCTL_E2E_KEEP"):
        cluster.kubectl("delete", "namespace", TOOLS, TENANT, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="session")
def shop(cluster: Cluster, tools: str, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A repository without models."""
    root = tmp_path_factory.mktemp("shop")
    (root / "platform.yaml").write_text(yaml.safe_dump(platform(cluster, tools), sort_keys=False))
    (root / ".gitignore").write_text(".aif/\n__pycache__/\n")
    shop = Shop(root, cluster)
    shop.git("init", "--quiet", "--initial-branch=main")
    shop.commit("Begin")
    return shop


@dataclass(frozen=True, slots=True)
class Released:
    """What was said on the way from a spec to a served model."""

    shop: Shop
    started: Said
    ended: Said
    promoted: Said
    applied: Said


def release(shop: Shop, name: str) -> Released:
    """From a commit to a server, by the commands that a user types."""
    shop.aifctl("push", name, "--env", ENVIRONMENT)
    started = shop.aifctl("apply", "--env", ENVIRONMENT)
    ended = shop.aifctl("wait", "run", name, "--env", ENVIRONMENT, "--timeout", "8m")
    promoted = shop.aifctl("promote", name, "--env", ENVIRONMENT)
    shop.commit(f"Release {name}")
    applied = shop.aifctl("apply", "--env", ENVIRONMENT, "--wait", "--timeout", "4m")
    return Released(shop, started, ended, promoted, applied)


@pytest.fixture(scope="session")
def digits(shop: Shop) -> Released:
    """digits-pytorch, trained and served."""

    def change(spec: dict[str, Any]) -> None:
        spec["serving"].pop("autoscaling")
        spec["serving"]["replicas"] = 2

    shop.add(DIGITS, "digits-pytorch", change)
    shop.commit("Add digits")
    return release(shop, DIGITS)


def pods_settled(shop: Shop, name: str, count: int) -> None:
    """Waits until just so many pods of a server are there."""
    selector = ",".join(f"{k}={v}" for k, v in shop.cluster.get(TENANT, "service", name)["spec"]["selector"].items())
    until(lambda: len(shop.cluster.items(TENANT, "pods", selector)) == count, f"{count} pods of {name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By the number of the case: later ones use what earlier ones have made."""
    cases = {item: re.search(r"test_case_(\d+)", item.name) for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: int(found[1]) if (found := cases.get(item)) else 0)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "tests/e2e/" in report.nodeid:
        _TIMES[report.nodeid.partition("::")[2]] += report.duration


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _TIMES:
        terminalreporter.section("time of each case")
        for name, seconds in _TIMES.items():
            terminalreporter.write_line(f"{seconds:7.1f} s  {name}")
        terminalreporter.write_line(f"{sum(_TIMES.values()):7.1f} s  in all")
