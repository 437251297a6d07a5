"""Faults on the way to the API server and in the cluster, in the middle of an apply: nothing lost, nothing foreign
touched, and the next run finishes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from aifctl.cluster import access, apply, planning, records, writing
from aifctl.cluster.client import Client
from aifctl.cluster.errors import ApiError
from aifctl.cluster.outcome import Event, Options, Outcome, Result
from aifctl.cluster.records import Records
from aifctl.cluster.wait import Waiter
from aifctl.cluster.wanted import Wanted
from aifctl.cluster.watch import Observer
from aifctl.plan.change import Action
from aifctl.render.ownership import ENVIRONMENT
from tests.cluster import applier
from tests.cluster.standing import AT_ONCE, covered, exact, finished, ours, strangers
from tests.cluster.world import World, actions, codes, config, deployment
from tests.controlplane.cluster import Cluster, Refused, path_of
from tests.controlplane.plane import ControlPlane
from tests.controlplane.proxy import Action as Fault
from tests.controlplane.proxy import Call, Cut, FaultProxy, Forward, Respond, Rule
from tests.controlplane.webhooks import Webhooks

RECORD = "/namespaces/aif-system/configmaps"
NOWHERE = access.Access(server="https://localhost")
REAL = "^((?!dryRun).)*$"


@pytest.fixture(scope="module")
def shared_proxy(control_plane: Cluster) -> Iterator[FaultProxy]:
    with FaultProxy(control_plane) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: FaultProxy) -> FaultProxy:
    shared_proxy.clear()
    return shared_proxy


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return applier.world(control_plane.kubeconfig, namespace)


def through(proxy: FaultProxy, world: World, patience: float) -> World:
    return replace(world, kubeconfig=proxy.kubeconfig, patience=patience)


def named(world: World, kind: str, name: str, version: str = "v1") -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": world.namespace}}


@contextlib.contextmanager
def process_that_ends() -> Iterator[None]:
    """What is applied inside is by a process that is gone afterwards."""
    process = subprocess.Popen(["true"])
    process.wait()
    holder = "/".join([*Records(Client(NOWHERE), "").holder.split("/")[:2], str(process.pid), "0"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_ourselves", lambda: holder)
        yield


# One request of an apply goes wrong: every kind of request, every kind of fault

REQUESTS = {
    "an object": ("apply", "/configmaps/comes-1", 1),
    "a changed object": ("apply", "/deployments/digits", 1),
    "a run": ("create", "/jobs", 1),
    "a delete": ("delete", "/configmaps/goes-1", 1),
    "the superset": ("update", RECORD, 1),
    "the exact inventory": ("update", RECORD, 2),
}
PASSING: dict[str, Fault] = {
    "429": Respond(429, retry_after=0),
    "503": Respond(503),
    "500 after commit": Forward(then=Respond(500)),
    "cut": Cut(),
    "cut after commit": Forward(then=Cut()),
}


def rule(request: str, fault: Fault, times: int | None) -> Rule:
    on, path, nth = REQUESTS[request]
    return Rule(on, fault, path=path, query=REAL, nth=nth, times=times)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_not_noticed(
    control_plane: Cluster, proxy: FaultProxy, world: World, request_: str, fault: str
) -> None:
    world.apply(applier.version(world, "first"))
    foreign = strangers(control_plane, world)
    wanted = applier.version(world, "second")
    proxy.add(rule(request_, PASSING[fault], times=1))
    (outcome,) = through(proxy, world, patience=20).apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    assert len([event for event in outcome.done if event.what == "created"]) == 4
    exact(control_plane, world, wanted, foreign)
    assert [revision.number for revision in world.inventory("digits").revisions] == [1, 2]


FINAL: dict[str, Fault] = {
    "422": Respond(422, "spec: Invalid value"),
    "500": Respond(500),
    "500 after commit": Forward(then=Respond(500)),
    "cut after commit": Forward(then=Cut()),
    "nonsense": Forward(then=Respond(200, body={"message": "welcome"})),
}


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("fault", FINAL)
def test_after_a_fault_that_stays_the_next_run_finishes(
    control_plane: Cluster, proxy: FaultProxy, world: World, request_: str, fault: str
) -> None:
    """The program gives up at once; another object of the unit, and other units, may have been written."""
    other = world.wanted("other", config("other"))
    world.apply(applier.version(world, "first"), other)
    foreign = strangers(control_plane, world)
    changed = world.wanted("other", config("other", {"a": "2"}))
    wanted = applier.version(world, "second")
    proxy.add(rule(request_, FINAL[fault], times=None))
    proxy.rules[0] = replace(proxy.rules[0], path=f"{REQUESTS[request_][1]}(/aif.*digits)?$")
    with process_that_ends():
        outcomes = {each.unit.model: each for each in through(proxy, world, patience=0).apply(wanted, changed)}
    assert outcomes["other"].result is Result.APPLIED
    assert outcomes["digits"].result in (Result.FAILED, Result.PARTIAL), outcomes["digits"]
    assert set(codes(list(outcomes.values()))) <= {"AIF703", "AIF721", "AIF743"}
    covered(control_plane, world)
    world.apply(changed, wanted, options=AT_ONCE)
    finished_beside(control_plane, world, wanted, changed, foreign)


def finished_beside(plane: Cluster, world: World, wanted: Wanted, other: Wanted, foreign: dict[str, Any]) -> None:
    """As `exact`, of two units."""
    there = ours(plane, world)
    assert set(there) == {m.identity for each in (wanted, other) for m in each.manifests}
    on_record = {e.identity: e.uid for name in ("digits", "other") for e in world.inventory(name).entries}
    assert on_record == there
    assert {each.action for each in world.plan(wanted, other).changes} == {Action.UNCHANGED}
    assert {outcome.result for outcome in world.apply(wanted, other)} == {Result.UNCHANGED}
    assert {name: plane.get(live) for name, live in foreign.items()} == foreign


@pytest.mark.parametrize("fault", ["409", "500 after commit", "cut after commit"])
def test_a_first_inventory_whose_answer_is_lost(
    control_plane: Cluster, proxy: FaultProxy, world: World, fault: str
) -> None:
    answer = {**PASSING, "409": Respond(409, reason="AlreadyExists")}[fault]
    proxy.add(Rule("create", answer, path=RECORD, times=1))
    wanted = applier.version(world, "first")
    (outcome,) = through(proxy, world, patience=20).apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    exact(control_plane, world, wanted, {})


@pytest.mark.parametrize("nth", [1, 2])
def test_a_conflict_on_an_inventory_that_nobody_else_wrote(
    control_plane: Cluster, proxy: FaultProxy, world: World, nth: int
) -> None:
    world.apply(applier.version(world, "first"))
    proxy.add(Rule("update", Respond(409), path=RECORD, nth=nth, times=1))
    wanted = applier.version(world, "second")
    (outcome,) = through(proxy, world, patience=20).apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    exact(control_plane, world, wanted, {})


def test_a_server_that_goes_in_mid_apply_is_not_asked_once_an_object(
    control_plane: Cluster, proxy: FaultProxy, world: World
) -> None:
    wanted = world.wanted("digits", *(config(f"c{n:03}") for n in range(200)))
    proxy.add(Rule("apply", Cut(), path="/configmaps/", nth=20))
    with process_that_ends():
        (outcome,) = through(proxy, world, patience=0.1).apply(wanted)
    assert (outcome.result, codes([outcome])[0]) == (Result.FAILED, "AIF703")
    assert proxy.count("apply", "/configmaps/") < 150
    proxy.clear()
    covered(control_plane, world)
    finished(control_plane, world, wanted, {})


# Who says no


def test_a_denied_delete_leaves_a_survivor(control_plane: Cluster, world: World) -> None:
    world.apply(applier.version(world, "first"))
    foreign = strangers(control_plane, world)
    wanted = applier.version(world, "second")
    with Webhooks(control_plane, world.namespace) as webhooks:
        webhooks.deny("DELETE", name="goes-1", message="not this one")
        for _ in range(2):
            (outcome,) = world.apply(wanted)
            assert (outcome.result, codes([outcome])) == (Result.PARTIAL, ["AIF743"])
            assert "not this one" in outcome.findings[0].message
            kept = world.inventory("digits").by_identity
            assert {identity.name for identity in kept if identity.name.startswith("goes")} == {"goes-1"}
            covered(control_plane, world)
    finished(control_plane, world, wanted, foreign)


@pytest.mark.parametrize("status", [403, 404, 409])
def test_a_delete_denied_by_whatever_status(
    control_plane: Cluster, proxy: FaultProxy, world: World, status: int
) -> None:
    """404 is what a delete of something that is gone says; webhooks may say so too."""
    world.apply(applier.version(world, "first"))
    wanted = applier.version(world, "second")
    message = 'admission webhook "p.example" denied the request: no'
    proxy.add(Rule("delete", Respond(status, message), path="/configmaps/goes-1"))
    (outcome,) = through(proxy, world, patience=0).apply(wanted)
    assert (outcome.result, codes([outcome])) == (Result.PARTIAL, ["AIF743"])
    covered(control_plane, world)
    finished(control_plane, world, wanted, {})


def test_a_denied_write_stops_its_unit_and_no_other(control_plane: Cluster, world: World) -> None:
    world.apply(applier.version(world, "first"), world.wanted("other", config("other")))
    foreign = strangers(control_plane, world)
    wanted, other = applier.version(world, "second"), world.wanted("other", config("other", {"a": "2"}))
    with Webhooks(control_plane, world.namespace) as webhooks:
        webhooks.deny("CREATE", "UPDATE", kind="ConfigMap", name="moves|comes-2", message="ask the platform team")
        plan = world.plan(wanted, other)
        assert set(codes(plan)) == {"AIF722"}
        outcomes = {each.unit.model: each for each in world.apply(wanted, other)}
        assert outcomes["other"].result is Result.APPLIED
        assert outcomes["digits"].failed
        assert set(codes([outcomes["digits"]])) == {"AIF722"}
        assert "ask the platform team" in outcomes["digits"].findings[0].message
        covered(control_plane, world)
    world.apply(wanted, other)
    finished_beside(control_plane, world, wanted, other, foreign)


def test_a_denial_that_begins_between_plan_and_write(control_plane: Cluster, world: World) -> None:
    """New objects are not asked about before they are written."""
    wanted = applier.version(world, "first")
    with Webhooks(control_plane, world.namespace) as webhooks:
        webhooks.deny("CREATE", kind="Deployment", message="no room")
        (outcome,) = world.apply(wanted)
        assert (outcome.result, set(codes([outcome]))) == (Result.FAILED, {"AIF722"})
        assert world.inventory("digits").revisions[-1].outcome == "failed"
        covered(control_plane, world)
    finished(control_plane, world, wanted, {})


def test_webhooks_that_are_away(control_plane: Cluster, world: World) -> None:
    wanted = applier.version(world, "first")
    impatient = replace(world, patience=0.3)
    with Webhooks(control_plane, world.namespace) as webhooks:
        webhooks.failing()
        (outcome,) = impatient.apply(wanted)
        assert (outcome.result, set(codes([outcome]))) == (Result.FAILED, {"AIF722"})
        webhooks.failing(False)
        finished(control_plane, world, wanted, {})


# What does not go away


def hold(plane: Cluster, wanted: dict[str, Any], *finalizers: str) -> None:
    plane.patch(wanted, {"metadata": {"finalizers": list(finalizers)}}, manager="holder")


def test_a_pruned_object_that_a_finalizer_holds(control_plane: Cluster, world: World) -> None:
    world.apply(applier.version(world, "first"))
    foreign = strangers(control_plane, world)
    stuck = named(world, "ConfigMap", "goes-1")
    hold(control_plane, stuck, "example.com/hold")
    wanted = applier.version(world, "second")
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED
    survivors = {
        identity.name for identity in world.inventory("digits").by_identity if identity.name.startswith("goes")
    }
    assert survivors == {"goes-1"}
    assert "example.com/hold" in next(c.reason for c in world.plan(wanted).changes if c.identity.name == "goes-1")
    hold(control_plane, stuck)
    finished(control_plane, world, wanted, foreign)


def test_who_waits_is_told_what_does_not_go(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("stays"), config("goes")))
    stuck = named(world, "ConfigMap", "goes")
    hold(control_plane, stuck, "example.com/hold")
    wanted = world.wanted("digits", config("stays"))
    (outcome,) = world.apply(wanted, options=Options(wait=True, timeout=1.0))
    assert (outcome.result, codes([outcome])) == (Result.PARTIAL, ["AIF754"])
    assert "goes" in outcome.findings[0].message
    covered(control_plane, world)
    hold(control_plane, stuck)
    finished(control_plane, world, wanted, {})


def test_an_object_to_replace_that_a_finalizer_holds(
    control_plane: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "GONE", 0.5)
    world.apply(applier.version(world, "first"))
    stuck = named(world, "Deployment", "digits", "apps/v1")
    hold(control_plane, stuck, "example.com/hold")
    wanted = applier.version(world, "replaced")
    (outcome,) = world.apply(wanted)
    assert (outcome.result, codes([outcome])) == (Result.FAILED, ["AIF725"])
    assert "example.com/hold" in outcome.findings[0].message
    covered(control_plane, world)
    assert set(codes(world.apply(wanted))) == {"AIF725"}
    hold(control_plane, stuck)
    control_plane.wait_gone(stuck)
    finished(control_plane, world, wanted, {})


# Kinds that come


def definition(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """A CRD of this test's own, and an object of it."""
    group = f"{uuid.uuid4().hex[:8]}.example.com"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": spec,
    }
    return crd, {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {"size": 3}}


def test_a_definition_and_its_objects_in_one_apply(control_plane: Cluster, world: World) -> None:
    crd, widget = definition(world)
    wanted = world.wanted("digits", crd, widget, config("a"))
    plan = world.plan(wanted)
    assert not plan.findings
    assert set(actions(plan).values()) == {Action.CREATE}
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    found = control_plane.get({**widget, "metadata": {"name": "one", "namespace": world.namespace}})
    assert found is not None
    assert found["metadata"]["labels"]["aif.dev/model"] == "digits"
    assert set(actions(world.plan(wanted)).values()) == {Action.UNCHANGED}
    assert [each.result for each in world.apply(wanted)] == [Result.UNCHANGED]
    control_plane.delete(crd)


def test_a_definition_that_comes_between_two_applies(control_plane: Cluster, world: World) -> None:
    crd, widget = definition(world)
    wanted, other = world.wanted("digits", widget, config("a")), world.wanted("other", config("other"))
    outcomes = {each.unit.model: each for each in world.apply(wanted, other)}
    assert (outcomes["digits"].result, codes([outcomes["digits"]])) == (Result.REFUSED, ["AIF724"])
    assert outcomes["other"].result is Result.APPLIED
    assert control_plane.get(named(world, "ConfigMap", "a")) is None
    control_plane.create(crd)
    control_plane.wait(crd, lambda live: live.get("status", {}).get("conditions"))
    (outcome,) = [each for each in settled(world, wanted, other) if each.unit.model == "digits"]
    assert outcome.result is Result.APPLIED, outcome.findings
    control_plane.delete(crd)


def settled(world: World, *wanted: Wanted) -> list[Outcome]:
    """Discovery tells of a new kind a moment after its definition is served: applied until it does."""
    for _ in range(50):
        outcomes = world.apply(*wanted)
        if "AIF724" not in codes(outcomes):
            return outcomes
    raise AssertionError(outcomes)


def test_a_definition_that_went_takes_no_inventory_along(control_plane: Cluster, world: World) -> None:
    """Its objects are gone with it; what else the unit has is not."""
    crd, widget = definition(world)
    control_plane.create(crd)
    wanted = world.wanted("digits", widget, config("a"))
    settled(world, wanted)
    control_plane.delete(crd)
    control_plane.wait_gone(crd)
    for _ in range(50):
        if "AIF724" in codes(world.plan(wanted)):
            break
    (outcome,) = world.apply(wanted)
    assert (outcome.result, codes([outcome])) == (Result.REFUSED, ["AIF724"])
    finished(control_plane, world, world.wanted("digits", config("a")), {})


# Fields that an earlier tool left behind


@pytest.mark.parametrize("manager", ["kubectl-client-side-apply", "helm"])
def test_an_old_manager_who_owns_an_items_key_and_not_what_it_needs_does_not_wedge(
    control_plane: Cluster, world: World, manager: str
) -> None:
    """Once we drop the item, its key alone is left of it, and the server refuses that in every dry-run."""
    both = deployment("digits", replicas=0)
    both["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "sidecar:1"})
    world.apply(world.wanted("digits", both))
    target = named(world, "Deployment", "digits", "apps/v1")
    live = control_plane.get(target)
    assert live is not None
    sidecar = {'k:{"name":"sidecar"}': {".": {}, "f:name": {}}}
    owns = {"f:spec": {"f:template": {"f:spec": {"f:containers": sidecar}}}}
    entry = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": owns,
    }
    patch = [{"op": "replace", "path": "/metadata/managedFields", "value": [*live["metadata"]["managedFields"], entry]}]
    control_plane.request("PATCH", path_of(target), patch, kind="application/json-patch+json")
    wanted = world.wanted("digits", deployment("digits", replicas=0))
    with pytest.raises(Refused, match="image: Required value"):
        control_plane.apply(dict(wanted.manifests[0].object), manager="aifctl", force=True, dry_run=True)
    plan = world.plan(wanted)
    assert not plan.findings
    assert set(actions(plan).values()) == {Action.CHANGE}
    (outcome,) = world.apply(wanted)
    assert outcome.result is Result.APPLIED, outcome.findings
    exact(control_plane, world, wanted, {})


# Credentials that expire, servers that restart


def applied(proxy: FaultProxy, world: World, wanted: Wanted, *tokens: str) -> list[Outcome]:
    """An apply whose credentials are the first of these tokens, and at each renewal the next."""
    left = list(tokens)
    start = access.find(kubeconfig=str(proxy.kubeconfig_with({"token": left.pop(0)})))

    def reload() -> access.Access:
        return replace(start, token=left.pop(0)) if left else start

    async def run() -> list[Outcome]:
        async with Client(start, patience=5, reload=reload) as client:
            found = Records(client, world.environment)
            plan = await planning.plan(client, found, world.request(wanted))
            async with Observer(client, f"{ENVIRONMENT}={world.environment}") as observer:
                return await apply.apply(plan, found, Waiter(client, observer), Options(), lambda event: None)

    return asyncio.run(run())


def test_a_token_that_expires_in_mid_apply(control_plane: Cluster, proxy: FaultProxy, world: World) -> None:
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    fresh = control_plane.account(world.namespace, "deployer", cluster_rules=[everything])
    wanted = applier.version(world, "first")
    proxy.add(Rule("apply", Respond(401), path="/deployments/", times=2))
    (outcome,) = applied(proxy, world, wanted, control_plane.token, fresh)
    assert outcome.result is Result.APPLIED, outcome.findings
    exact(control_plane, world, wanted, {})


def test_a_token_that_expires_and_is_the_only_one(control_plane: Cluster, proxy: FaultProxy, world: World) -> None:
    wanted = applier.version(world, "first")
    proxy.add(Rule("apply|update|create", Respond(401), path="/deployments/|/aif-system/", nth=2))
    with process_that_ends():
        (outcome,) = applied(proxy, world, wanted, control_plane.token)
    assert (outcome.result, set(codes([outcome]))) == (Result.FAILED, {"AIF704"})
    covered(control_plane, world)
    proxy.clear()
    finished(control_plane, world, wanted, {})


def test_a_token_that_is_refused_from_the_start(control_plane: Cluster, proxy: FaultProxy, world: World) -> None:
    with pytest.raises(ApiError) as caught:
        applied(proxy, world, applier.version(world, "first"), "no-such-token")
    assert caught.value.finding("environment prod").code == "AIF704"


def test_a_server_that_restarts_in_mid_apply(bare_control_plane: ControlPlane) -> None:
    """It is away for longer than a request; the apply only takes longer."""
    plane = bare_control_plane
    world = applier.world(plane.kubeconfig, plane.create_namespace())
    world.apply(applier.version(world, "first"))
    foreign = strangers(plane, world)
    wanted = applier.version(world, "second")
    with FaultProxy(plane) as proxy:
        proxy.add(Rule("apply", Call(lambda seen: plane.stop_apiserver()), path="/deployments/", query=REAL, times=1))
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(through(proxy, world, patience=60).apply, wanted)
            while plane.answers("/readyz"):
                time.sleep(0.05)
            plane.start_apiserver()
            (outcome,) = slow.result()
    assert outcome.result is Result.APPLIED, outcome.findings
    exact(plane, world, wanted, foreign)


def test_a_server_that_restarts_while_health_is_waited_for(bare_control_plane: ControlPlane) -> None:
    plane = bare_control_plane
    world = applier.world(plane.kubeconfig, plane.create_namespace())
    wanted = world.wanted("digits", deployment("digits"))
    target = named(world, "Deployment", "digits", "apps/v1")
    waiting = threading.Event()

    def tell(event: Event) -> None:
        if event.what == "waiting":
            waiting.set()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(replace(world, patience=60).apply, wanted, options=Options(wait=True, timeout=60), tell=tell)
        assert waiting.wait(30)
        plane.stop_apiserver()
        plane.start_apiserver()
        conditions = [{"type": "Available", "status": "True"},
                      {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]  # fmt: skip
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
        status = {"observedGeneration": 1, **counts, "conditions": conditions}
        plane.patch(target, {"status": status}, manager="controller", subresource="status")
        (outcome,) = slow.result()
    assert outcome.result is Result.APPLIED, outcome.findings
