"""Namespaces of tenants as objects, and the one table of kinds that every right is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml12

from aifctl import ir
from aifctl.diagnostics import Report
from aifctl.manifest import Manifest
from aifctl.render import kinds
from aifctl.render.backends import tenancy
from aifctl.render.bundles import render, render_ground
from aifctl.render.tree import tree
from aifctl.resources import template_path
from tests.golden.repository import HERE
from tests.render import bundles, schemas

FULL = ir.Tenancy(
    environment="lab", namespace="vision-lab", tenants=("vision",), source="platform.yaml", pod_security="restricted",
    account="aifctl-deployer", cpu=64.0, memory=256 << 30, devices={"nvidia.com/gpu": 16},
    scientists=("vision-ds",), operators=("vision-ops", "on-call"),
)  # fmt: skip
BARE = ir.Tenancy(
    environment="lab", namespace="shared", tenants=("a", "b"), source="platform.yaml", pod_security="baseline",
    account="robot",
)  # fmt: skip
NOT_RENDERED = {"init", "reconciler"}
"""Folders of templates that are no back end's."""


def of(found: ir.Tenancy) -> dict[tuple[str, str], Manifest]:
    return {(each.kind, each.name): each for each in render_ground([found])}


def test_every_object_is_what_the_api_takes() -> None:
    for manifest in render_ground([FULL, BARE]):
        schemas.validate(manifest)


def test_what_a_namespace_is_made_of() -> None:
    assert list(of(FULL)) == [
        ("Namespace", "vision-lab"), ("ResourceQuota", "aifctl-quota"), ("LimitRange", "aifctl-defaults"),
        ("NetworkPolicy", "aifctl-deny-ingress"), ("ServiceAccount", "aifctl-deployer"), ("Role", "aifctl-deployer"),
        ("RoleBinding", "aifctl-deployer"), ("RoleBinding", "aifctl-operators"), ("RoleBinding", "aifctl-scientists"),
    ]  # fmt: skip
    kinds_of_bare = [kind for kind, _ in of(BARE)]
    assert kinds_of_bare == ["Namespace", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding"]


def test_labels_are_a_tenants_and_no_models() -> None:
    for manifest in render_ground([FULL]):
        assert manifest.labels["app.kubernetes.io/managed-by"] == "aifctl"
        assert manifest.labels["aif.dev/tenant"] == "vision"
        assert not {"aif.dev/model", "app.kubernetes.io/name"} & manifest.labels.keys(), "a plan would name a model"
    assert all("aif.dev/tenant" not in manifest.labels for manifest in render_ground([BARE]))


def test_pods_are_held_to_the_level_and_the_namespace_is_never_pruned() -> None:
    namespace = of(BARE)["Namespace", "shared"]
    modes = {key: value for key, value in namespace.labels.items() if key.startswith("pod-security")}
    assert modes == {f"pod-security.kubernetes.io/{mode}": "baseline" for mode in ("enforce", "audit", "warn")}
    kept = {key for key, manifest in of(FULL).items() if tenancy.KEPT.items() <= manifest.annotations.items()}
    assert kept == {("Namespace", "vision-lab"), ("NetworkPolicy", "aifctl-deny-ingress")}


def test_a_quota_counts_requests_and_gives_some_to_containers_without() -> None:
    found = of(FULL)
    assert found["ResourceQuota", "aifctl-quota"].object["spec"]["hard"] == {
        "requests.cpu": "64",
        "requests.memory": "256Gi",
        "requests.nvidia.com/gpu": "16",
    }
    (limit,) = found["LimitRange", "aifctl-defaults"].object["spec"]["limits"]
    assert limit == {"type": "Container", "defaultRequest": tenancy.DEFAULT_REQUESTS}
    devices = ir.Tenancy(**{**_values(FULL), "cpu": None, "memory": None})
    assert ("LimitRange", "aifctl-defaults") not in of(devices), "only cpu and memory must be asked for"


def test_nothing_gets_in_and_everything_gets_out() -> None:
    spec = of(FULL)["NetworkPolicy", "aifctl-deny-ingress"].object["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress"]}


def test_who_is_bound_to_what() -> None:
    bound = {name: each.object for (kind, name), each in of(FULL).items() if kind == "RoleBinding"}
    assert {name: (each["roleRef"]["kind"], each["roleRef"]["name"]) for name, each in bound.items()} == {
        "aifctl-deployer": ("Role", "aifctl-deployer"),
        "aifctl-operators": ("ClusterRole", "edit"),
        "aifctl-scientists": ("ClusterRole", "view"),
    }
    assert [each["name"] for each in bound["aifctl-operators"]["subjects"]] == ["vision-ops", "on-call"]
    (account,) = bound["aifctl-deployer"]["subjects"]
    assert account == {"kind": "ServiceAccount", "name": "aifctl-deployer", "namespace": "vision-lab"}


def test_all_lies_in_the_environments_own_folder() -> None:
    assert list(tree(render_ground([BARE]), "lab")) == [
        "rendered/lab/_cluster/namespace-shared.yaml",
        "rendered/lab/_cluster/shared/networkpolicy-aifctl-deny-ingress.yaml",
        "rendered/lab/_cluster/shared/serviceaccount-robot.yaml",
        "rendered/lab/_cluster/shared/role-robot.yaml",
        "rendered/lab/_cluster/shared/rolebinding-robot.yaml",
    ]


@pytest.mark.parametrize("namespace", ["Vision", "a_b", "a.b", "a" * 64, "", "../x"])
def test_a_pattern_that_makes_no_namespace(namespace: str) -> None:
    with pytest.raises(Report) as caught:
        render_ground([ir.Tenancy(**{**_values(BARE), "namespace": namespace})])
    assert {each.code for each in caught.value.diagnostics} <= {"AIF506", "AIF509"}


@pytest.mark.parametrize("namespace", ["aif-system", "kube-system", "kube-public"])
def test_the_clusters_own_namespaces_are_left_alone(namespace: str) -> None:
    with pytest.raises(Report, match="AIF513"):
        render_ground([FULL, ir.Tenancy(**{**_values(BARE), "namespace": namespace})])


# The table of kinds


def _templates() -> Iterator[tuple[str, str, str]]:
    """(back end, path, text) of every template that makes an object."""
    root = template_path("")
    for path in sorted(root.rglob("*.yaml.j2")):
        back_end = path.relative_to(root).parts[0]
        if back_end not in NOT_RENDERED and not path.name.startswith("_"):
            yield back_end, str(path), path.read_text("utf-8")


def _kind(text: str) -> tuple[str, str]:
    found = {key: re.findall(rf"^{key}: (\S+)$", text, re.MULTILINE) for key in ("apiVersion", "kind")}
    ((version,), (kind,)) = found.values()
    return version.rpartition("/")[0], kind


@pytest.mark.parametrize(("back_end", "path", "text"), list(_templates()))
def test_every_template_makes_a_kind_that_the_account_may_write(back_end: str, path: str, text: str) -> None:
    table = kinds.PLATFORM if back_end == "tenancy" else kinds.MODELS
    known = {(each.group, each.kind) for each in table}
    assert _kind(text) in known, f"{path}: name this kind in aifctl/render/kinds.py, or nobody may apply it"


def test_no_right_is_there_for_a_kind_that_nothing_makes() -> None:
    for table, of_tenancy in ((kinds.PLATFORM, True), (kinds.MODELS, False)):
        made = {_kind(text) for back_end, _, text in _templates() if (back_end == "tenancy") is of_tenancy}
        assert {(each.group, each.kind) for each in table} == made


def _rendered() -> list[Manifest]:
    golden = sorted((HERE / "rendered").rglob("*.yaml"))
    return [*(Manifest(yaml12.parse_yaml(path.read_text("utf-8"))) for path in golden), *render(bundles.everything())]


def test_all_that_is_rendered_is_in_the_table() -> None:
    table = {(each.group, each.kind) for each in (*kinds.MODELS, *kinds.PLATFORM)}
    assert {(each.group, each.kind) for each in _rendered()} <= table


def _allowed(rules: list[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _granted() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """(where, rules) of every Role of a model."""
    for back_end, path, text in _templates():
        if _kind(text)[1] == "Role" and back_end != "tenancy":
            yield path, yaml12.parse_yaml(text[text.index("\nrules:") :])["rules"]
    for manifest in _rendered():
        if manifest.kind == "Role" and "aif.dev/model" in manifest.labels:
            yield str(manifest.identity), manifest.object["rules"]


def test_the_account_holds_what_it_hands_on() -> None:
    """Else the API server refuses the Role: whoever makes one may grant no more than it has itself."""
    held = _allowed(kinds.deployer())
    granted = list(_granted())
    assert len(granted) > 4
    for where, rules in granted:
        assert _allowed(rules) <= held, f"{where}: name what it grants in HANDED_ON of aifctl/render/kinds.py"


def test_the_account_has_no_right_that_is_wider_than_a_kind() -> None:
    held = _allowed(kinds.deployer())
    assert not {each for each in held if "*" in each}
    assert not {verb for _, _, verb in held} & {"escalate", "bind", "impersonate", "deletecollection"}
    assert not {resource for group, resource, _ in held if resource in ("namespaces", "resourcequotas", "limitranges")}
    written = {resource for _, resource, verb in held if verb == "delete"}
    assert not written & {"pods", "events", "replicasets", "pods/log"}


def _values(found: ir.Tenancy) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ir.Tenancy.__dataclass_fields__}
