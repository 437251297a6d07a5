"""Waits against a real control plane with simulated nodes: what settles, what is told of what does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from aifctl.cluster import access, discovery
from aifctl.cluster.client import Client
from aifctl.cluster.health import kinds
from aifctl.cluster.outcome import Event, Options, Outcome, Result
from aifctl.cluster.wait import Waiter, settle
from aifctl.cluster.watch import Observer
from aifctl.manifest import Identity
from aifctl.render.ownership import ENVIRONMENT
from tests.cluster.looking import live, named, quiet
from tests.cluster.world import Object, World, codes, config, deployment, job, service
from tests.controlplane.cluster import Cluster
from tests.controlplane.nodes import GPU, node, start_nodes
from tests.controlplane.plane import ControlPlane
from tests.controlplane.proxy import EXPIRED_EVENT, FaultProxy, Respond, Rule, Truncate
from tests.controlplane.stages import simulate


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


@pytest.fixture
def gpus(control_plane: Cluster, namespace: str) -> Iterator[str]:
    """Two nodes of eight GPUs for this test alone; the value of their label `pool`."""
    own = [node(f"{namespace}-{n}", GPU, labels={"pool": namespace}, taint="nvidia.com/gpu") for n in range(2)]
    start_nodes(control_plane, own)
    yield namespace
    for each in own:
        control_plane.delete(each)


def waiting(seconds: float | None = 40) -> Options:
    return Options(wait=True, timeout=seconds)


def pods_of(found: Object, outcome: str, after: str | None = None) -> Object:
    """The workload with this outcome for its pods."""
    found["spec"]["template"].setdefault("metadata", {})["annotations"] = simulate(outcome, after=after)
    return found


def on_gpus(found: Object, pool: str, count: int = 8) -> Object:
    found["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": str(count)}}
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    found["spec"]["template"]["spec"] |= {"nodeSelector": {"pool": pool}, "tolerations": tolerations}
    return found


# What settles


def test_a_model_on_two_nodes_of_eight_gpus_is_scheduled_and_its_server_becomes_healthy(
    control_plane: Cluster, nodes: Cluster, world: World, gpus: str
) -> None:
    train = pods_of(job("train"), "complete", after="300s")
    train["spec"] |= {"completions": 2, "parallelism": 2, "completionMode": "Indexed"}
    wanted = world.wanted("digits", on_gpus(train, gpus), deployment("server", replicas=2), service("server"))
    (outcome,) = world.apply(wanted, options=waiting())
    assert outcome.result is Result.APPLIED, outcome.findings
    assert [event.what for event in outcome.done] == ["created"] * 3
    control_plane.wait(named(world, "Job", "train", "batch/v1"), lambda found: found["status"].get("ready") == 2)
    pods = control_plane.list("v1", "Pod", world.namespace, labelSelector="batch.kubernetes.io/job-name=train")
    assert {pod["spec"]["nodeName"] for pod in pods} == {f"{world.namespace}-0", f"{world.namespace}-1"}
    assert live(control_plane, world, "Deployment", "server", "apps/v1")["status"]["availableReplicas"] == 2
    assert quiet(world.plan(wanted))
    # A third pod of eight finds no place, and is told by name.
    (outcome,) = world.apply(
        world.wanted("more", on_gpus(deployment("late"), gpus)), options=waiting(6), complete=False
    )
    assert codes([outcome]) == ["AIF750"]
    assert "Deployment" in outcome.findings[0].message
    assert "Unschedulable" in outcome.findings[0].message
    assert "pod late-" in said(outcome)


def said(outcome: Outcome) -> str:
    return " ".join(" ".join((each.message, *each.notes)) for each in outcome.findings)


def test_a_job_that_waits_in_a_queue_is_accepted(control_plane: Cluster, nodes: Cluster, world: World) -> None:
    queued = job("train")
    queued["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "gpus"}
    queued["spec"]["suspend"] = True
    (outcome,) = world.apply(world.wanted("digits", queued, config("settings")), options=waiting())
    assert outcome.result is Result.APPLIED, outcome.findings
    assert live(control_plane, world, "Job", "train", "batch/v1")["spec"]["suspend"] is True


def test_waiting_for_what_is_healthy_already_writes_nothing(
    control_plane: Cluster, nodes: Cluster, world: World
) -> None:
    wanted = world.wanted("digits", deployment("server"))
    world.apply(wanted, options=waiting())
    with FaultProxy(control_plane) as proxy:
        through = replace(world, kubeconfig=proxy.kubeconfig)
        (outcome,) = through.apply(wanted, options=waiting())
        assert outcome.result is Result.UNCHANGED
        assert proxy.writes() == []


# What does not


def test_a_bad_image_is_told_with_its_phase_pod_and_container(
    control_plane: Cluster, nodes: Cluster, world: World
) -> None:
    wanted = world.wanted("digits", deployment("server", image="bad-image:1"))
    (outcome,) = world.apply(wanted, options=waiting(6))
    assert outcome.result is Result.FAILED
    assert codes([outcome]) == ["AIF750"]
    assert "ImagePullBackOff" in outcome.findings[0].message
    assert "pod server-" in said(outcome)
    assert "container server" in said(outcome)
    # Its own deadline says so sooner, and then it has failed.
    hasty = deployment("server", image="bad-image:1")
    hasty["spec"]["progressDeadlineSeconds"] = 1
    (outcome,) = world.apply(world.wanted("digits", hasty), options=waiting(10))
    assert codes([outcome]) == ["AIF751"]
    assert "ImagePullBackOff" in said(outcome)
    (outcome,) = world.apply(world.wanted("digits", deployment("server", image="good:1")), options=waiting())
    assert outcome.result is Result.APPLIED, outcome.findings
    assert [each.outcome for each in world.inventory("digits").revisions] == ["failed", "failed", "applied"]


def test_one_that_crashes_and_one_that_is_never_ready_say_which(
    control_plane: Cluster, nodes: Cluster, world: World
) -> None:
    crashing = world.wanted("crashing", pods_of(deployment("crashing"), "fail"))
    deaf = world.wanted("deaf", pods_of(deployment("deaf"), "unready"))
    fine = world.wanted("fine", deployment("fine"))
    found = {each.unit.model: each for each in world.apply(crashing, deaf, fine, options=waiting(8))}
    assert {name: each.result for name, each in found.items()} == {
        "crashing": Result.FAILED, "deaf": Result.FAILED, "fine": Result.APPLIED,
    }  # fmt: skip
    assert "exit code 1" in said(found["crashing"])
    assert "pod deaf-" in said(found["deaf"])
    assert "stuck in Starting" in found["deaf"].findings[0].message


def test_a_kind_waits_as_long_as_it_may_take(
    control_plane: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a timeout of the user's: here a Service two seconds, and the Deployment beside it its ten minutes."""
    own = kinds.KINDS["", "Service"]
    monkeypatch.setitem(kinds.KINDS, ("", "Service"), replace(own, seconds=2.0))
    outside = service("door")
    outside["spec"]["type"] = "LoadBalancer"
    wanted = world.wanted("digits", outside, pods_of(deployment("server"), "unready"))
    (outcome,) = world.apply(wanted, options=waiting(None))
    assert codes([outcome]) == ["AIF750"]
    assert "Service" in outcome.findings[0].message
    assert "after 2s" in outcome.findings[0].message


def test_what_is_deleted_while_it_is_waited_for_is_told(control_plane: Cluster, nodes: Cluster, world: World) -> None:
    wanted = world.wanted("digits", pods_of(deployment("server"), "unready"))
    there = named(world, "Deployment", "server", "apps/v1")

    def once_it_is_seen() -> None:
        control_plane.wait(there, lambda found: found["status"].get("unavailableReplicas"))
        timer = threading.Timer(1.5, control_plane.delete, [there])
        timer.start()

    def tell(event: Event) -> None:
        if event.what == "waiting":
            threading.Thread(target=once_it_is_seen).start()

    (outcome,) = world.apply(wanted, options=waiting(), tell=tell)
    assert codes([outcome]) == ["AIF753"]
    assert "Deployment" in outcome.findings[0].message


# The observer


def watching(
    plane: Cluster, world: World, act: Callable[[Observer, Callable[[str], Awaitable[None]]], Awaitable[None]]
) -> None:
    """Runs `act` with an observer of the world's ConfigMaps and a function that waits for one of a name."""

    async def run() -> None:
        async with (
            Client(access.find(kubeconfig=str(world.kubeconfig)), patience=20) as client,
            Observer(client, f"{ENVIRONMENT}={world.environment}") as observer,
        ):
            found = (await discovery.discover(client)).find("v1", "ConfigMap")
            assert found is not None
            await observer.watch([(found, world.namespace)])

            async def until(name: str, there: bool = True) -> None:
                async with asyncio.timeout(30):
                    while (Identity("", "ConfigMap", world.namespace, name) in observer.objects) != there:
                        await observer.changed(0.2)

            await act(observer, until)

    asyncio.run(run())


def labelled(world: World, name: str) -> Object:
    return dict(world.wanted("digits", config(name)).manifests[0].object)


def test_the_observer_goes_on_where_a_watch_was_cut_and_lists_again_where_it_is_told_to(
    control_plane: Cluster, world: World
) -> None:
    with FaultProxy(control_plane) as proxy:
        through = replace(world, kubeconfig=proxy.kubeconfig)

        async def act(observer: Observer, until: Any) -> None:
            assert observer.lists == 1
            await asyncio.to_thread(control_plane.create, labelled(world, "first"))
            await until("first")
            # Cut after one event; what comes meanwhile is not lost, and no list is needed.
            proxy.add(Rule("watch", Truncate(lines=1), times=2))
            for name in ("second", "third", "fourth"):
                await asyncio.to_thread(control_plane.create, labelled(world, name))
                await until(name)
            await asyncio.to_thread(control_plane.delete, labelled(world, "second"))
            await until("second", there=False)
            assert observer.lists == 1

        proxy.add(Rule("watch", Truncate(lines=1), times=1))
        watching(control_plane, through, act)
        assert proxy.count("watch") > 1
        proxy.clear()

        async def expire(observer: Observer, until: Any) -> None:
            async with asyncio.timeout(30):
                while observer.lists < 3:  # the first, one that fails, one more
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(control_plane.create, labelled(world, "fifth"))
            await until("fifth")
            assert observer.lists == 3

        proxy.add(Rule("watch", Truncate(lines=0, tail=EXPIRED_EVENT, orderly=True), times=1))
        proxy.add(Rule("list", Respond(410), path="configmaps", nth=2, times=1))
        watching(control_plane, through, expire)


def test_the_observer_asks_again_at_a_pace_when_every_watch_ends_at_once(control_plane: Cluster, world: World) -> None:
    """A proxy that ends each stream must not be met with thousands of requests."""
    with FaultProxy(control_plane) as proxy:
        proxy.add(Rule("watch", Truncate(lines=0, orderly=True)))

        async def act(observer: Observer, until: Any) -> None:
            await asyncio.sleep(2)
            assert proxy.count("watch") < 40
            proxy.rules = []
            await asyncio.to_thread(control_plane.create, labelled(world, "late"))
            await until("late")

        watching(control_plane, replace(world, kubeconfig=proxy.kubeconfig), act)


def test_the_observer_outlives_a_restart_of_the_server(bare_control_plane: ControlPlane) -> None:
    plane = bare_control_plane
    world = World(plane.kubeconfig, plane.create_namespace())

    async def act(observer: Observer, until: Any) -> None:
        await asyncio.to_thread(plane.create, labelled(world, "before"))
        await until("before")
        await asyncio.to_thread(plane.stop_apiserver)
        await asyncio.sleep(0.5)
        assert Identity("", "ConfigMap", world.namespace, "before") in observer.objects
        await asyncio.to_thread(plane.start_apiserver)
        await asyncio.to_thread(plane.create, labelled(world, "after"))
        await asyncio.to_thread(plane.delete, labelled(world, "before"))
        await until("after")
        await until("before", there=False)

    watching(plane, world, act)


def test_until_gone_names_what_stays_and_settle_what_is_not_ready(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("goes"), config("stays")))
    going, staying = (Identity("", "ConfigMap", world.namespace, name) for name in ("goes", "stays"))
    absent = Identity("", "ConfigMap", world.namespace, "absent")

    async def act() -> None:
        async with Client(access.find(kubeconfig=str(world.kubeconfig))) as client:
            found = (await discovery.discover(client)).find("v1", "ConfigMap")
            assert found is not None
            async with Observer(client, f"{ENVIRONMENT}={world.environment}") as observer:
                waiter = Waiter(client, observer)
                await asyncio.to_thread(control_plane.delete, named(world, "ConfigMap", "goes"))
                assert await waiter.until_gone([(going, found)], 20) == []
                assert await waiter.until_gone([(going, found), (staying, found)], 0.5) == [staying]
            assert await settle(client, [(staying, found), (absent, found)], 0.5) == [absent]

    asyncio.run(act())
