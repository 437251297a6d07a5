"""A stranger's object that has a run's name is not the run: not unchanged, not recorded, not waited for, never ours."""

from __future__ import annotations

import asyncio

import pytest

from aifctl.cluster import apply, planning
from aifctl.cluster.client import Client
from aifctl.cluster.outcome import Options, Outcome, Result
from aifctl.cluster.records import Records
from aifctl.cluster.wait import Waiter
from aifctl.cluster.wanted import Wanted
from aifctl.cluster.watch import Observer
from aifctl.plan.change import Action
from aifctl.render.ownership import ENVIRONMENT
from tests.cluster.looking import live, managers, named, of
from tests.cluster.world import Object, World, codes, config, job
from tests.controlplane.cluster import Cluster

NAME = "train-3f9a"


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


def run() -> Object:
    """The Job of a run's driver; it waits, so that nothing of it happens."""
    found = job(NAME)
    found["metadata"]["labels"] = {"app.kubernetes.io/component": "run"}
    found["spec"]["suspend"] = True
    return found


def stranger(world: World) -> Object:
    """The same Job by somebody who knows nothing of aifctl."""
    found = run()
    found["metadata"] = {"name": NAME, "namespace": world.namespace}
    return found


def test_a_plan_and_an_apply_say_whose_it_is_and_leave_it(control_plane: Cluster, world: World) -> None:
    before = control_plane.create(stranger(world))
    wanted = world.wanted("digits", run(), config("settings"))
    plan = world.plan(wanted)
    assert codes(plan) == ["AIF728"]
    assert plan.findings[0].message.endswith("is there already, and was not made by aifctl")
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.REFUSED
    assert codes([outcome]) == ["AIF728"]
    after = live(control_plane, world, "Job", NAME, "batch/v1")
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert "labels" not in after["metadata"] or ENVIRONMENT not in after["metadata"]["labels"]
    assert "aifctl" not in managers(after)
    assert NAME not in [each.identity.name for each in world.inventory("digits").entries if each.uid]


def test_it_is_neither_pruned_nor_destroyed_with_the_model(control_plane: Cluster, world: World) -> None:
    control_plane.create(stranger(world))
    world.apply(world.wanted("digits", run(), config("settings")))
    world.apply(world.wanted("digits", config("settings")))
    world.apply(allow_prune=True)
    assert live(control_plane, world, "Job", NAME, "batch/v1")["metadata"].get("deletionTimestamp") is None


def test_the_run_is_made_when_the_name_is_free(control_plane: Cluster, world: World) -> None:
    control_plane.create(stranger(world))
    wanted = world.wanted("digits", run())
    world.apply(wanted)
    control_plane.delete(named(world, "Job", NAME, "batch/v1"))
    control_plane.wait_gone(named(world, "Job", NAME, "batch/v1"))
    assert of(world.plan(wanted), NAME).action is Action.CREATE
    assert [each.result for each in world.apply(wanted)] == [Result.APPLIED]
    there = live(control_plane, world, "Job", NAME, "batch/v1")
    assert world.inventory("digits").entries[0].uid == there["metadata"]["uid"]


def test_one_that_comes_between_plan_and_apply_is_seen(control_plane: Cluster, world: World) -> None:
    """The name was free when it was planned."""
    (outcome,) = _applied_late(control_plane, world, world.wanted("digits", run()))
    assert outcome.result is Result.FAILED
    assert codes([outcome]) == ["AIF728"]
    found = live(control_plane, world, "Job", NAME, "batch/v1")
    assert "aifctl" not in managers(found)
    assert not [each for each in world.inventory("digits").entries if each.uid == found["metadata"]["uid"]]


def _applied_late(plane: Cluster, world: World, wanted: Wanted) -> list[Outcome]:
    async def act(client: Client, records: Records) -> list[Outcome]:
        found = await planning.plan(client, records, world.request(wanted))
        await asyncio.to_thread(plane.create, stranger(world))
        async with Observer(client, f"{ENVIRONMENT}={world.environment}") as observer:
            return await apply.apply(found, records, Waiter(client, observer), Options(), lambda event: None)

    done: list[Outcome] = world.with_client(act)
    return done
