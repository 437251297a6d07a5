"""Sets of fields: the laws they obey, and that they are read as the API server means them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl.cluster import fields
from aifctl.plan.change import Match
from tests.cluster.looking import live, named
from tests.cluster.sets import OBJECTS, everything, some_of
from tests.cluster.world import World, config, deployment, service
from tests.controlplane.cluster import Cluster

LAW = settings(max_examples=60, deadline=None)
WITH_TWO = OBJECTS.flatmap(lambda value: st.tuples(st.just(value), some_of(value), some_of(value)))


@LAW
@given(OBJECTS)
def test_the_whole_projects_to_itself_and_leaves_nothing(value: dict[str, Any]) -> None:
    assert fields.part(value, everything(value)) == value
    left = fields.without(value, everything(value))
    assert not {key for key, item in left.items() if item not in ({}, [])}
    assert fields.without(value, {}) == value


@LAW
@given(WITH_TWO)
def test_union_is_a_union(case: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    value, a, b = case
    both = fields.union((a, b))
    assert both == fields.union((b, a)) == fields.union((both, a)) == fields.union((both, b))
    assert fields.union((a, {})) == a
    assert set(fields.paths(both)) >= set(fields.paths(a)) | set(fields.paths(b))
    for each in (a, b):
        assert fields.part(fields.part(value, both), each) == fields.part(value, each)


@LAW
@given(WITH_TWO)
def test_minus_takes_away_just_what_it_says(case: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    _, a, b = case
    assert fields.minus(a, a) == {}
    assert fields.minus(a, {}) == a
    assert fields.minus({}, a) == {}
    rest = fields.minus(a, b)
    assert set(fields.paths(rest)) == set(fields.paths(a)) - set(fields.paths(b))
    assert set(fields.paths(fields.union((rest, b)))) == set(fields.paths(a)) | set(fields.paths(b))


@LAW
@given(WITH_TWO)
def test_what_is_held_is_what_is_listed(case: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    value, a, b = case
    assert all(fields.holds(a, path) for path in fields.paths(a))
    outside = set(fields.paths(everything(value))) - set(fields.paths(a))
    assert not [path for path in outside if fields.holds(a, path)]
    assert not fields.holds({}, ("spec",))
    assert all(fields.holds(fields.union((a, b)), path) for path in fields.paths(b))


@LAW
@given(WITH_TWO)
def test_what_is_taken_away_is_gone_and_the_rest_stays(
    case: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
) -> None:
    value, a, _ = case
    kept = copy.deepcopy(value)
    left, rest = fields.without(value, a), whole_items(fields.minus(everything(value), a))
    assert value == kept
    assert leaves(fields.part(left, rest)) == leaves(fields.part(value, rest))
    gone = {path for path in fields.paths(a) if path[-1] != "name"}
    assert not gone & set(fields.paths(everything(left)))


def whole_items(found: dict[str, Any]) -> dict[str, Any]:
    """Without what is left of items that went with their key."""
    kept = {key: inside for key, inside in found.items() if not key.startswith("k:") or "." in inside}
    return {
        key: whole_items(inside) if inside else {} for key, inside in kept.items() if not inside or whole_items(inside)
    }


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict) and value:
        return [(key, leaf) for key, item in sorted(value.items()) for leaf in leaves(item)]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [leaf for item in value for leaf in leaves(item)]
    return [value] if value not in ({}, []) else []


@LAW
@given(WITH_TWO)
def test_a_takeover_is_a_union_and_happens_once(case: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    value, a, b = case
    ours = entry("aifctl", "Apply", a)
    theirs = entry("controller", "Update", b)
    status = {**entry("kubectl-edit", "Update", b), "subresource": "status"}
    old = {**entry("kubectl-edit", "Update", b), "apiVersion": "apps/v1beta1"}
    found = {**value, "apiVersion": "apps/v1", "metadata": {"managedFields": [ours, theirs, status, old]}}
    assert fields.migrated(found) is None
    for manager, operation in (
        ("kubectl-edit", "Update"),
        ("helm", "Apply"),
        ("kubectl", "Apply"),
        ("aifctl", "Update"),
    ):
        taken = entry(manager, operation, b)
        found["metadata"] = {"managedFields": [ours, theirs, taken, status, old]}
        managed = fields.migrated(found)
        assert managed is not None
        assert [each for each in managed if each["manager"] != "aifctl"] == [theirs, status, old]
        (mine,) = (each for each in managed if each["manager"] == "aifctl")
        assert mine["fieldsV1"] == fields.union((a, b))
        assert fields.migrated({**found, "metadata": {"managedFields": managed}}) is None
        assert fields.others(found) == fields.union((b,))
    found["metadata"] = {"managedFields": [ours, entry("kubectl", "Update", b)]}
    assert fields.migrated(found) is None


def entry(manager: str, operation: str, owned: dict[str, Any]) -> dict[str, Any]:
    return {
        "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }  # fmt: skip


@LAW
@given(WITH_TWO)
def test_the_digest_moves_with_values_and_with_owners_and_with_nothing_else(
    case: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
) -> None:
    value, a, b = case
    before = fields.observed(value, a)
    assert before == fields.observed(copy.deepcopy(value), copy.deepcopy(a))
    assert (fields.observed(value, b) == before) == (a == b)
    assert fields.observed({**value, "new": 1}, a) == before
    for path in fields.paths(a):
        if len(path) == 1:
            assert fields.observed({**value, path[0]: "quite another value"}, a) != before


@pytest.mark.parametrize(
    "managed",
    [
        None,
        "x",
        {},
        ["x", None],
        [{"manager": "aifctl", "operation": "Apply"}],
        [{"manager": "aifctl", "operation": "Apply", "fieldsV1": None}],
    ],
)
def test_an_object_without_a_word_on_owners_is_nobodys(managed: Any) -> None:
    for found in ({}, {"metadata": None}, {"metadata": {"managedFields": managed}}):
        assert fields.owned(found) == {}
        assert fields.others(found) == {}
        assert fields.owners(found, ("spec",)) == []
        assert fields.migrated(found) is None


def test_items_of_lists_are_told_by_their_keys_with_the_servers_defaults() -> None:
    key = 'k:{"containerPort":8080,"protocol":"TCP"}'
    assert fields.is_item(key, 0, {"containerPort": 8080})
    assert not fields.is_item(key, 0, {"containerPort": 8080, "protocol": "UDP"})
    assert not fields.is_item(key, 0, "8080")
    assert fields.is_item('v:"a"', 0, "a")
    assert not fields.is_item("v:1", 0, True)
    assert fields.is_item("i:2", 2, object())
    assert not fields.is_item("k:{broken", 0, {})
    owned = {"f:ports": {key: {".": {}, "f:name": {}}}}
    path = ("ports", Match((("containerPort", 8080), ("protocol", "TCP"))), "name")
    assert list(fields.paths(owned)) == [path]
    assert fields.holds(owned, path)


def test_what_the_server_says_we_own_is_what_we_sent(control_plane: Cluster, namespace: str) -> None:
    """On real objects: our part of the live object is the manifest, whatever the server filled in around it."""
    world = World(control_plane.kubeconfig, namespace)
    mounts = {"volumeMounts": [{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/b"}]}
    pods = deployment(
        "digits", env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], args=["x", "y"], **mounts
    )
    pods["spec"]["template"]["spec"] |= {
        "volumes": [{"name": "a", "emptyDir": {}}],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "pull"}],
    }
    kept = config("digits", {"dotted.key": "1", "under_score": "2", "0": "3"})
    kept["metadata"]["finalizers"] = ["example.com/a", "example.com/b"]
    wanted = world.wanted("digits", pods, service("digits"), kept)
    world.apply(wanted)
    for manifest in wanted.manifests:
        found = live(control_plane, world, manifest.kind, manifest.name, manifest.api_version)
        mine = fields.part(found, fields.owned(found))
        sent = {key: value for key, value in manifest.object.items() if key not in ("apiVersion", "kind")}
        sent["metadata"] = {key: value for key, value in sent["metadata"].items() if key not in ("name", "namespace")}
        assert mine == sent
    control_plane.patch(named(world, "ConfigMap", "digits"), {"metadata": {"finalizers": None}})
