"""A wait gives up early on pods that will not come up by themselves, and not on those that may."""

from __future__ import annotations

import pytest

from aifctl.cluster import wait
from aifctl.cluster.health import Trouble
from aifctl.cluster.outcome import Options, Result
from tests.cluster.world import World, codes, deployment
from tests.controlplane.cluster import Cluster


def test_a_missing_image_ends_the_wait_long_before_the_deadline(
    nodes: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait, "PATIENCE", 1.0)
    monkeypatch.setattr(wait, "LOOK", 0.5)
    world = World(nodes.kubeconfig, namespace)
    wanted = world.wanted("digits", deployment("digits", image="bad-image:1"))
    (outcome,) = world.apply(wanted, options=Options(wait=True, timeout=300))
    assert outcome.result is Result.FAILED
    assert codes([outcome]) == ["AIF751"]
    found = outcome.findings[0]
    assert "ImagePullBackOff" in found.message
    assert any("container server" in note for note in (found.message, *found.notes))


@pytest.mark.parametrize(
    ("phase", "restarts", "hopeless"),
    [("ImagePullBackOff", 0, True), ("CrashLoopBackOff", 1, False), ("CrashLoopBackOff", 5, True),
     ("Unschedulable", 0, False), ("NotReady", 3, False)],
)  # fmt: skip
def test_what_counts_as_hopeless(phase: str, restarts: int, hopeless: bool) -> None:
    assert wait._is_hopeless(Trouble(pod="p", phase=phase, restarts=restarts)) is hopeless
