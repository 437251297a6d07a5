"""With the rights that `aifctl init --reconciler` and the environment's ground give, and no others."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml12

from tests.controlplane.proxy import WRITES, FaultProxy
from tests.delivery.garden import GOOD, Garden
from tests.reconcile.process import Reconciler

OTHER = GOOD.replace("serve@", "serve-two@")
ADMIN = "system:serviceaccount:aif-system:aifctl-admin"


def deployer(garden: Garden) -> str:
    return f"system:serviceaccount:{garden.namespace}:aifctl-deployer"


def install(garden: Garden, *options: str) -> str:
    """Applies what `aifctl init --reconciler` writes, as an administrator would; the token of its account."""
    out = garden.root.parent / "installed"
    words = ("init", "--reconciler", "--repo", str(garden.root), "--image", "registry.example/aifctl:1",
             "--env", garden.environment, "--out", str(out), *options)  # fmt: skip
    subprocess.run([sys.executable, "-m", "aifctl", *words], cwd=garden.root, check=True, capture_output=True)
    for path in sorted(out.rglob("*.yaml")):
        manifest = yaml12.parse_yaml(path.read_text())
        if manifest["kind"] != "Deployment":
            garden.cluster.apply(manifest, manager="kubectl", force=True)
    path = f"/api/v1/namespaces/aif-system/serviceaccounts/aifctl-reconciler-{garden.environment}/token"
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    return str(garden.cluster.request("POST", path, wanted)["status"]["token"])


@pytest.fixture
def proxy(garden: Garden) -> Iterator[FaultProxy]:
    with FaultProxy(garden.cluster) as found:
        yield found


def reconciler(garden: Garden, proxy: FaultProxy, token: str, state: Path, *options: str) -> Reconciler:
    return Reconciler(garden.root, garden.environment, proxy.kubeconfig_with({"token": token}), state, *options)


def test_every_verb_that_it_uses_is_granted(garden: Garden, proxy: FaultProxy, tmp_path: Path) -> None:
    token = install(garden, "--admin")
    garden.plant("iris").commit()
    with reconciler(garden, proxy, token, tmp_path / "state", "--admin") as process:
        process.wait("synced")
        assert process.metric('units{state="synced"}') == 4
        garden.release("rose", OTHER)
        subprocess.run(["rm", "-r", garden.root / "models/iris"], check=True)
        garden.commit()
        process.until(lambda: garden.image("rose") == OTHER)
        process.until(lambda: garden.inventory("iris") is None)
        garden.cluster.delete(garden.reference("Service", "rose", "v1"))
        process.until(lambda: garden.live("Service", "rose", "v1"))
        process.until(lambda: process.said("repaired", unit="rose"))
        assert process.terminate() == 0
        assert process.said("finding") == []
    assert not [line for line in process.lines if line["level"] != "info"]
    wrote = [each for each in proxy.requests if each.verb in WRITES]
    users = {each.user for each in wrote if f"/namespaces/{garden.namespace}/" in each.path and "/rose" in each.path}
    assert users == {deployer(garden)}
    assert {each.user for each in wrote if each.path.startswith("/api/v1/namespaces/aif-system/")} == {""}
    assert {each.user for each in wrote if each.path == f"/api/v1/namespaces/{garden.namespace}"} == {ADMIN}
    events = garden.cluster.list("v1", "Event", "aif-system")
    assert {"Applied", "DriftRepaired"} <= {
        each["reason"] for each in events if each["involvedObject"]["name"] == f"aif.{garden.environment}.garden.rose"
    }


def test_without_the_admin_account_the_ground_is_only_compared(
    garden: Garden, proxy: FaultProxy, tmp_path: Path
) -> None:
    token = install(garden)
    with reconciler(garden, proxy, token, tmp_path / "state") as process:
        process.wait("synced")
        found = process.wait("finding", code="AIF776")
        assert "5 objects differ" in found["message"]
        assert process.said("failed", unit="rose")
        words = (
            "apply",
            "--env",
            garden.environment,
            "--kubeconfig",
            str(garden.cluster.kubeconfig),
            "--context",
            "test",
        )
        subprocess.run([sys.executable, "-m", "aifctl", *words], cwd=garden.root, check=True, capture_output=True)
        process.until(lambda: process.metric('units{state="synced"}') == 3, 90)
        quota = garden.reference("Role", "aifctl-deployer", "rbac.authorization.k8s.io/v1")
        garden.cluster.delete(quota)
        process.until(lambda: process.metric('units{state="drifted"}') == 1)
        time.sleep(1)
        assert garden.cluster.get(quota) is None
    assert not [each for each in proxy.requests if each.user == ADMIN]


def test_a_forged_inventory_reaches_nothing_outside_of_its_namespace(
    garden: Garden, proxy: FaultProxy, tmp_path: Path
) -> None:
    token = install(garden, "--admin")
    space = garden.cluster.create_namespace("victim")
    victim = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "precious", "namespace": space}}
    live = garden.cluster.apply({**victim, "data": {"a": "1"}}, manager="aifctl")
    row = ["", "ConfigMap", space, "precious", "v1", live["metadata"]["uid"], "", "", ""]
    with reconciler(garden, proxy, token, tmp_path / "state", "--admin") as process:
        process.wait("synced")
        real = garden.inventory("rose")
        for where, model in ((garden.namespace, "rose"), ("aif-system", "ghost")):
            data = {
                "unit.json": real["data"]["unit.json"].replace('"rose"', f'"{model}"'),
                "objects.json": json.dumps([row]),
            }
            name = f"aif.{garden.environment}.garden.{model}"
            metadata = {"name": name, "namespace": where, "labels": real["metadata"]["labels"]}
            garden.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        process.wait("failed", unit="ghost")
        garden.release("rose", OTHER).commit()
        process.until(lambda: garden.image("rose") == OTHER)
        assert garden.cluster.get(victim)["data"] == {"a": "1"}  # type: ignore[index]
        assert garden.deployment("tulip")
    there = [each for each in proxy.requests if f"/namespaces/{space}/" in each.path]
    assert {each.user for each in there} == {deployer(garden)}


def test_a_spec_that_names_another_tenant_reaches_nothing(garden: Garden, proxy: FaultProxy, tmp_path: Path) -> None:
    """Who may commit such a spec is for the repository to say; what is not a tenant of the platform has no account."""
    token = install(garden, "--admin")
    space = f"intruder-{garden.environment}"
    garden.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    with reconciler(garden, proxy, token, tmp_path / "state", "--admin") as process:
        process.wait("synced")
        garden.edit("models/tulip/model.yaml", "tenant: garden", "tenant: intruder")
        garden.release("rose", OTHER).commit()
        process.until(lambda: garden.image("rose") == OTHER)
        process.until(lambda: process.said("failed", unit="tulip") or process.said("frozen", unit="tulip"))
        assert garden.cluster.list("apps/v1", "Deployment", space) == []
        assert garden.cluster.list("v1", "Service", space) == []
    garden.cluster.delete(garden.reference("Namespace", space, "v1"))
