"""A wait gives up early on pods that will not come up by themselves, and not on those that may."""

from __future__ import annotations

import pytest

from aifctl.cluster import wait
from aifctl.cluster.outcome import Options, Outcome, Result
from tests.cluster.world import World, codes, deployment
from tests.controlplane.cluster import Cluster
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
