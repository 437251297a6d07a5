"""Whatever ends, breaks or is away in the middle: no object is lost, nothing foreign deleted, and it goes on."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.controlplane.cluster import Cluster
from tests.controlplane.plane import ControlPlane
from tests.controlplane.proxy import EXPIRED_EVENT, Call, FaultProxy, Respond, Rule, Truncate
from tests.delivery import garden as gardens
from tests.delivery.garden import GOOD, Garden
from tests.reconcile.conftest import Start
from tests.reconcile.process import Reconciler

OTHER = GOOD.replace("serve@", "serve-two@")
WRITTEN = "^((?!dryRun).)*$"


def entries(garden: Garden, model: str) -> set[tuple[str, str]]:
    """(kind, name) of what the inventory has, each with a uid."""
    rows = json.loads(garden.inventory(model)["data"]["objects.json"])
    assert all(row[5] for row in rows), rows
    return {(row[1], row[3]) for row in rows}


POINTS = {
    "before the inventory": ("create|update", r"/configmaps(/aif\..*rose)?$", 1, False),
    "after the inventory": ("create|update", r"/configmaps(/aif\..*rose)?$", 1, True),
    "before the object": ("apply", "/deployments/rose$", 1, False),
    "after the object": ("apply", "/deployments/rose$", 1, True),
    "after a deletion": ("delete", "/serviceaccounts|/services|/deployments|/networkpolicies", 1, True),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_next_start_finishes(garden: Garden, start: Start, point: str) -> None:
    on, path, nth, after = POINTS[point]
    garden.plant("iris").commit()
    with start() as process:
        process.wait("synced")
    stranger = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": garden.namespace}}
    garden.cluster.create({**stranger, "data": {"a": "1"}})
    with FaultProxy(garden.cluster) as proxy, start(kubeconfig=proxy.kubeconfig) as process:
        process.wait("synced")
        kill = Call(lambda seen: process.process.send_signal(signal.SIGKILL), after=after)
        proxy.add(Rule(on, kill, path=path, query=WRITTEN, nth=nth, times=1))
        garden.edit("models/rose/model.yaml", "batching: {max: 32}", "batching: {max: 16}")
        garden.release("rose", OTHER)
        shutil.rmtree(garden.root / "models/iris")
        garden.commit()
        assert process.ended(60) == -signal.SIGKILL
    with start() as again:
        again.wait("synced", 90)
        again.until(lambda: garden.image("rose") == OTHER)
        again.until(lambda: garden.inventory("iris") is None)
        assert garden.deployment("iris") is None
        assert entries(garden, "rose") == {
            ("Deployment", "rose"), ("NetworkPolicy", "rose"), ("Service", "rose"), ("ServiceAccount", "rose")
        }  # fmt: skip
        assert garden.cluster.get(stranger)
        assert again.terminate() == 0
    with start("--once", "--detect-only") as process:
        assert process.ended() == 0


def test_a_token_that_expires_is_read_anew(garden: Garden, start: Start, tmp_path: Path) -> None:
    with FaultProxy(garden.cluster) as proxy:
        rights = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
        space = garden.cluster.create_namespace("robots")
        token = tmp_path / "token"
        token.write_text(garden.cluster.account(space, "reconciler", cluster_rules=[rights]))
        kubeconfig = proxy.kubeconfig_with({"tokenFile": str(token)})
        with start(kubeconfig=kubeconfig) as process:
            process.wait("synced")
            fresh = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": 7200},
            }
            path = f"/api/v1/namespaces/{space}/serviceaccounts/reconciler/token"
            token.write_text(garden.cluster.request("POST", path, fresh)["status"]["token"])
            proxy.add(Rule("*", Respond(401), times=3))
            garden.release("rose", OTHER).commit()
            process.until(lambda: garden.image("rose") == OTHER)
            garden.cluster.delete(garden.reference("Service", "rose", "v1"))
            process.until(lambda: garden.live("Service", "rose", "v1"))


def test_watches_that_are_cut_and_forgotten_miss_nothing(garden: Garden, start: Start) -> None:
    with FaultProxy(garden.cluster) as proxy:
        proxy.add(Rule("watch", Truncate(0, EXPIRED_EVENT), path="/services$", times=3))
        with start(kubeconfig=proxy.kubeconfig) as process:
            process.wait("synced")
            garden.cluster.delete(garden.reference("Service", "rose", "v1"))
            process.until(lambda: garden.live("Service", "rose", "v1"))


def test_a_webhook_that_denies_holds_up_no_other(garden: Garden, start: Start) -> None:
    with FaultProxy(garden.cluster) as proxy, start(kubeconfig=proxy.kubeconfig) as process:
        process.wait("synced")
        denied = Respond(403, 'admission webhook "no.example" denied the request: not today')
        proxy.add(Rule("apply", denied, path="/deployments/rose$"))
        garden.release("rose", OTHER)
        garden.release("tulip", OTHER).commit()
        process.until(lambda: garden.image("tulip") == OTHER)
        found = process.wait("finding", code="AIF722", unit="rose")
        assert "not today" in found["message"]
        tries = len(process.said("failed", unit="rose"))
        assert tries < 5
        proxy.clear()
        garden.edit("models/rose/model.yaml", "batching: {max: 32}", "batching: {max: 16}").commit()
        process.until(lambda: garden.image("rose") == OTHER, 20)  # a new commit starts afresh


def test_a_repository_without_specs_changes_nothing(garden: Garden, start: Start) -> None:
    with start() as process:
        process.wait("synced")
        for path in ("models", "platform.yaml"):
            garden.git("rm", "-r", "--quiet", path)
        garden.commit()
        process.until(lambda: [line for line in process.lines if line["event"] == "finding" and "commit" in line])
        assert garden.deployment("rose")
        garden.cluster.delete(garden.reference("Service", "rose", "v1"))
        process.until(lambda: garden.live("Service", "rose", "v1"))


@pytest.fixture
def alone(bare_control_plane: ControlPlane, tmp_path: Path) -> Garden:
    """On a control plane of its own."""
    cluster: Cluster = bare_control_plane
    return gardens.new(tmp_path / "alone", cluster, "rose", "tulip")


def test_the_api_server_is_restarted(alone: Garden, bare_control_plane: ControlPlane, tmp_path: Path) -> None:
    options = ("--as-myself",)
    with Reconciler(alone.root, alone.environment, bare_control_plane.kubeconfig, tmp_path / "s", *options) as process:
        process.wait("synced")
        for how in (signal.SIGKILL, signal.SIGTERM):
            bare_control_plane.stop_apiserver(how=how)
            commit = alone.release("rose", OTHER if how is signal.SIGKILL else GOOD).commit()
            process.wait("commit", commit=commit[:10])
            bare_control_plane.start_apiserver()
            bare_control_plane.delete(alone.reference("Service", "tulip", "v1"))
            process.until(lambda: alone.live("Service", "tulip", "v1"), 90)
            process.until(lambda: alone.image("rose") == (OTHER if how is signal.SIGKILL else GOOD), 90)  # noqa: B023
        assert process.terminate() == 0


def test_it_starts_before_the_cluster_and_before_the_repository(
    alone: Garden, bare_control_plane: ControlPlane, tmp_path: Path
) -> None:
    aside = alone.root.rename(tmp_path / "aside")
    bare_control_plane.stop_apiserver()
    with Reconciler(
        alone.root, alone.environment, bare_control_plane.kubeconfig, tmp_path / "s", "--as-myself"
    ) as process:
        process.wait("finding", code="AIF770")
        assert process.get("/healthz")[0] == 200
        assert process.get("/readyz")[0] == 503
        aside.rename(alone.root)
        process.wait("commit", 90)
        bare_control_plane.start_apiserver()
        process.wait("synced", 90)
        assert alone.image("rose") == GOOD


def test_the_programs_of_a_repository_are_not_run(garden: Garden, start: Start, tmp_path: Path) -> None:
    """No hook, no filter, no module of the repository's runs."""
    trace = tmp_path / "ran"
    (garden.root / "aifctl.py").write_text(f"open({str(trace)!r}, 'w')")
    (garden.root / "json.py").write_text(f"open({str(trace)!r}, 'w')")
    (garden.root / "sitecustomize.py").write_text(f"open({str(trace)!r}, 'w')")
    (garden.root / ".gitattributes").write_text("* filter=evil\n")
    garden.commit()
    hook = garden.root / ".git/hooks/reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch {trace}\n")
    hook.chmod(0o755)
    with start("--once") as process:
        assert process.ended() == 0
    assert not trace.exists()
    assert garden.image("rose") == GOOD
    kept = [path.name for path in (tmp_path / "state").iterdir()]
    assert all(re.fullmatch(r"git-[0-9a-f]{12}", name) for name in kept), kept
    mirror = tmp_path / "state" / kept[0]
    listed = subprocess.run(["git", "--git-dir", mirror, "for-each-ref"], capture_output=True, text=True, check=True)
    assert listed.stdout.strip().endswith("refs/aifctl/head")
