"""`aifctl doctor` on a real API server: what is as it should be, what is not, and that no check hides another."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aifctl import cli
from aifctl.cluster.greeting import Greeting
from aifctl.delivery.doctor import subject
from aifctl.delivery.doctor.purpose import Purpose
from aifctl.delivery.examining import as_json
from aifctl.render import kinds
from tests.controlplane.cluster import Cluster
from tests.controlplane.fixtures import install_crds
from tests.controlplane.proxy import Cut, FaultProxy, Forward, Respond, Rule
from tests.delivery import clinic
from tests.delivery.clinic import examined, hints, problems, said

CLASSES = "/storageclasses"
DECLARED = 'capabilities: {argo-workflows: "4.1", prometheus-operator: "0.93"}'


@dataclass(frozen=True)
class Ward:
    cluster: Cluster
    root: Path
    environment: str
    namespace: str

    def rebuilt(self, root: Path, **changes: Any) -> Ward:
        pattern = self.namespace.replace("garden", "{tenant}")
        return Ward(
            self.cluster, clinic.build(root, self.environment, pattern, **changes), self.environment, self.namespace
        )

    def examined(self, kubeconfig: Path | None = None, purpose: Purpose | None = None, **door: Any) -> Any:
        return examined(self.root, self.environment, kubeconfig or self.cluster.kubeconfig, purpose, **door)

    def named(self, kind: str, name: str, **more: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": self.namespace}, **more}


@pytest.fixture
def ward(nodes: Cluster, tmp_path: Path) -> Ward:
    """An environment whose namespace, secrets and operators are there."""
    install_crds(nodes, "argo-workflows", "prometheus-operator")
    unique = uuid.uuid4().hex[:6]
    bare = Ward(nodes, tmp_path, f"lab{unique}", f"garden-{unique}")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    nodes.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": bare.namespace, "labels": labels}})
    for name in ("s3-writer", "hub-token"):
        nodes.create(bare.named("Secret", name, stringData={"token": "not-to-be-seen"}))
    return bare.rebuilt(tmp_path / "repository", more=DECLARED)


def test_an_environment_that_is_as_it_should_be(ward: Ward) -> None:
    found = ward.examined()
    assert problems(found) == []
    assert found.healthy
    assert said(found, "server")[0].startswith("ok: Kubernetes v1.")
    assert said(found, "identity") == ["ok: admin (groups system:masters)"]
    assert said(found, "clock") == ["ok: agrees with the API server's"]
    assert said(found, "declared") == [
        "ok: argo-workflows 4.1: Workflow v1alpha1",
        "ok: prometheus-operator 0.93: ServiceMonitor v1 (0.93.0)",
    ]
    assert said(found, "kinds")[0].startswith("ok: the server knows all ")
    assert said(found, "catalogue")[-1] == "ok: nvidia-h100: 16 × nvidia.com/gpu on 2 nodes"
    assert said(found, "tenants") == [f"ok: {ward.namespace} enforces the Pod Security level restricted"]
    assert said(found, "secrets") == [
        f"ok: secret hub-token is in {ward.namespace}; model iris names it",
        f"ok: secret s3-writer is in {ward.namespace}; `store.credentials` names it",
    ]
    assert "google.com/tpu" in said(found, "not in the catalogue")[0]


def test_it_only_reads_and_no_secret_value_comes_over(ward: Ward) -> None:
    with FaultProxy(ward.cluster) as proxy:
        found = ward.examined(proxy.kubeconfig)
        assert problems(found) == []
        writes = proxy.writes()
        assert writes
        assert [each for each in writes if not each.endswith(("selfsubjectreviews", "selfsubjectaccessreviews"))] == []
    assert "not-to-be-seen" not in json.dumps(as_json(found))


def test_a_tenants_account_can_apply_and_is_told_what_it_may_not_see(ward: Ward) -> None:
    ward.cluster.account(ward.namespace, "deployer", *kinds.deployer())
    user = f"system:serviceaccount:{ward.namespace}:deployer"
    found = ward.examined(ward.cluster.kubeconfig_as(user, "system:authenticated"))
    lacking = [line for line in said(found, "rights") if line.startswith("problem AIF795")]
    assert f"apply lacks in aif-system: {', '.join(kinds.WRITE)} configmaps" in "\n".join(lacking)
    assert f"apply lacks in {ward.namespace}: {', '.join(kinds.WRITE)} limitranges, resourcequotas" in "\n".join(
        lacking
    )
    assert "--for plan" in hints(found, "rights")
    unseen = "warning AIF790: can't be told: nodes is forbidden"
    assert said(found, "ready")[0].startswith(unseen)
    assert said(found, "catalogue")[-1].startswith(unseen)
    assert said(found, "storage")[0].startswith("warning AIF790: can't be told: storageclasses.storage.k8s.io")
    assert said(found, "secrets")[0].startswith("ok: secret hub-token"), "what it may see is looked at"


def test_reconciling_takes_what_its_manifests_grant(ward: Ward) -> None:
    found = ward.examined(purpose=Purpose.RECONCILE)
    assert [line.partition(" (")[0] for line in said(found, "rights")] == [
        "ok: reconcile may all it needs in the cluster as a whole",
        "ok: reconcile may all it needs in aif-system",
    ]
    account = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "watch"]}
    ward.cluster.account(ward.namespace, "reconciler", cluster_rules=[account])
    user = f"system:serviceaccount:{ward.namespace}:reconciler"
    lacking = said(ward.examined(ward.cluster.kubeconfig_as(user, "system:authenticated"), Purpose.RECONCILE), "rights")
    assert "impersonate serviceaccounts `aifctl-deployer`" in lacking[0]
    assert "leases.coordination.k8s.io" in lacking[1]


def test_what_is_missing_is_said_with_what_to_do(ward: Ward, tmp_path: Path) -> None:
    sick = ward.rebuilt(
        tmp_path / "sick",
        more='capabilities: {argo-workflows: "3.7", prometheus-operator: "0.70", metrics-server: "0.8"}\n'
        "      pod_security: baseline\n"
        "      pod_defaults:\n"
        "        image_pull_secrets: [pull]\n"
        "        volumes: [{name: shared, persistentVolumeClaim: {claimName: shared}}]",
        hardware=[
            "{name: nvidia-h100, resource: nvidia.com/gpu, per_node: [1, 16], memory: 80Gi}",
            "{name: nvidia-l4, resource: nvidia.com/gpu, per_node: [1], node_selector: {aif.dev/accelerator: l4}}",
        ],
    )
    ward.cluster.delete(ward.named("Secret", "s3-writer"))
    found = sick.examined()
    assert not found.healthy
    taint, level = "the taint nvidia.com/gpu:NoSchedule", "the Pod Security level"
    assert problems(found) == [
        f"problem AIF799: claim shared is not in {ward.namespace}",
        "problem AIF796: metrics-server is declared, and the server does not know its PodMetrics (metrics.k8s.io)",
        f"problem AIF797: nvidia-h100: 2 of 2 nodes have {taint}, which it does not tolerate",
        "problem AIF797: nvidia-h100: `per_node` offers 16; the largest of its nodes has 8 × nvidia.com/gpu",
        (
            f"problem AIF798: {ward.namespace} enforces {level} restricted, the platform file says baseline: "
            "pods that are allowed here are refused there"
        ),
        f"problem AIF799: secret pull is not in {ward.namespace}; `pod_defaults.image_pull_secrets` names it",
        f"problem AIF799: secret s3-writer is not in {ward.namespace}; `store.credentials` names it",
    ]
    assert "warning AIF796: prometheus-operator 0.70: 0.93.0 is installed" in said(found, "declared")
    assert said(found, "catalogue")[-1] == (
        "ok: nvidia-l4: no node has nvidia.com/gpu with the labels aif.dev/accelerator=l4, "
        "and no model here asks for it"
    )
    assert "{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}" in hints(found, "catalogue")


def test_a_flavour_that_a_model_wants_and_no_node_has(ward: Ward, tmp_path: Path) -> None:
    other = "{name: nvidia-h100, resource: nvidia.com/gpu, per_node: [1], node_selector: {aif.dev/accelerator: h100}}"
    found = ward.rebuilt(tmp_path / "labels", more=DECLARED, hardware=[other]).examined()
    wanted = "nvidia.com/gpu with the labels aif.dev/accelerator=h100"
    assert problems(found) == [f"problem AIF797: nvidia-h100: no node has {wanted}, which iris wants"]
    assert "nodes have aif.dev/accelerator=nvidia-h100" in hints(found, "catalogue")
    other = "{name: nvidia-h100, resource: nvidia.com/mig-1g.10gb, per_node: [1]}"
    found = ward.rebuilt(tmp_path / "resource", more=DECLARED, hardware=[other]).examined()
    assert "warning AIF797: nvidia-h100: no node has nvidia.com/mig-1g.10gb, which iris wants" in said(
        found, "catalogue"
    )
    assert "warning AIF797: 16 × nvidia.com/gpu are there, and no flavour of the catalogue names them" in said(
        found, "not in the catalogue"
    )


def test_no_check_hides_another(ward: Ward) -> None:
    """A server error, an answer that is none, and one that does not come."""
    with FaultProxy(ward.cluster) as proxy:
        proxy.add(Rule("list", Respond(500), path=CLASSES))
        proxy.add(Rule("list", Respond(200, body={"kind": "NodeList", "items": [{"metadata": {}}]}), path="/nodes"))
        proxy.add(Rule("get", Cut(), path="/secrets/hub-token"))
        found = ward.examined(proxy.kubeconfig, patience=0.2)
    assert said(found, "storage") == ["warning AIF790: can't be told: the test says so"]
    assert said(found, "ready")[0].startswith("warning AIF790: can't be told: an answer can't be read: KeyError")
    assert said(found, "secrets")[0].startswith("problem AIF703: ")
    assert said(found, "declared")[0].startswith("ok: argo-workflows")
    assert said(found, "tenants")[0].startswith("ok: ")


def test_a_check_that_hangs_ends(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    from aifctl.delivery.doctor import cluster

    monkeypatch.setattr(cluster, "PATIENCE", 2.0)
    with FaultProxy(ward.cluster) as proxy:
        proxy.add(Rule("list", Forward(delay=8), path=CLASSES))
        found = ward.examined(proxy.kubeconfig)
    assert said(found, "storage") == ["warning AIF790: can't be told: no answer in 2 s"]
    assert said(found, "tenants")[0].startswith("ok: ")


def test_where_nobody_answers_nothing_more_is_asked(ward: Ward) -> None:
    nowhere = ward.cluster.write_kubeconfig("nowhere", {"token": "x"}, server="https://127.0.0.1:9")
    found = ward.examined(nowhere, patience=0.1)
    assert [line.partition(":")[0] for line in said(found, "server")] == ["problem AIF703"]
    assert {finding.check for finding in found.findings if finding.section not in ("machine", "repository")} <= {
        "server",
        "identity",
    }
    assert not found.healthy


def test_refused_credentials(ward: Ward) -> None:
    found = ward.examined(ward.cluster.write_kubeconfig("expired", {"token": "no-such-token"}))
    assert said(found, "identity")[0].startswith("problem AIF704: ")
    assert not found.healthy


def test_no_way_to_the_cluster_is_a_finding(ward: Ward, tmp_path: Path) -> None:
    found = ward.examined(tmp_path / "gone.yaml")
    assert problems(found) == [f"problem AIF700: no such kubeconfig: {tmp_path / 'gone.yaml'}"]


@pytest.mark.parametrize(
    ("greeting", "check", "expected"),
    [
        (Greeting("v1.27.3", 0.1, 0.1), "server", "problem AIF794: Kubernetes v1.27.3 at "),
        (Greeting("v1.99.0-rc.1", 0.1, 0.1), "server", "warning AIF794: Kubernetes v1.99.0-rc.1 at "),
        (Greeting("v1.31+", 0.1, 0.1), "server", "ok: Kubernetes v1.31+ at "),
        (Greeting("master", 0.1, 0.1), "server", "warning AIF790: can't be told: Kubernetes master at "),
        (Greeting("v1.36.0", -95.0, 0.1), "clock", "problem AIF793: this clock is 95 s behind the API server's"),
        (Greeting("v1.36.0", 8.0, 0.1), "clock", "warning AIF793: this clock is 8 s ahead of the API server's"),
        (
            Greeting("v1.36.0", None, 0.1),
            "clock",
            "warning AIF790: can't be told: the API server does not say its time",
        ),
    ],
    ids=str,
)
def test_versions_and_clocks(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, greeting: Greeting, check: str, expected: str
) -> None:
    async def greet(_: object) -> Greeting:
        return greeting

    monkeypatch.setattr(subject, "greet", greet)
    assert said(ward.examined(), check)[0].startswith(expected)


def test_records_that_are_held_suspended_damaged_or_anothers(ward: Ward) -> None:
    def put(name: str, unit: list[str], **changes: Any) -> None:
        head = {
            "format": 1, "unit": unit, "platform": "acme", "held": "", "suspended": "", "revisions": [], "shards": [],
        }  # fmt: skip
        labels = {"aif.dev/inventory": "head", "aif.dev/inventory-environment": ward.environment}
        metadata = {"name": name, "namespace": "aif-system", "labels": labels}
        data = {"unit.json": json.dumps({**head, **changes}), "objects.json": "[]"}
        ward.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    ward.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "aif-system"}})
    env = ward.environment
    put(f"aif.{env}.garden.iris", [env, "garden", "iris"], held="abcdef0123456789")
    put(f"aif.{env}.garden.rose", [env, "garden", "rose"], suspended="by ann: moving it")
    put(f"aif.{env}.garden.lily", [env, "garden", "lily"], platform="rival")
    put(f"aif.{env}.garden.fern", [env, "garden", "fern"], format=99)
    lines = said(ward.examined(), "records")
    assert f"warning AIF760: {env}/garden/iris: the tree abcdef0123 failed and is held" in lines
    assert f"ok: {env}/garden/rose is suspended: by ann: moving it" in lines
    assert f"problem AIF729: {env}/garden/lily was applied by platform `rival`" in lines
    assert any(line.startswith(f"problem AIF742: inventory aif-system/aif.{env}.garden.fern") for line in lines)
    assert lines[-1] == "ok: 3 inventories of this environment in aif-system"


def test_the_command(ward: Ward, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ward.root)
    words = ["doctor", "--env", ward.environment, "--kubeconfig", str(ward.cluster.kubeconfig)]
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    assert "Namespaces\n" in text
    assert "  ok       tenants " in text
    assert "problem" not in text.splitlines()[-1]
    ward.cluster.delete(ward.named("Secret", "hub-token"))
    assert cli.main([*words, "--output", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["environment"], found["healthy"]) == (1, ward.environment, False)
    assert found["summary"]["problem"] == 1
    (problem,) = [each for each in found["findings"] if each["level"] == "problem"]
    assert (problem["section"], problem["check"], problem["code"]) == ("namespaces", "secrets", "AIF799")
    assert problem["hint"].startswith("create it: `kubectl")
