"""Apply against a real API server: what is written, what is left alone, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from aifctl.cluster import wanted as units
from aifctl.cluster.outcome import Options, Result
from aifctl.cluster.policy import Policy
from aifctl.plan.change import Action
from tests.cluster.world import World, actions, claim, codes, config, deployment, job, service
from tests.controlplane.cluster import Cluster


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


def live(plane: Cluster, world: World, kind: str, name: str, version: str = "v1") -> dict[str, Any] | None:
    return plane.get({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": world.namespace}})


def versions(plane: Cluster, world: World) -> dict[str, str]:
    """Name → resourceVersion of everything in the namespace, and of the inventory."""
    found = [*plane.list("v1", "ConfigMap", world.namespace), *plane.list("apps/v1", "Deployment", world.namespace)]
    ours = f"aif.dev/inventory-environment={world.environment}"
    found += plane.list("v1", "ConfigMap", "aif-system", labelSelector=ours)
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in found}


def test_a_second_apply_writes_nothing(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", config("settings"), service("digits"), job("once"))
    first = world.apply(wanted)
    assert [outcome.result for outcome in first] == [Result.APPLIED]
    assert {event.what for event in first[0].done} == {"created"}
    before = versions(control_plane, world)
    second = world.apply(wanted)
    assert [outcome.result for outcome in second] == [Result.UNCHANGED]
    assert not second[0].done
    assert versions(control_plane, world) == before
    assert set(actions(world.plan(wanted)).values()) == {Action.UNCHANGED}


def test_a_status_that_moves_is_no_drift(control_plane: Cluster, nodes: Cluster, world: World) -> None:
    wanted = world.wanted("digits", deployment("digits"))
    world.apply(wanted, options=Options(wait=True, timeout=30))
    assert set(actions(world.plan(wanted)).values()) == {Action.UNCHANGED}
    assert [o.result for o in world.apply(wanted)] == [Result.UNCHANGED]


def test_a_changed_manifest_is_shown_and_written_by_field(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("settings", {"a": "1", "b": "2"})))
    wanted = world.wanted("digits", config("settings", {"a": "3"}))
    (change,) = world.plan(wanted).changes
    assert change.action is Action.CHANGE
    assert {(f.shown_path, f.before, f.after) for f in change.fields} == {("data.a", "1", "3"), ("data.b", "2", None)}
    world.apply(wanted)
    assert live(control_plane, world, "ConfigMap", "settings")["data"] == {"a": "3"}


def test_drift_in_a_field_of_ours_is_repaired_and_others_fields_are_left(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", config("settings", {"a": "1"}))
    world.apply(wanted)
    there = live(control_plane, world, "ConfigMap", "settings")
    control_plane.patch(there, {"data": {"a": "hacked"}}, manager="kubectl-edit")
    control_plane.patch(there, {"metadata": {"annotations": {"note": "mine"}}}, manager="somebody")
    (change,) = world.plan(wanted).changes
    assert [(f.shown_path, f.before, f.after) for f in change.fields] == [("data.a", "hacked", "1")]
    world.apply(wanted)
    there = live(control_plane, world, "ConfigMap", "settings")
    assert there["data"] == {"a": "1"}
    assert there["metadata"]["annotations"] == {"note": "mine"}
    assert set(actions(world.plan(wanted)).values()) == {Action.UNCHANGED}


def test_a_conflict_names_the_field_and_its_owner(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", config("settings", {"a": "1"}))
    world.apply(wanted)
    control_plane.patch(live(control_plane, world, "ConfigMap", "settings"), {"data": {"a": "2"}}, manager="robot")
    plan = world.plan(wanted)
    assert codes(plan) == ["AIF720"]
    assert "`data.a` is owned by robot" in plan.findings[0].message
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.REFUSED
    assert live(control_plane, world, "ConfigMap", "settings")["data"] == {"a": "2"}
    (outcome,) = world.apply(wanted, force_conflicts=True)
    assert outcome.result is Result.APPLIED
    assert live(control_plane, world, "ConfigMap", "settings")["data"] == {"a": "1"}


def test_what_kubectl_applied_before_becomes_ours_and_its_leftovers_go(control_plane: Cluster, world: World) -> None:
    old = world.wanted("digits", config("settings", {"a": "old", "left": "over"})).manifests[0].object
    control_plane.create(dict(old))
    there = live(control_plane, world, "ConfigMap", "settings")
    control_plane.patch(there, {"data": {"a": "older"}}, manager="kubectl-client-side-apply")
    control_plane.patch(there, {"data": {"left": "behind"}}, manager="kubectl-client-side-apply")
    wanted = world.wanted("digits", config("settings", {"a": "1"}))
    plan = world.plan(wanted)
    assert ("data.left", "behind", None) in {(f.shown_path, f.before, f.after) for c in plan.changes for f in c.fields}
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    there = live(control_plane, world, "ConfigMap", "settings")
    assert there["data"] == {"a": "1"}
    assert set(actions(world.plan(wanted)).values()) == {Action.UNCHANGED}


def test_what_is_no_longer_wanted_is_pruned_and_holders_of_data_are_not(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("a"), config("b"), claim("data")))
    wanted = world.wanted("digits", config("a"))
    plan = world.plan(wanted)
    assert actions(plan)["ConfigMap/b"] is Action.DELETE
    assert actions(plan)["PersistentVolumeClaim/data"] is Action.UNCHANGED
    world.apply(wanted)
    assert live(control_plane, world, "ConfigMap", "b") is None
    assert live(control_plane, world, "PersistentVolumeClaim", "data") is not None
    assert {e.identity.name for e in world.inventory("digits").entries} == {"a", "data"}


def test_a_model_that_is_gone_from_git_is_pruned_and_one_that_does_not_compile_is_not(
    control_plane: Cluster, world: World
) -> None:
    digits, wine, iris = (world.wanted(name, config(name)) for name in ("digits", "wine", "iris"))
    world.apply(digits, wine, iris)
    world.apply(digits, frozen=frozenset({"wine"}))
    assert live(control_plane, world, "ConfigMap", "iris") is None
    assert live(control_plane, world, "ConfigMap", "wine") is not None
    assert {unit.model for unit in world.inventories()} == {"digits", "wine"}


def test_half_of_an_environment_does_not_leave_unasked(control_plane: Cluster, world: World) -> None:
    four = [world.wanted(name, config(name)) for name in ("a", "b", "c", "d")]
    world.apply(*four)
    outcomes = world.apply(four[0])
    assert {o.unit.model: o.result for o in outcomes}["d"] is Result.REFUSED
    assert set(codes(outcomes)) == {"AIF741"}
    assert live(control_plane, world, "ConfigMap", "d") is not None
    world.apply(four[0], allow_prune=True)
    assert live(control_plane, world, "ConfigMap", "d") is None


def test_an_empty_render_and_a_mass_prune_are_refused(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", *(config(f"c{n}") for n in range(30))))
    assert codes(world.apply(world.wanted("digits"))) == ["AIF741", "AIF740"]
    assert codes(world.apply(world.wanted("digits", config("c0")))) == ["AIF740"]
    assert len(control_plane.list("v1", "ConfigMap", world.namespace, labelSelector="aif.dev/model")) == 30
    assert [o.result for o in world.apply(world.wanted("digits", config("c0")), allow_prune=True)] == [Result.APPLIED]


def test_an_object_that_moves_to_another_model_is_handed_over(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("old", config("shared"), config("x")), world.wanted("new", config("y")))
    uid = live(control_plane, world, "ConfigMap", "shared")["metadata"]["uid"]
    outcomes = world.apply(world.wanted("old", config("x")), world.wanted("new", config("y"), config("shared")))
    assert [o.result for o in outcomes] == [Result.APPLIED, Result.APPLIED]
    there = live(control_plane, world, "ConfigMap", "shared")
    assert there["metadata"]["uid"] == uid
    assert there["metadata"]["labels"]["aif.dev/model"] == "new"
    assert "shared" not in {e.identity.name for e in world.inventory("old").entries}
    assert "shared" in {e.identity.name for e in world.inventory("new").entries}


def test_a_namesake_made_by_somebody_else_is_not_pruned(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("a"), config("b")))
    control_plane.delete(live(control_plane, world, "ConfigMap", "b"))
    control_plane.create({**config("b"), "metadata": {"name": "b", "namespace": world.namespace}})
    world.apply(world.wanted("digits", config("a")))
    assert live(control_plane, world, "ConfigMap", "b") is not None
    assert {e.identity.name for e in world.inventory("digits").entries} == {"a"}


def test_an_immutable_field_is_replaced_only_where_it_is_allowed(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", deployment("digits")))
    other = deployment("digits")
    other["spec"]["selector"]["matchLabels"]["app"] = other["spec"]["template"]["metadata"]["labels"]["app"] = "new"
    wanted = world.wanted("digits", other)
    plan = world.plan(wanted)
    (change,) = plan.changes
    assert change.action is Action.REPLACE
    assert "spec.selector" in change.reason
    assert codes(plan) == ["AIF726"]
    world.policy = Policy(may_replace=lambda kind, group: kind == "Deployment")
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    there = live(control_plane, world, "Deployment", "digits", "apps/v1")
    assert there["spec"]["selector"]["matchLabels"] == {"app": "new"}


def test_a_running_job_is_not_replaced_without_saying_so(control_plane: Cluster, nodes: Cluster, world: World) -> None:
    world.policy = Policy(may_replace=lambda kind, group: True)
    world.apply(world.wanted("digits", job("train")))
    wanted = world.wanted("digits", job("train", command="false"))
    assert codes(world.apply(wanted)) == ["AIF727"]
    (outcome,) = world.apply(wanted, confirm_replace=True)
    assert outcome.result is Result.APPLIED, outcome.findings


def test_an_invalid_object_of_one_model_holds_up_no_other(control_plane: Cluster, world: World) -> None:
    bad = deployment("bad", unknown_field=1)
    outcomes = world.apply(world.wanted("bad", bad), world.wanted("good", config("good")))
    assert {o.unit.model: o.result for o in outcomes} == {"bad": Result.FAILED, "good": Result.APPLIED}
    assert "unknown_field" in outcomes[0].findings[0].message
    assert live(control_plane, world, "Deployment", "bad", "apps/v1") is None


def test_a_namespace_and_what_is_in_it_come_together(control_plane: Cluster, world: World) -> None:
    """Planned before there is a namespace, applied in one go."""
    name = f"{world.namespace}-more"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    inside = config("settings")
    wanted = world.wanted("digits", space, inside)
    moved = {**wanted.manifests[1].object, "metadata": {**wanted.manifests[1].metadata, "namespace": name}}

    from aifctl.manifest import Manifest

    wanted = units.wanted(wanted.unit, (wanted.manifests[0], Manifest(moved)))
    plan = world.plan(wanted)
    assert not plan.findings
    assert "after its namespace" in next(c.reason for c in plan.changes if c.identity.kind == "ConfigMap")
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    control_plane.delete(space)
