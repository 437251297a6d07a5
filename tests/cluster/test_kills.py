"""An apply that is killed (kill -9, in a process of its own) at one exact request: the next run finishes the work."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import applier
from tests.cluster.standing import AT_ONCE, covered, finished, ours, strangers
from tests.cluster.world import World
from tests.controlplane.cluster import Cluster
from tests.controlplane.proxy import Call, FaultProxy, Rule, Seen

ROOT = Path(__file__).parents[2]
RECORD = "/namespaces/aif-system/configmaps"
REAL = "^((?!dryRun).)*$"


@pytest.fixture(scope="module")
def proxy(control_plane: Cluster) -> Iterator[FaultProxy]:
    with FaultProxy(control_plane) as proxy:
        yield proxy


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return applier.world(control_plane.kubeconfig, namespace)


class Killed:
    """An apply as a process, and the means to kill it from the proxy."""

    def __init__(self, proxy: FaultProxy, world: World, version: str) -> None:
        self.proxy = proxy
        self.command = [sys.executable, "-m", "tests.cluster.applier", str(proxy.kubeconfig), world.namespace, version]

    def at(self, rule: Callable[[Call], Rule], *, after: bool) -> None:
        """Runs it, and kills it before or after the request that the rule takes reaches the server."""
        self.proxy.clear()
        self.proxy.add(rule(Call(self._kill, after=after)))
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said, _ = self.process.communicate(timeout=60)
        self.proxy.clear()
        assert self.process.returncode == -signal.SIGKILL, said

    def _kill(self, seen: Seen) -> None:
        self.process.kill()
        self.process.wait()
        raise ConnectionAbortedError(f"killed at {seen}")  # nobody is there for an answer, or to be forwarded for


def inside(world: World, kind: str = "") -> str:
    return f"/namespaces/{world.namespace}/{kind}"


POINTS: dict[str, tuple[bool, Callable[[World, Call], Rule]]] = {
    "before the superset is written": (False, lambda w, c: Rule("create|update", c, path=RECORD)),
    "after the superset is written": (True, lambda w, c: Rule("create|update", c, path=RECORD)),
    "mid-stage": (True, lambda w, c: Rule("apply", c, path=inside(w, "configmaps"), query=REAL, nth=2)),
    "between two stages": (False, lambda w, c: Rule("apply", c, path=inside(w, "deployments"), query=REAL)),
    "after a run is made": (True, lambda w, c: Rule("create", c, path=inside(w, "jobs"))),
    "before the last stage": (False, lambda w, c: Rule("apply", c, path=inside(w, "poddisr"), query=REAL)),
    "after apply, before prune": (False, lambda w, c: Rule("delete", c, path=inside(w))),
    "in the middle of prune": (True, lambda w, c: Rule("delete", c, path=inside(w), nth=2)),
    "after prune, before the inventory is exact": (False, lambda w, c: Rule("update", c, path=RECORD, nth=2)),
    "after the inventory is exact": (True, lambda w, c: Rule("update", c, path=RECORD, nth=2)),
}


@pytest.mark.parametrize("point", POINTS)
def test_an_update_that_is_killed(control_plane: Cluster, proxy: FaultProxy, world: World, point: str) -> None:
    world.apply(applier.version(world, "first"))
    foreign = strangers(control_plane, world)
    after, rule = POINTS[point]
    Killed(proxy, world, "second").at(lambda call: rule(world, call), after=after)
    covered(control_plane, world)
    finished(control_plane, world, applier.version(world, "second"), foreign)


@pytest.mark.parametrize("point", ["after the superset is written", "mid-stage", "between two stages"])
def test_a_first_apply_that_is_killed(control_plane: Cluster, proxy: FaultProxy, world: World, point: str) -> None:
    foreign = strangers(control_plane, world)
    after, rule = POINTS[point]
    Killed(proxy, world, "first").at(lambda call: rule(world, call), after=after)
    covered(control_plane, world)
    finished(control_plane, world, applier.version(world, "first"), foreign)


def test_what_was_begun_is_taken_away_where_it_is_no_longer_wanted(
    control_plane: Cluster, proxy: FaultProxy, world: World
) -> None:
    """Killed on the way to `second`, before its run was made, and then Git goes back to `first`."""
    world.apply(applier.version(world, "first"))
    foreign = strangers(control_plane, world)
    after, rule = POINTS["mid-stage"]
    Killed(proxy, world, "second").at(lambda call: rule(world, call), after=after)
    finished(control_plane, world, applier.version(world, "first"), foreign)


def test_a_replace_that_is_killed_between_delete_and_create(
    control_plane: Cluster, proxy: FaultProxy, world: World
) -> None:
    world.apply(applier.version(world, "first"))
    foreign = strangers(control_plane, world)
    Killed(proxy, world, "replaced").at(
        lambda call: Rule("apply", call, path=inside(world, "deployments/digits"), query=REAL), after=False
    )
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "digits", "namespace": world.namespace},
    }
    assert control_plane.get(deployment) is None
    covered(control_plane, world)
    finished(control_plane, world, applier.version(world, "replaced"), foreign)


@pytest.mark.parametrize("point", ["in the middle of prune", "before its record goes", "after its record went"])
def test_a_unit_that_goes_and_is_killed(control_plane: Cluster, proxy: FaultProxy, world: World, point: str) -> None:
    world.apply(applier.version(world, "first"))
    foreign = strangers(control_plane, world)
    after, rule = {
        **POINTS,
        "before its record goes": (False, lambda w, c: Rule("delete", c, path=RECORD)),
        "after its record went": (True, lambda w, c: Rule("delete", c, path=RECORD)),
    }[point]
    Killed(proxy, world, "gone").at(lambda call: rule(world, call), after=after)
    covered(control_plane, world)
    world.apply(allow_prune=True, options=AT_ONCE)
    assert ours(control_plane, world) == {}
    assert world.inventories() == {}
    assert {name: control_plane.get(live) for name, live in foreign.items()} == foreign
