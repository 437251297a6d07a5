"""Runs (Argo Workflows, drivers of runs): made once, never patched, never pruned, not made again when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from aifctl.cluster import discovery, snapshot
from aifctl.cluster.client import Client
from aifctl.cluster.inventory import ENDED
from aifctl.cluster.outcome import Result
from aifctl.cluster.records import Records
from aifctl.plan.change import Action
from aifctl.plan.diff import LEFT, NOT_PATCHED
from tests.cluster.looking import live, named, of, quiet
from tests.cluster.world import Object, World, config, job
from tests.controlplane.cluster import Cluster
from tests.controlplane.fixtures import install_crds

ARGO = "argoproj.io/v1alpha1"


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    install_crds(control_plane, "argo-workflows")
    return World(control_plane.kubeconfig, namespace)


def workflow(image: str = "train:1") -> Object:
    steps = [{"name": "main", "container": {"image": image, "command": ["train"]}}]
    spec = {"entrypoint": "main", "templates": steps, "ttlStrategy": {"secondsAfterCompletion": 60}}
    return {"apiVersion": ARGO, "kind": "Workflow", "metadata": {"name": "train-3f9a"}, "spec": spec}


def driver(command: str = "true") -> Object:
    found = job("train-3f9a", command)
    found["metadata"]["labels"] = {"app.kubernetes.io/component": "run"}
    found["spec"]["suspend"] = True  # it runs when the test says so
    return found


def of_kind(kind: str) -> tuple[Object, Object, str]:
    """A run, the same run as another compile would write it, and its apiVersion."""
    if kind == "Workflow":
        return workflow(), workflow("train:2"), ARGO
    return driver(), driver("false"), "batch/v1"


def end(plane: Cluster, world: World, kind: str, version: str) -> None:
    """A Workflow's status as its controller would write it; a Job's by its own, on a simulated node."""
    there = named(world, kind, "train-3f9a", version)
    if kind == "Workflow":
        said = {"status": {"phase": "Succeeded", "finishedAt": "2026-01-01T00:00:00Z"}}
        labels = {"workflows.argoproj.io/completed": "true"}
        plane.patch(there, {"metadata": {"labels": labels}, **said}, manager="argo")
    else:
        plane.patch(there, {"spec": {"suspend": False}}, manager="queue")
        plane.wait(there, lambda found: found["status"].get("succeeded"))


@pytest.mark.parametrize("kind", ["Workflow", "Job"])
def test_a_run_is_made_once_and_never_touched(control_plane: Cluster, world: World, kind: str) -> None:
    run, other, version = of_kind(kind)
    wanted = world.wanted("digits", run, config("settings"))
    change = of(world.plan(wanted), "train-3f9a")
    assert (change.action, change.reason) == (Action.CREATE, "new run")
    assert [o.result for o in world.apply(wanted)] == [Result.APPLIED]
    assert quiet(world.plan(wanted))
    before = live(control_plane, world, kind, "train-3f9a", version)
    # The same name from another compile: it stays as it is, and so does what others write into it.
    control_plane.patch(named(world, kind, "train-3f9a", version), {"metadata": {"labels": {"note": "x"}}})
    edited = world.wanted("digits", other, config("settings", {"a": "2"}))
    change = of(world.plan(edited), "train-3f9a")
    assert (change.action, change.reason) == (Action.UNCHANGED, NOT_PATCHED)
    assert [o.result for o in world.apply(edited)] == [Result.APPLIED]
    after = live(control_plane, world, kind, "train-3f9a", version)
    assert (after["spec"], after["metadata"]["uid"]) == (before["spec"], before["metadata"]["uid"])
    # No spec wants it any more, then no model: it runs on.
    gone = world.wanted("digits", config("settings"))
    change = of(world.plan(gone), "train-3f9a")
    assert (change.action, change.reason) == (Action.UNCHANGED, LEFT)
    world.apply(gone)
    world.apply(allow_prune=True)
    assert live(control_plane, world, kind, "train-3f9a", version)["metadata"]["uid"] == before["metadata"]["uid"]
    assert [each.identity.name for each in world.inventory("digits").entries] == ["train-3f9a"]


@pytest.mark.parametrize("kind", ["Workflow", "Job"])
def test_a_run_that_was_seen_to_its_end_is_not_made_again(
    control_plane: Cluster, nodes: Cluster, world: World, kind: str
) -> None:
    run, _, version = of_kind(kind)
    wanted = world.wanted("digits", run, config("settings"))
    world.apply(wanted)
    end(control_plane, world, kind, version)
    assert quiet(world.plan(wanted))
    world.apply(wanted)  # nothing to do but to remember
    assert {each.identity.kind: each.observed == ENDED for each in world.inventory("digits").entries}[kind] is True
    assert [o.result for o in world.apply(wanted)] == [Result.UNCHANGED]
    control_plane.delete(live(control_plane, world, kind, "train-3f9a", version))
    control_plane.wait_gone(named(world, kind, "train-3f9a", version))
    change = of(world.plan(wanted), "train-3f9a")
    assert (change.action, change.reason) == (Action.UNCHANGED, "has run to its end, and was cleaned up since")
    assert [o.result for o in world.apply(wanted)] == [Result.UNCHANGED]
    assert control_plane.get(named(world, kind, "train-3f9a", version)) is None
    # Once no spec wants it, it is forgotten too.
    world.apply(world.wanted("digits", config("settings")))
    assert [each.identity.name for each in world.inventory("digits").entries] == ["settings"]


@pytest.mark.parametrize("kind", ["Workflow", "Job"])
def test_a_run_that_was_deleted_before_its_end_is_made_again(control_plane: Cluster, world: World, kind: str) -> None:
    run, _, version = of_kind(kind)
    wanted = world.wanted("digits", run)
    world.apply(wanted)
    first = live(control_plane, world, kind, "train-3f9a", version)
    control_plane.delete(first)
    control_plane.wait_gone(first)
    change = of(world.plan(wanted), "train-3f9a")
    assert (change.action, change.reason) == (Action.CREATE, "was deleted, not by aifctl")
    assert [o.result for o in world.apply(wanted)] == [Result.APPLIED]
    second = live(control_plane, world, kind, "train-3f9a", version)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert world.inventory("digits").entries[0].uid == second["metadata"]["uid"]


def test_an_apply_reads_no_more_of_a_workflow_than_its_metadata(control_plane: Cluster, world: World) -> None:
    """Its status tells of every step, and may be megabytes."""
    wanted = world.wanted("digits", workflow(), driver())
    world.apply(wanted)
    entries = world.inventory("digits").entries

    async def seen(client: Client, _: Records, *, brief: bool) -> dict[str, Mapping[str, Any]]:
        known = await discovery.discover(client)
        found = await snapshot.take(client, known, world.environment, wanted.objects, entries, brief=brief)
        return {identity.kind: each for identity, each in found.objects.items()}

    brief, whole = (world.with_client(partial(seen, brief=each)) for each in (True, False))
    assert brief.keys() == whole.keys() == {"Workflow", "Job"}
    assert "spec" not in brief["Workflow"]
    assert brief["Workflow"]["metadata"] == whole["Workflow"]["metadata"]
    assert brief["Workflow"]["apiVersion"] == ARGO
    assert brief["Job"] == whole["Job"]


def test_a_run_that_somebody_else_made_first_is_taken_as_it_is(control_plane: Cluster, world: World) -> None:
    """An apply that was killed after it had made the run, or another of two at a time."""
    wanted = world.wanted("digits", workflow())
    control_plane.create(dict(wanted.manifests[0].object))
    assert quiet(world.plan(wanted))
    assert [o.result for o in world.apply(wanted)] == [Result.APPLIED]
    there = live(control_plane, world, "Workflow", "train-3f9a", ARGO)
    assert world.inventory("digits").entries[0].uid == there["metadata"]["uid"]
    assert [o.result for o in world.apply(wanted)] == [Result.UNCHANGED]
