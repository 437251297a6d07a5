"""Manifests that run `aifctl reconcile`: valid, least rights, hardened, and as they ever were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from aifctl import ir
from aifctl.manifest import Manifest
from aifctl.render import kinds
from aifctl.render.backends.reconciler import ADMIN, Reconciler, git_port
from aifctl.render.bundles import render_reconciler
from tests.golden.repository import HERE
from tests.render import schemas

GOLDEN = HERE / "reconciler/lab.yaml"
PLAIN = Reconciler(
    environment="lab",
    repository="https://git.example/acme/models.git",
    image="registry.example/aifctl@sha256:" + "6" * 64,
    account="aifctl-deployer",
)
DEFAULTS = ir.PodDefaults(
    volumes=({"name": "ca", "configMap": {"name": "ca"}},),
    mounts=({"name": "ca", "mountPath": "/etc/ssl/private-ca", "readOnly": True},),
    variables=(
        ir.Variable(name="HOME", value="/elsewhere"),
        ir.Variable(name="HTTPS_PROXY", value="http://proxy.example:3128"),
        ir.Variable(name="NOTE", value="costs $(MONEY)"),
        ir.Variable(name="no_proxy", value=".example"),
    ),
    secrets=("proxy-credentials",),
    node_selector={"pool": "system"},
    tolerations=({"key": "system", "operator": "Exists"},),
    pull_secrets=("registry",),
    pull_policy="Always",
    annotations={"example.org/scrape": "true"},
)
FULL = replace(
    PLAIN, admin=True, git_secret="git-credentials", replicas=1, namespace="ml-system", ref="prod", interval="5m",
    pods=DEFAULTS,
)  # fmt: skip
NAME = "aifctl-reconciler-lab"


def of(reconciler: Reconciler) -> dict[tuple[str, str], Manifest]:
    return {(each.kind, each.name): each for each in render_reconciler(reconciler)}


def allowed(manifest: Manifest) -> set[tuple[str, str, str, str]]:
    """(group, resource, verb, name); the name is `*` where the rule names none."""
    return {
        (group, resource, verb, name)
        for rule in manifest.object["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", ["*"])
    }


def pod(reconciler: Reconciler) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = of(reconciler)["Deployment", NAME].object["spec"]["template"]["spec"]
    return spec


def test_as_ever(update_golden: bool) -> None:
    text = "".join(f"---\n{each.to_yaml()}" for each in render_reconciler(FULL))
    if update_golden:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, "utf-8")
    assert text == GOLDEN.read_text("utf-8"), "look at the difference after `make golden`"


@pytest.mark.parametrize("reconciler", [PLAIN, FULL])
def test_every_object_is_what_the_api_takes(reconciler: Reconciler) -> None:
    found = render_reconciler(reconciler)
    for manifest in found:
        schemas.validate(manifest)
    assert found[0].kind == "Namespace"
    assert found[-1].kind == "Deployment"


def test_of_its_own_it_reads_and_writes_in_its_namespace_alone() -> None:
    everywhere = allowed(of(PLAIN)["ClusterRole", NAME])
    assert {verb for _, _, verb, _ in everywhere} == {"get", "list", "watch", "impersonate"}
    assert {each for each in everywhere if each[2] == "impersonate"} == {
        ("", "serviceaccounts", "impersonate", "aifctl-deployer")
    }
    seen = {(group, resource) for group, resource, verb, _ in everywhere if verb == "watch"}
    wanted = {*kinds.MODELS, *kinds.PLATFORM, *kinds.LOOKED_AT}
    assert seen == {(each.group, each.resource) for each in wanted} - {("", "secrets")}
    inside = allowed(of(PLAIN)["Role", NAME])
    assert {resource for _, resource, _, _ in inside} == {"configmaps", "events", "leases"}
    assert not {each for each in everywhere | inside if "*" in each[:3]}


def test_the_admin_account_is_there_only_if_asked_for() -> None:
    assert not [key for key in of(PLAIN) if key[1] == ADMIN]
    assert not [each for each in allowed(of(PLAIN)["Role", NAME]) if each[2] == "impersonate"]
    assert "--admin" not in pod(PLAIN)["containers"][0]["args"]
    found = of(FULL)
    assert ("", "serviceaccounts", "impersonate", ADMIN) in allowed(found["Role", NAME])
    assert "--admin" in pod(FULL)["containers"][0]["args"]
    rights = allowed(found["ClusterRole", ADMIN])
    assert ("", "namespaces", "delete", "*") not in rights
    assert {each for each in rights if each[2] in ("bind", "escalate", "impersonate")} == {
        ("rbac.authorization.k8s.io", "clusterroles", "bind", "edit"),
        ("rbac.authorization.k8s.io", "clusterroles", "bind", "view"),
    }
    assert found["ServiceAccount", ADMIN].object["automountServiceAccountToken"] is False


def test_the_admin_holds_what_a_tenants_account_gets() -> None:
    held = {each[:3] for each in allowed(of(FULL)["ClusterRole", ADMIN])}
    granted = {
        (group, resource, verb)
        for rule in kinds.deployer()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted <= held


def test_the_flags_are_those_of_the_command() -> None:
    (container,) = pod(PLAIN)["containers"]
    assert container["command"] == ["python", "-m", "aifctl"]
    assert container["args"] == [
        "reconcile", "--repo=https://git.example/acme/models.git", "--ref=main", "--env=lab", "--interval=60s",
        "--listen=:8081", "--metrics=:8080", "--namespace=aif-system", "--state=/aif/work",
    ]  # fmt: skip


def test_the_pod_is_hardened() -> None:
    found = pod(PLAIN)
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = found["containers"]
    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"health": 8081, "metrics": 8080}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    assert all("emptyDir" in volume for volume in found["volumes"])
    assert not {"imagePullSecrets", "nodeSelector", "tolerations"} & found.keys()


def variables(reconciler: Reconciler) -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod(reconciler)["containers"][0]["env"]}


def test_its_pod_gets_what_every_pod_of_the_environment_gets() -> None:
    found = pod(FULL)
    (container,) = found["containers"]
    assert found["imagePullSecrets"] == [{"name": "registry"}]
    assert found["nodeSelector"] == {"pool": "system"}
    assert found["tolerations"] == [{"key": "system", "operator": "Exists"}]
    assert {"name": "ca", "configMap": {"name": "ca"}} in found["volumes"]
    assert {"name": "ca", "mountPath": "/etc/ssl/private-ca", "readOnly": True} in container["volumeMounts"]
    assert container["imagePullPolicy"] == "Always"
    template = of(FULL)["Deployment", NAME].object["spec"]["template"]
    assert template["metadata"]["annotations"] == {"example.org/scrape": "true"}
    assert "--interval=5m" in container["args"]


def test_a_secret_of_variables_may_be_missing_in_its_namespace() -> None:
    (source,) = pod(FULL)["containers"][0]["envFrom"]
    assert source == {"secretRef": {"name": "proxy-credentials", "optional": True}}


def test_its_own_variables_come_before_the_environments() -> None:
    found = variables(FULL)
    assert found["HOME"] == "/aif/work"
    assert found["NOTE"] == "costs $$(MONEY)"
    assert found["GIT_CONFIG_COUNT"] == "1"


@pytest.mark.parametrize(
    ("given", "ways"),
    [
        ({"no_proxy": ".example"}, {"no_proxy": ".example,$(KUBERNETES_SERVICE_HOST)"}),
        ({}, {"NO_PROXY": "$(KUBERNETES_SERVICE_HOST)"}),
    ],
)
def test_a_proxy_can_be_reached_and_is_not_asked_for_the_api_server(
    given: dict[str, str], ways: dict[str, str]
) -> None:
    told = {"HTTPS_PROXY": "http://proxy.example:3128", "ALL_PROXY": "proxy.example", **given}
    defaults = ir.PodDefaults(variables=tuple(ir.Variable(name=name, value=value) for name, value in told.items()))
    found = replace(PLAIN, pods=defaults)
    assert {name: value for name, value in variables(found).items() if name.lower() == "no_proxy"} == ways
    out = of(found)["NetworkPolicy", NAME].object["spec"]["egress"][1]["ports"]
    assert {each["port"] for each in out} == {80, 443, 3128, 6443}
    assert not [name for name in variables(PLAIN) if name.lower() == "no_proxy"]


def test_its_namespace_is_as_strict_as_volumes_allow() -> None:
    levels = [of(each)["Namespace", "aif-system"].object["metadata"]["labels"] for each in (
        PLAIN, replace(PLAIN, pod_security="baseline"),
    )]  # fmt: skip
    assert [each["pod-security.kubernetes.io/enforce"] for each in levels] == ["restricted", "baseline"]


@pytest.mark.parametrize(
    ("repository", "key", "word"),
    [
        ("https://git.example/models", "credential.helper", "username=$$(cat /aif/git/username)"),
        ("git@git.example:acme/models.git", "core.sshCommand", "-i /aif/git/ssh-privatekey"),
        ("ssh://git@git.example:2222/models", "core.sshCommand", "UserKnownHostsFile=/aif/git/known_hosts"),
    ],
)
def test_git_gets_its_credentials_from_the_secret(repository: str, key: str, word: str) -> None:
    found = pod(replace(FULL, repository=repository))
    variables = {each["name"]: each["value"] for each in found["containers"][0]["env"]}
    assert (variables["GIT_CONFIG_COUNT"], variables["GIT_CONFIG_KEY_0"]) == ("1", key)
    assert word in variables["GIT_CONFIG_VALUE_0"]
    (mounted,) = [each for each in found["volumes"] if "secret" in each]
    assert mounted["secret"] == {"secretName": "git-credentials", "defaultMode": 0o440}
    assert not [each for each in pod(PLAIN)["containers"][0]["env"] if each["name"].startswith("GIT_")]


@pytest.mark.parametrize(
    ("repository", "port"),
    [
        ("https://git.example/models", 443), ("http://git.example:3000/models", 3000), ("ssh://git@git.example/m", 22),
        ("ssh://git@git.example:2222/m", 2222), ("git@git.example:acme/m.git", 22), ("git://git.example/m", 9418),
        ("/srv/git/models", None), ("https://user:pass@git.example:8443/m", 8443),
    ],
)  # fmt: skip
def test_the_policy_lets_it_reach_the_repository(repository: str, port: int | None) -> None:
    assert git_port(repository) == port
    spec = of(replace(PLAIN, repository=repository))["NetworkPolicy", NAME].object["spec"]
    out = {each["port"] for each in spec["egress"][1]["ports"]}
    assert out == {443, 6443} | ({port} if port is not None else set())
