"""What goes when nobody wants it any more, and everything that stays although nobody does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aifctl.cluster import prune, wanted
from aifctl.cluster.discovery import Discovery, Resource
from aifctl.cluster.inventory import Entry, Inventory, Unit
from aifctl.cluster.outcome import Options, Result
from aifctl.cluster.prune import Pruning
from aifctl.cluster.snapshot import Snapshot
from aifctl.manifest import Identity
from aifctl.plan.change import Action
from aifctl.plan.masking import masking
from tests.cluster.looking import apply_one, live, moved, named, of
from tests.cluster.world import Object, World, actions, claim, codes, config, deployment, service
from tests.controlplane.cluster import Cluster

UNIT = Unit("prod", "vision", "digits")


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


# Pure


def resource(group: str, kind: str, namespaced: bool = True) -> Resource:
    return Resource(group, "v1", kind, f"{kind.lower()}s", namespaced, frozenset({"delete"}))


def entry(kind: str = "ConfigMap", name: str = "x", uid: str = "1", group: str = "") -> Entry:
    return Entry(Identity(group, kind, "vision", name), "v1", uid, "i", "o", "5")


def there(kind: str = "ConfigMap", name: str = "x", uid: str = "1", group: str = "", **metadata: Any) -> Object:
    """A live object of ours; `metadata` changes what it says."""
    labels = {"aif.dev/environment": "prod", "aif.dev/tenant": "vision", "aif.dev/model": "digits"}
    fields = [{"manager": "aifctl", "operation": "Apply", "fieldsV1": {"f:data": {}}}]
    found = {"name": name, "namespace": "vision", "uid": uid, "labels": labels, "managedFields": fields, **metadata}
    return {
        "apiVersion": f"{group}/v1" if group else "v1",
        "kind": kind,
        "metadata": found,
        "data": {"a": "secret-value"},
    }


def removals(entries: list[Entry], objects: list[Object], homes: dict[Identity, Unit] | None = None,
             failed: frozenset[str] = frozenset(), **choices: bool) -> list[prune.Removal]:  # fmt: skip
    kinds = [resource("", "ConfigMap"), resource("", "Secret"), resource("", "Service"), resource("apps", "Deployment"),
             resource("", "PersistentVolumeClaim"), resource("argoproj.io", "Workflow")]  # fmt: skip
    by_kind = {(each.group, each.kind): each for each in kinds}
    known = {Identity(each["apiVersion"].rpartition("/")[0], each["kind"], "vision", each["metadata"]["name"]): each
             for each in objects}  # fmt: skip
    found = Discovery({(each.api_version, each.kind): each for each in kinds}, by_kind, failed)
    masks = masking((), (), b"salt")
    pruning = Pruning(unit=UNIT, snapshot=Snapshot(found, known), homes=homes or {}, masks=lambda: masks, **choices)
    return prune.removals(pruning, Inventory(unit=UNIT, entries=tuple(entries)), frozenset())


def test_what_is_ours_and_unwanted_goes() -> None:
    (found,) = removals([entry()], [there()])
    assert (found.delete, found.remembered) == (True, True)
    assert found.change is not None
    assert found.change.action is Action.DELETE


NOT_OURS = {"managedFields": [], "labels": {}}
PINNED = {"annotations": {"argocd.argoproj.io/sync-options": "Replace=true, Prune=false"}}


@pytest.mark.parametrize(
    ("on_record", "found", "reason", "remembered"),
    [
        (entry(), there(uid="2"), "another object of this name", False),
        (entry(), there(labels={"aif.dev/environment": "lab"}), "handed over to environment lab", False),
        (entry(), there(labels={"aif.dev/environment": "prod", "aif.dev/tenant": "t", "aif.dev/model": "wine"}),
         "handed over to prod/t/wine", False),
        (entry(), there(annotations={"argocd.argoproj.io/tracking-id": "x"}), "handed over to Argo CD", False),
        (entry(), there(**NOT_OURS), "nothing on it says that it is ours", False),
        (entry(uid=""), there(**NOT_OURS), "nothing on it says that it is ours", False),
        (entry(), there(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["a/b"]), "finalizers: a/b", True),
        (entry(), there(**PINNED), "marked not to be pruned", True),
        (entry("PersistentVolumeClaim"), there("PersistentVolumeClaim"), "PersistentVolumeClaim is never pruned", True),
        (entry("Workflow", group="argoproj.io"), there("Workflow", group="argoproj.io"), "left to finish", True),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_kept_and_said(on_record: Entry, found: Object, reason: str, remembered: bool) -> None:
    (removal,) = removals([on_record], [found])
    assert (removal.delete, removal.remembered) == (False, remembered)
    assert removal.change is not None
    assert removal.change.action is Action.UNCHANGED
    assert reason in removal.change.reason


def test_whoever_destroys_takes_runs_and_then_data_along() -> None:
    entries = [entry("Workflow", group="argoproj.io"), entry("PersistentVolumeClaim"), entry()]
    objects = [there("Workflow", group="argoproj.io"), there("PersistentVolumeClaim"), there(**PINNED)]
    goes = {each.entry.identity.kind for each in removals(entries, objects, runs=True) if each.delete}
    assert goes == {"Workflow", "ConfigMap"}
    assert all(each.delete for each in removals(entries, objects, runs=True, holders=True))


def test_a_home_elsewhere_is_a_hand_over_whatever_the_labels_say() -> None:
    new = Unit("prod", "vision", "wine")
    (found,) = removals([entry()], [there(**NOT_OURS)], {entry().identity: new})
    assert not found.delete
    assert found.change is not None
    assert found.change.reason == "handed over to prod/vision/wine"


def test_what_is_gone_is_forgotten_and_what_can_not_be_seen_is_not() -> None:
    gone = entry()
    unknown = entry("Metric", group="metrics.example.com")
    (found,) = removals([gone], [])
    assert (found.change, found.delete, found.remembered) == (None, False, False)
    (found,) = removals([unknown], [])
    assert not found.remembered  # its definition is gone, and every object of it with that
    (found,) = removals([unknown], [], failed=frozenset({"metrics.example.com"}))
    assert found.remembered


def test_the_order_of_deletion_is_the_reverse_of_apply() -> None:
    kinds = [("Secret", ""), ("ConfigMap", ""), ("Service", ""), ("Deployment", "apps")]
    found = removals(
        [entry(kind, group=group) for kind, group in kinds], [there(kind, group=group) for kind, group in kinds]
    )
    assert [each.entry.identity.kind for each in found] == ["Deployment", "Service", "ConfigMap", "Secret"]


def test_a_deleted_secret_is_masked() -> None:
    (found,) = removals([entry("Secret")], [there("Secret")])
    assert found.change is not None
    assert "secret-value" not in repr(found.change)
    assert "(secret " in str(found.change.fields[0].before["data"]["a"])


# On a real API server


def test_holders_of_data_and_of_other_objects_stay(control_plane: Cluster, world: World) -> None:
    space: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{world.namespace}-own"}}
    names = {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    group = f"{world.namespace}.example.com"
    crd: Object = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names,
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}]},
    }  # fmt: skip
    try:
        (outcome,) = world.apply(world.wanted("digits", space, crd, claim("data"), config("a"), config("b")))
        assert outcome.result is Result.APPLIED, outcome.findings
        wanted = world.wanted("digits", config("a"))
        plan = world.plan(wanted)
        assert actions(plan) == {
            f"Namespace/{space['metadata']['name']}": Action.UNCHANGED,
            f"CustomResourceDefinition/things.{group}": Action.UNCHANGED,
            "PersistentVolumeClaim/data": Action.UNCHANGED,
            "ConfigMap/a": Action.UNCHANGED,
            "ConfigMap/b": Action.DELETE,
        }
        assert of(plan, "data").reason == "a PersistentVolumeClaim is never pruned"
        (outcome,) = world.apply(wanted)
        assert outcome.result is Result.APPLIED
        for kept in (space, crd, named(world, "PersistentVolumeClaim", "data")):
            assert control_plane.get(kept) is not None
        assert len(world.inventory("digits").entries) == 4  # still on record: a destroy may take them
        assert {o.result for o in world.apply(allow_prune=True)} == {Result.APPLIED}
        assert control_plane.get(space) is not None
        assert len(world.inventory("digits").entries) == 3
    finally:
        control_plane.delete(crd)
        control_plane.delete(space)


@pytest.mark.parametrize("first", ["giver", "taker", "both"])
def test_an_object_that_moves_between_models_survives_in_either_order(
    control_plane: Cluster, world: World, first: str
) -> None:
    world.apply(world.wanted("giver", config("shared"), config("x")), world.wanted("taker", config("y")))
    uid = live(control_plane, world, "ConfigMap", "shared")["metadata"]["uid"]
    giver, taker = world.wanted("giver", config("x")), world.wanted("taker", config("y"), config("shared"))
    plan = world.plan(giver, taker)
    reasons = {change.reason for change in plan.changes if change.identity.name == "shared"}
    assert f"handed over to {world.namespace}/vision/taker" in reasons
    assert Action.DELETE not in actions(plan).values()
    if first == "both":
        world.apply(giver, taker)
    else:
        for model in sorted(("giver", "taker"), key=lambda name: name != first):
            assert [each.result for each in apply_one(world, model, giver, taker)] == [Result.APPLIED]
    there = live(control_plane, world, "ConfigMap", "shared")
    assert there["metadata"]["uid"] == uid
    assert there["metadata"]["labels"]["aif.dev/model"] == "taker"
    assert {each.identity.name for each in world.inventory("giver").entries} == {"x"}
    assert {each.identity.name for each in world.inventory("taker").entries} == {"shared", "y"}
    assert {o.result for o in world.apply(giver, taker)} == {Result.UNCHANGED}


def test_an_object_does_not_move_between_environments_without_a_word(control_plane: Cluster, world: World) -> None:
    """It is refused while the other environment has it, and once it has another's label nobody else prunes it."""
    world.apply(world.wanted("digits", config("shared"), config("x")))
    space = control_plane.create_namespace()
    other = replace(world, namespace=space)
    taken = wanted.wanted(other.unit("digits"), moved(other, "digits", world.namespace, config("shared")))
    assert codes(other.plan(taken)) == ["AIF728"]
    there = named(world, "ConfigMap", "shared")
    control_plane.patch(there, {"metadata": {"labels": {"aif.dev/environment": None}}})
    (outcome,) = other.apply(taken, force_conflicts=True)
    assert outcome.result is Result.APPLIED, outcome.findings
    plan = world.plan(world.wanted("digits", config("x")))
    assert of(plan, "shared").reason == f"handed over to environment {space}"
    world.apply(world.wanted("digits", config("x")))
    assert live(control_plane, world, "ConfigMap", "shared")["metadata"]["labels"]["aif.dev/environment"] == space
    assert {each.identity.name for each in world.inventory("digits").entries} == {"x"}
    control_plane.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})


def test_old_settings_stay_until_the_new_pods_are_healthy(control_plane: Cluster, nodes: Cluster, world: World) -> None:
    """Apply, wait, prune (flux2#3378): a rollout that fails leaves what the old pods read."""
    world.apply(world.wanted("digits", deployment("pods"), config("old")), options=Options(wait=True, timeout=30))
    bad = world.wanted("digits", deployment("pods", image="bad-image:2"), config("new"))
    (outcome,) = world.apply(bad, options=Options(wait=True, timeout=3))
    assert outcome.result is Result.FAILED
    assert live(control_plane, world, "ConfigMap", "old")
    assert "old" in {each.identity.name for each in world.inventory("digits").entries}
    good = world.wanted("digits", deployment("pods", image="server:2"), config("new"))
    (outcome,) = world.apply(good, options=Options(wait=True, timeout=30))
    assert outcome.result is Result.APPLIED, outcome.findings
    assert control_plane.get(named(world, "ConfigMap", "old")) is None


def test_what_a_finalizer_holds_stays_on_record_until_it_is_gone(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("a"), config("held")))
    there = named(world, "ConfigMap", "held")
    control_plane.patch(there, {"metadata": {"finalizers": ["example.com/hold"]}}, manager="somebody")
    wanted = world.wanted("digits", config("a"))
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED
    assert "held" in {each.identity.name for each in world.inventory("digits").entries}
    assert "example.com/hold" in of(world.plan(wanted), "held").reason
    control_plane.patch(there, {"metadata": {"finalizers": None}}, manager="somebody")
    world.apply(wanted)
    assert "held" not in {each.identity.name for each in world.inventory("digits").entries}


def test_pods_and_replica_sets_of_a_deployment_go_with_it(control_plane: Cluster, nodes: Cluster, world: World) -> None:
    world.apply(
        world.wanted("digits", deployment("pods"), service("pods"), config("a")), options=Options(wait=True, timeout=30)
    )
    assert control_plane.list("v1", "Pod", world.namespace)
    world.apply(world.wanted("digits", config("a")))
    left = named(world, "Deployment", "pods", "apps/v1")
    assert control_plane.get(left) is None
    for pod in control_plane.list("v1", "Pod", world.namespace):
        control_plane.wait_gone(pod)
