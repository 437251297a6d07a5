"""What was applied by other means before becomes ours: by kubectl (the real program), by Helm, by hand."""

from __future__ import annotations

import json

import pytest

from aifctl.cluster.outcome import Options, Result
from aifctl.cluster.wanted import Wanted
from aifctl.plan.change import Action
from aifctl.plan.masking import LAST_APPLIED
from tests.cluster.looking import changed, forget, kubectl, live, managers, named, of, quiet
from tests.cluster.world import World, codes, config, deployment, service
from tests.controlplane.cluster import Cluster

SERVER = "spec.template.spec.containers[server]"


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


def old_things(world: World) -> str:
    """As somebody had them in a folder of manifests, with more in them than aifctl wants."""
    pods = deployment("pods", replicas=3, image="server:0", env=[{"name": "OLD", "value": "1"}])
    pods["metadata"]["labels"] = {"old": "label"}
    found = world.wanted("digits", pods, service("door"), config("settings", {"a": "0", "left": "over"}))
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [each.object for each in found.manifests]})


def new_things(world: World) -> Wanted:
    return world.wanted("digits", deployment("pods", replicas=3), service("door"), config("settings"))


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["client side", "server side"])
def test_what_kubectl_applied_is_taken_over_without_a_trace(
    control_plane: Cluster, world: World, how: tuple[str, ...]
) -> None:
    kubectl(control_plane, world, "apply", *how, "-f", "-", given=old_things(world))
    wanted = new_things(world)
    plan = world.plan(wanted)
    assert not plan.findings
    told = {name: {path: after for path, _, after in found} for name, found in changed(plan).items()}
    for found in told.values():  # kubectl's copy of the whole object goes as well
        copies = [path for path in found if path.startswith("metadata.annotations")]
        assert len(copies) == (0 if how else 1)
        assert all(found.pop(path) is None for path in copies)
    # Defaults that kubectl's manager owned are no removals: the server fills them in again.
    assert told == {
        "pods": {"metadata.labels.old": None, f"{SERVER}.env": None, f"{SERVER}.image": "server:1"},
        "settings": {"data.a": "1", "data.left": None},
        "door": {},
    }
    assert of(plan, "door").reason == ("takes the fields of kubectl" if how else "")
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    for kind, name, version in (
        ("Deployment", "pods", "apps/v1"),
        ("Service", "door", "v1"),
        ("ConfigMap", "settings", "v1"),
    ):
        there = live(control_plane, world, kind, name, version)
        assert managers(there) <= {"aifctl", "kube-controller-manager"}
        assert LAST_APPLIED not in there["metadata"].get("annotations", {})
    there = live(control_plane, world, "Deployment", "pods", "apps/v1")
    assert "old" not in there["metadata"]["labels"]
    assert "env" not in there["spec"]["template"]["spec"]["containers"][0]
    assert there["spec"]["progressDeadlineSeconds"] == 600
    assert live(control_plane, world, "ConfigMap", "settings")["data"] == {"a": "1"}
    assert quiet(world.plan(wanted))
    forget(control_plane, world)
    assert quiet(world.plan(wanted))


def test_what_people_edited_goes_back_and_what_they_ordered_stays(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", deployment("pods", replicas=2), config("settings"))
    world.apply(wanted)
    do = "deployment/pods"
    kubectl(control_plane, world, "scale", do, "--replicas=5")
    kubectl(control_plane, world, "set", "image", do, "server=hacked:1")
    kubectl(control_plane, world, "set", "env", do, "EXTRA=1")
    kubectl(control_plane, world, "patch", do, "-p", '{"spec": {"paused": true}}')
    kubectl(control_plane, world, "label", do, "team=mine")
    kubectl(control_plane, world, "annotate", do, "note=mine")
    plan = world.plan(wanted)
    assert not plan.findings
    assert changed(plan) == {
        "pods": {
            ("spec.replicas", 5, 2),
            (f"{SERVER}.image", "hacked:1", "server:1"),
            (f"{SERVER}.env", '[{"name": "EXTRA", "value": "1"}]', None),
            ("spec.paused", True, None),
        }
    }
    world.apply(wanted)
    kubectl(control_plane, world, "rollout", "restart", do)
    there = live(control_plane, world, "Deployment", "pods", "apps/v1")
    assert there["metadata"]["labels"]["team"] == there["metadata"]["annotations"]["note"] == "mine"
    assert "kubectl.kubernetes.io/restartedAt" in there["spec"]["template"]["metadata"]["annotations"]
    assert quiet(world.plan(wanted))
    forget(control_plane, world)
    assert quiet(world.plan(wanted))


@pytest.mark.parametrize("major", [3, 4])
def test_what_helm_installed_is_taken_over(control_plane: Cluster, world: World, major: int) -> None:
    """Helm 3 writes by update, Helm 4 by server-side apply, both as `helm`."""
    found = world.wanted("digits", config("settings", {"a": "0", "chart": "value"})).manifests[0].object
    notes = {"meta.helm.sh/release-name": "digits", "meta.helm.sh/release-namespace": world.namespace}
    found = {**found, "metadata": {**found["metadata"], "annotations": notes}}
    if major == 4:
        control_plane.apply(found, manager="helm")
    else:
        control_plane.create({**found, "data": {}, "metadata": {**found["metadata"], "annotations": {}}})
        control_plane.patch(found, {"data": found["data"], "metadata": {"annotations": notes}}, manager="helm")
    wanted = world.wanted("digits", config("settings"))
    plan = world.plan(wanted)
    assert not plan.findings
    assert {("data.a", "0", "1"), ("data.chart", "value", None)} <= changed(plan)["settings"]
    world.apply(wanted)
    there = live(control_plane, world, "ConfigMap", "settings")
    assert there["data"] == {"a": "1"}
    assert not there["metadata"].get("annotations")
    assert quiet(world.plan(wanted))


def test_names_that_controllers_share_are_not_taken_for_people(control_plane: Cluster, world: World) -> None:
    """An operator in Python writes as OpenAPI-Generator: to take its fields would be undone for ever."""
    wanted = world.wanted("digits", config("settings"))
    world.apply(wanted)
    there = named(world, "ConfigMap", "settings")
    for manager in ("OpenAPI-Generator", "rancher"):
        control_plane.patch(there, {"metadata": {"annotations": {manager: "seen"}}}, manager=manager)
    assert quiet(world.plan(wanted))
    control_plane.patch(there, {"data": {"a": "2"}}, manager="OpenAPI-Generator")
    assert codes(world.plan(wanted)) == ["AIF720"]
    control_plane.patch(there, {"data": {"a": "3"}}, manager="rancher")
    assert changed(world.plan(wanted)) == {"settings": {("data.a", "3", "1")}}


def test_replicas_of_a_deployment_taken_over_do_not_dip(control_plane: Cluster, world: World) -> None:
    """kubectl applied replicas: 3, an autoscaler has made 6 of it, and our manifest has none."""
    kubectl(control_plane, world, "apply", "-f", "-", given=old_things(world))
    there = named(world, "Deployment", "pods", "apps/v1")
    control_plane.patch(there, {"spec": {"replicas": 6}}, manager="kubectl-edit")
    wanted = world.wanted("digits", deployment("pods", replicas=None), service("door"), config("settings"))
    change = of(world.plan(wanted), "pods")
    assert change.reason == "hands its 6 replicas over to whatever scales it"
    assert "spec.replicas" not in {field.shown_path for field in change.fields}
    version = live(control_plane, world, "Deployment", "pods", "apps/v1")["metadata"]["resourceVersion"]
    world.apply(wanted)
    assert replicas_since(control_plane, world, version) == {6}
    assert quiet(world.plan(wanted))


def replicas_since(plane: Cluster, world: World, version: str) -> set[int]:
    """What `spec.replicas` of any Deployment here has been since a resourceVersion, by the events of a watch."""
    query = f"?watch=1&resourceVersion={version}&timeoutSeconds=1"
    answer = plane.client.get(f"/apis/apps/v1/namespaces/{world.namespace}/deployments{query}")
    return {json.loads(line)["object"]["spec"]["replicas"] for line in answer.text.splitlines()}


def test_a_leftover_that_blocks_every_apply_goes(control_plane: Cluster, world: World) -> None:
    """The wedge: somebody owns the key of a list's item, and we its required field. Dropped by us alone it is invalid,
    so every dry-run is refused until their fields are ours."""
    both = deployment("pods")
    both["spec"]["template"]["spec"]["containers"].append({"name": "old", "image": "old:1"})
    world.apply(world.wanted("digits", both))
    there = live(control_plane, world, "Deployment", "pods", "apps/v1")
    held = {'k:{"name":"old"}': {".": {}, "f:name": {}}}
    entry = {
        "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": held}}}},
    }  # fmt: skip
    control_plane.patch(there, {"metadata": {"managedFields": [*there["metadata"]["managedFields"], entry]}})
    wanted = world.wanted("digits", deployment("pods"))
    plan = world.plan(wanted)
    assert not plan.findings, plan.findings
    assert {path for path, _, _ in changed(plan)["pods"]} == {"spec.template.spec.containers[old]"}
    (outcome,) = world.apply(wanted, options=Options())
    assert outcome.result is Result.APPLIED, outcome.findings
    there = live(control_plane, world, "Deployment", "pods", "apps/v1")
    assert [each["name"] for each in there["spec"]["template"]["spec"]["containers"]] == ["server"]
    assert quiet(world.plan(wanted))
    # A spec that is invalid in itself is told as such, whoever owned what before.
    control_plane.patch(there, {"spec": {"paused": True}}, manager="kubectl-edit")
    plan = world.plan(world.wanted("digits", deployment("pods", image="")))
    assert codes(plan) == ["AIF721"]
    assert plan.changes.changes[0].action is Action.CHANGE
