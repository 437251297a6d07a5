"""What is rendered against a real API server: every right that is used is granted, and none reaches further.

A tenant's objects are applied by the reconciler's own account as it would do it, by impersonation.
"""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import yaml12

from aifctl.manifest import Manifest, in_order
from aifctl.render import kinds
from aifctl.render.backends.reconciler import Reconciler
from aifctl.render.bundles import render_reconciler
from tests.controlplane.cluster import SERVER_SIDE_APPLY, Cluster, Object, Refused, path_of
from tests.controlplane.fixtures import install_crds
from tests.golden.repository import HERE

OWN = uuid.uuid4().hex[:6]
"""Others use the same control plane."""
VISION, TABULAR, SYSTEM, ADMIN = (f"{name}-{OWN}" for name in ("vision", "tabular", "aif-system", "aifctl-admin"))
RENAMED = {
    "aif-system": SYSTEM, "aifctl-admin": ADMIN, "vision": VISION, "tabular": TABULAR, "vision-prod": VISION,
    "tabular-prod": TABULAR,
}  # fmt: skip
RECONCILER = Reconciler(
    environment=f"lab-{OWN}", repository="https://git.example/m", image="registry.example/aifctl:1",
    account="aifctl-deployer", admin=True,
)  # fmt: skip


def deployer(namespace: str) -> str:
    return f"system:serviceaccount:{namespace}:aifctl-deployer"


THE_ADMIN = f"system:serviceaccount:{SYSTEM}:{ADMIN}"


def golden(folder: str) -> list[Manifest]:
    files = sorted((HERE / "rendered" / folder).rglob("*.yaml"))
    return in_order(renamed(Manifest(yaml12.parse_yaml(path.read_text("utf-8")))) for path in files)


def renamed(manifest: Manifest) -> Manifest:
    text = json.dumps(dict(manifest.object))
    for old, new in RENAMED.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    return Manifest(json.loads(text))


class Caller:
    """The reconciler's account, as itself or as whom it impersonates."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        context = ssl.create_default_context(cafile=str(cluster.ca))
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=cluster.url, verify=context, headers=headers, timeout=60, trust_env=False)

    def __call__(self, method: str, path: str, body: Object | None = None, user: str = "", kind: str = "") -> int:
        headers = {"Content-Type": kind or "application/json", **({"Impersonate-User": user} if user else {})}
        content = None if body is None else json.dumps(body)
        for _ in range(20):
            self.answer = self.client.request(method, path, content=content, headers=headers)
            if self.answer.status_code != 429:  # a new CRD: "storage is (re)initializing"
                break
            time.sleep(0.5)
        return self.answer.status_code

    def apply(self, manifest: Manifest, user: str = "") -> int:
        path = f"{path_of(manifest.object)}?fieldManager=aifctl&fieldValidation=Strict"
        return self("PATCH", path, dict(manifest.object), user, SERVER_SIDE_APPLY)


@pytest.fixture(scope="module")
def cluster(control_plane: Cluster) -> Cluster:
    install_crds(control_plane, "workflows.argoproj.io", "cronworkflows.argoproj.io")
    for manifest in render_reconciler(RECONCILER):
        control_plane.apply(dict(renamed(manifest).object))
    return control_plane


def entered(cluster: Cluster, reconciler: Reconciler) -> Caller:
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{reconciler.name}/token"
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    return Caller(cluster, cluster.request("POST", path, wanted)["status"]["token"])


@pytest.fixture(scope="module")
def caller(cluster: Cluster) -> Iterator[Caller]:
    found = entered(cluster, RECONCILER)
    for manifest in golden("lab/_cluster"):
        assert found.apply(manifest, THE_ADMIN) in (200, 201), found.answer.text
    yield found
    found.client.close()


def test_the_admin_account_applies_the_ground_again_and_again(caller: Caller) -> None:
    """The fixture has made it: Namespaces, and in them Roles and bindings that grant no more than it has itself."""
    for manifest in golden("lab/_cluster"):
        assert caller.apply(manifest, THE_ADMIN) == 200, caller.answer.text


@pytest.mark.parametrize("folder", ["vision", "tabular"])
def test_the_account_of_a_tenant_applies_and_deletes_its_models(caller: Caller, folder: str) -> None:
    found, user = [*golden(f"lab/{folder}"), *golden(f"prod/{folder}-prod")], deployer(RENAMED[folder])
    assert {each.kind for each in found} >= {"Workflow", "Role", "RoleBinding", "Secret", "Deployment"}
    for _ in range(2):
        for manifest in found:
            assert caller.apply(manifest, user) in (200, 201), caller.answer.text
    for manifest in reversed(found):
        assert caller("GET", path_of(manifest.object), user=user) == 200
        assert caller("DELETE", path_of(manifest.object), user=user) in (200, 202), caller.answer.text


def test_it_reaches_nothing_outside_of_its_namespace(caller: Caller) -> None:
    for manifest in (*golden("lab/tabular"), *golden("lab/_cluster")):
        if manifest.namespace != VISION:
            assert caller.apply(manifest, deployer(VISION)) == 403, manifest.identity
            assert caller("DELETE", path_of(manifest.object), user=deployer(VISION)) == 403
    quota = f"/api/v1/namespaces/{VISION}/resourcequotas/aifctl-quota"
    limits = {"spec": {"hard": {"requests.cpu": "1000"}}}
    assert caller("PATCH", quota, limits, deployer(VISION), "application/merge-patch+json") == 403
    assert caller("GET", f"/api/v1/namespaces/{SYSTEM}/configmaps", user=deployer(VISION)) == 403


@pytest.mark.parametrize(
    "rule",
    [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
    ],
)
def test_it_hands_on_no_right_that_it_has_not(caller: Caller, rule: Object) -> None:
    metadata = {"name": "more", "namespace": VISION}
    role = Manifest(
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    )
    assert caller.apply(role, deployer(VISION)) == 403
    assert "attempting to grant RBAC permissions not currently held" in caller.answer.text


def test_it_binds_nobody_to_more_than_it_has(caller: Caller) -> None:
    binding = next(each for each in golden("lab/_cluster/vision") if each.name == "aifctl-operators")
    metadata = {"name": "more", "namespace": VISION}
    assert caller.apply(Manifest({**binding.object, "metadata": metadata}), deployer(VISION)) == 403


def test_the_reconciler_reads_everywhere_and_writes_at_home(caller: Caller, cluster: Cluster) -> None:
    groups = {"": "/api/v1", "argoproj.io": "/apis/argoproj.io/v1alpha1", "autoscaling": "/apis/autoscaling/v2"}
    for each in {*kinds.MODELS, *kinds.PLATFORM, *kinds.LOOKED_AT}:
        if "/" not in each.resource and each.kind != "Secret":
            path = f"{groups.get(each.group, f'/apis/{each.group}/v1')}/{each.resource}"
            assert caller("GET", path) == 200, (path, caller.answer.text)
            with caller.client.stream("GET", f"{path}?watch=1") as stream:
                assert stream.status_code == 200, path
    assert caller("GET", "/api/v1/secrets") == 403
    assert caller("GET", f"/api/v1/namespaces/{VISION}/secrets") == 403
    assert caller("GET", f"/api/v1/namespaces/{VISION}/secrets?limit=1", user=deployer(VISION)) == 200
    for manifest in (*golden("lab/vision"), *golden("lab/_cluster")):
        assert caller.apply(manifest) == 403
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aif.lab", "namespace": SYSTEM}}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": head["metadata"]}
    for own in (head, lease):
        assert caller.apply(Manifest(own)) == 201
        assert caller("DELETE", path_of(own)) == 200
    assert caller("GET", "/api/v1/nodes") == 403


@pytest.mark.parametrize(
    "user",
    [
        f"system:serviceaccount:{VISION}:default", f"system:serviceaccount:kube-system:{ADMIN}",
        f"system:serviceaccount:{VISION}:{ADMIN}", f"system:serviceaccount:{SYSTEM}:{RECONCILER.name}",
        "kubernetes-admin", "system:admin",
    ],
    ids=["default", "admin elsewhere", "admin of a tenant", "itself", "kubernetes-admin", "system:admin"],
)  # fmt: skip
def test_it_can_be_nobody_else(caller: Caller, user: str) -> None:
    assert caller("GET", "/api/v1/namespaces", user=user) == 403
    assert "cannot impersonate" in caller.answer.text


def test_it_can_join_no_group(caller: Caller) -> None:
    headers = {"Impersonate-User": deployer(VISION), "Impersonate-Group": "system:masters"}
    assert caller.client.get("/api/v1/nodes", headers=headers).status_code == 403


def test_without_admin_it_is_not_the_admin(cluster: Cluster, caller: Caller) -> None:
    plain = replace(RECONCILER, environment=f"plain-{OWN}", admin=False)
    for manifest in render_reconciler(plain):
        cluster.apply(dict(renamed(manifest).object))
    found = entered(cluster, plain)
    assert found("GET", "/api/v1/namespaces", user=THE_ADMIN) == 403
    assert found("GET", f"/api/v1/namespaces/{VISION}/configmaps", user=deployer(VISION)) == 200
    found.client.close()


def test_the_admin_deletes_no_namespace_and_grants_no_cluster_role(caller: Caller) -> None:
    assert caller("DELETE", f"/api/v1/namespaces/{VISION}", user=THE_ADMIN) == 403
    binding = next(each for each in golden("lab/_cluster/vision") if each.name == "aifctl-operators").object
    role = {**binding["roleRef"], "name": "cluster-admin"}
    metadata = {"name": "more", "namespace": VISION}
    assert caller.apply(Manifest({**binding, "metadata": metadata, "roleRef": role}), THE_ADMIN) == 403


def test_a_pod_without_requests_gets_some_where_a_quota_counts_them(caller: Caller, cluster: Cluster) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "aifctl-quota", "namespace": VISION}}
    cluster.wait(quota, lambda live: live and "requests.cpu" in live.get("status", {}).get("hard", {}))
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "wait", "image": "registry.example/wait:1", "securityContext": secure}
    shared = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    metadata = {"name": "engine", "namespace": VISION}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    made = cluster.create({**pod, "spec": {"containers": [container], "securityContext": shared}})
    assert made["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "50m", "memory": "64Mi"}}
    counted = cluster.wait(quota, lambda live: live and live["status"]["used"].get("requests.cpu") == "50m")
    assert counted is not None
    large = {**container, "resources": {"requests": {"cpu": "65"}}}
    metadata["name"] = "large"
    with pytest.raises(Refused, match="exceeded quota: aifctl-quota"):
        cluster.create({**pod, "spec": {"containers": [large], "securityContext": shared}})
    with pytest.raises(Refused, match="violates PodSecurity"):
        cluster.create({**pod, "spec": {"containers": [{**container, "securityContext": {"privileged": True}}]}})
