"""What is sent before what: Kubernetes itself does not forgive every order."""

from __future__ import annotations

import pytest

from aifctl.cluster.stages import stage
from tests.cluster.world import World
from tests.controlplane.cluster import Cluster, Object

TOKEN = "kubernetes.io/service-account-token"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("Namespace", "ServiceAccount"),
        ("ServiceAccount", "Secret"),
        ("Secret", "Deployment"),
        ("ConfigMap", "Workflow"),
        ("Deployment", "HorizontalPodAutoscaler"),
    ],
)
def test_kinds_come_after_what_they_lean_on(first: str, then: str) -> None:
    assert stage(first) < stage(then)


def test_a_token_that_is_applied_with_its_account_stays(control_plane: Cluster, namespace: str) -> None:
    """The controller that fills such a Secret deletes it where its account is not there yet."""
    world = World(control_plane.kubeconfig, namespace)
    names = [f"digits-{number}-run" for number in range(5)]
    tokens = {name: _token(name) for name in names}
    accounts = {name: {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}} for name in names}
    outcomes = world.apply(*(world.wanted(name, tokens[name], accounts[name]) for name in names))
    assert [each.findings for each in outcomes if each.failed] == []
    for token in tokens.values():
        live = {**token, "metadata": {**token["metadata"], "namespace": namespace}}
        control_plane.wait(live, lambda found: found.get("data", {}).get("token"))


def _token(account: str) -> Object:
    metadata = {"name": f"{account}.token", "annotations": {"kubernetes.io/service-account.name": account}}
    return {"apiVersion": "v1", "kind": "Secret", "type": TOKEN, "metadata": metadata}
