"""Tenants → namespaces: which there are, who shares one, what a quota comes to."""

from __future__ import annotations

from typing import Any

import pytest

from aifctl.lowering import lower_ground
from aifctl.spec.models.platform import Platform

H100 = {"name": "nvidia-h100", "resource": "nvidia.com/gpu", "per_node": [8]}
L4 = {"name": "nvidia-l4", "resource": "nvidia.com/gpu", "per_node": [1]}
MI300 = {"name": "amd-mi300", "resource": "amd.com/gpu", "per_node": [8]}
A = {"name": "a", "groups": {"scientists": ["a-ds"], "operators": ["ops"]}, "quota": {"cpu": 4, "memory": "1Gi"}}
B = {"name": "b", "groups": {"operators": ["ops", "b-ops"]}, "quota": {"cpu": "500m"}}


def platform(*environments: dict[str, Any], **sections: Any) -> Platform:
    given = [{"name": "lab", "cluster": {"context": "lab"}, **each} for each in environments or ({},)]
    return Platform.model_validate(
        {
            "apiVersion": "aif.dev/v1alpha1",
            "kind": "Platform",
            "metadata": {"name": "p"},
            "spec": {"environments": given, "tenants": [A, B], "hardware": [H100, L4, MI300], **sections},
        },
        by_alias=True,
    )


def lowered(found: Platform, number: int = 0) -> Any:
    return lower_ground(found, found.spec.environments[number], "platform.yaml")


def test_a_namespace_a_tenant() -> None:
    a, b = lowered(platform({"namespace": "{tenant}-lab", "pod_security": "baseline", "apply": {"account": "robot"}}))
    assert (a.namespace, b.namespace) == ("a-lab", "b-lab")
    assert (a.tenants, a.scientists, a.operators) == (("a",), ("a-ds",), ("ops",))
    assert (a.cpu, a.memory, dict(a.devices)) == (4.0, 1 << 30, {})
    assert (b.cpu, b.memory, b.operators) == (0.5, None, ("b-ops", "ops"))
    assert (a.environment, a.pod_security, a.account, a.source) == ("lab", "baseline", "robot", "platform.yaml")


def test_tenants_that_share_a_namespace() -> None:
    (shared,) = lowered(platform({"namespace": "ml"}))
    assert (shared.namespace, shared.tenants) == ("ml", ("a", "b"))
    assert shared.cpu == 4.5
    assert shared.memory is None, "one of them has no limit"
    assert (shared.scientists, shared.operators) == (("a-ds",), ("b-ops", "ops"))


@pytest.mark.parametrize(
    ("quota", "devices"),
    [
        ({"nvidia-h100": 16}, {}),
        ({"nvidia-h100": 16, "nvidia-l4": 4}, {"nvidia.com/gpu": 20}),
        ({"amd-mi300": 8, "nvidia-l4": 4}, {"amd.com/gpu": 8}),
        ({"amd-mi300": 0}, {"amd.com/gpu": 0}),
    ],
)
def test_flavours_of_one_resource_are_counted_together(quota: dict[str, int], devices: dict[str, int]) -> None:
    (found,) = lowered(platform(tenants=[{"name": "a", "quota": quota}]))
    assert found.devices == devices


def test_this_machine_and_a_platform_without_tenants_have_none() -> None:
    local = platform().spec.environments[0].model_copy(update={"cluster": None})
    assert lower_ground(platform(), local, "p.yaml") == ()
    assert lower_ground(None, platform().spec.environments[0], "p.yaml") == ()
    assert lowered(platform(tenants=[])) == ()


def test_of_environments_that_share_a_cluster_the_first_makes_what_they_share() -> None:
    found = platform({"name": "lab"}, {"name": "serving"}, {"name": "other", "namespace": "{tenant}-x"})
    assert [each.namespace for each in lowered(found, 0)] == ["a", "b"]
    assert lowered(found, 1) == ()
    assert [each.namespace for each in lowered(found, 2)] == ["a-x", "b-x"]
    apart = platform({"name": "lab"}, {"name": "prod", "cluster": {"context": "prod"}})
    assert [each.namespace for each in lowered(apart, 1)] == ["a", "b"]
