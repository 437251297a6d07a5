"""A wait gives up early on pods that will not come up by themselves, and not on those that may, nor for old ones."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from aifctl.cluster import wait
from aifctl.cluster.outcome import Options, Outcome, Result
from tests.cluster.looking import named
from tests.cluster.world import World, codes, deployment
from tests.controlplane.cluster import Cluster
from tests.controlplane.proxy import FaultProxy, Respond, Rule
from tests.controlplane.stages import simulate


@pytest.fixture
def hasty(nodes: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(wait, "PATIENCE", 2.0)
    monkeypatch.setattr(wait, "LOOK", 0.5)
    return World(nodes.kubeconfig, namespace)


def waited(world: World, outcome: str, seconds: float, image: str = "server:1") -> Outcome:
    """A release whose pods fare so."""
    wanted = deployment("digits", image=image)
    wanted["spec"]["template"]["metadata"]["annotations"] = simulate(outcome)
    (found,) = world.apply(world.wanted("digits", wanted), options=Options(wait=True, timeout=seconds))
    assert found.result is Result.FAILED
    return found


def test_a_missing_image_ends_the_wait_long_before_the_deadline(hasty: World) -> None:
    outcome = waited(hasty, "bad-image", 300, image="bad-image:1")
    assert codes([outcome]) == ["AIF751"]
    found = outcome.findings[0]
    assert "ImagePullBackOff" in found.message
    assert any("container server" in note for note in (found.message, *found.notes))


@pytest.mark.parametrize(("simulated", "phase"), [("fail", "CrashLoopBackOff"), ("oom", "OOMKilled")])
def test_a_crash_loop_does_too(hasty: World, simulated: str, phase: str) -> None:
    """Out of memory as well: its CrashLoopBackOff is told as OOMKilled."""
    outcome = waited(hasty, simulated, 300)
    assert codes([outcome]) == ["AIF751"]
    assert phase in outcome.findings[0].message
    assert "nothing has got better for" in outcome.findings[0].message
    assert "3 restarts" in " ".join((outcome.findings[0].message, *outcome.findings[0].notes))


def test_what_has_not_failed_yet_has_the_whole_time(hasty: World) -> None:
    assert codes([waited(hasty, "unready", 6)]) == ["AIF750"]


def fares(found: dict[str, Any], outcome: str, after: str | None = None) -> dict[str, Any]:
    found["spec"]["template"]["metadata"]["annotations"] = simulate(outcome, after=after)
    return found


def released(nodes: Cluster, world: World, found: dict[str, Any]) -> None:
    """Until a container of its pods waits for its next life, or its image."""
    name = found["metadata"]["name"]

    def ails(_: object) -> bool:
        pods = nodes.list("v1", "Pod", world.namespace, labelSelector=f"app={name}")
        statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", ())]
        return any("waiting" in status["state"] for status in statuses)

    world.apply(world.wanted(name, found), complete=False)
    nodes.wait(named(world, found["kind"], name, "apps/v1"), ails)


@pytest.mark.parametrize("outcome", ["fail", "bad-image"])
def test_a_good_release_that_loads_for_long_is_not_given_up_for_the_bad_one_before(
    nodes: Cluster, hasty: World, outcome: str
) -> None:
    """The old pod stays as it is until the new one is ready."""
    released(nodes, hasty, fares(deployment("digits"), outcome))
    good = fares(deployment("digits"), "ready", after="6s")
    (found,) = hasty.apply(hasty.wanted("digits", good), options=Options(wait=True, timeout=300))
    assert found.result is Result.APPLIED, found.findings


def test_nor_by_one_who_may_not_read_what_makes_the_pods(nodes: Cluster, hasty: World) -> None:
    released(nodes, hasty, fares(deployment("digits"), "fail"))
    time.sleep(1)  # a pod's age is told in whole seconds
    good = fares(deployment("digits"), "ready", after="6s")
    with FaultProxy(nodes) as proxy:
        proxy.add(Rule("list", Respond(403), path="replicasets"))
        through = replace(hasty, kubeconfig=proxy.kubeconfig)
        (found,) = through.apply(hasty.wanted("digits", good), options=Options(wait=True, timeout=300))
        assert proxy.count("list", "replicasets") > 0
    assert found.result is Result.APPLIED, found.findings


def test_a_bad_release_is_given_up_beside_a_good_one_before(nodes: Cluster, hasty: World) -> None:
    good = fares(deployment("digits"), "ready")
    (found,) = hasty.apply(hasty.wanted("digits", good), options=Options(wait=True, timeout=300))
    assert found.result is Result.APPLIED, found.findings
    found = waited(hasty, "fail", 300, image="server:2")
    assert codes([found]) == ["AIF751"]
    assert "CrashLoopBackOff" in found.findings[0].message


def test_an_old_pod_that_a_stateful_set_waits_for_is_given_up(nodes: Cluster, hasty: World) -> None:
    """It has no new one made before the old is ready."""
    released(nodes, hasty, {**fares(deployment("digits"), "fail"), "kind": "StatefulSet"})
    good = {**fares(deployment("digits"), "ready"), "kind": "StatefulSet"}
    (found,) = hasty.apply(hasty.wanted("digits", good), options=Options(wait=True, timeout=300))
    assert codes([found]) == ["AIF751"]
    assert "pod digits-0" in " ".join((found.findings[0].message, *found.findings[0].notes))
    # One that keeps no order goes on.
    free = {**fares(deployment("free"), "fail"), "kind": "StatefulSet"}
    free["spec"]["podManagementPolicy"] = "Parallel"
    released(nodes, hasty, free)
    fares(free, "ready", after="6s")
    (found,) = hasty.apply(hasty.wanted("free", free), options=Options(wait=True, timeout=300), complete=False)
    assert found.result is Result.APPLIED, found.findings
