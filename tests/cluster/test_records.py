"""Inventories in a real cluster: leases between appliers, large ones in shards, damaged and forged ones left alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from aifctl.cluster import access, apply, records
from aifctl.cluster.client import Client
from aifctl.cluster.errors import ApiError
from aifctl.cluster.inventory import SYSTEM, Entry, Inventory
from aifctl.cluster.outcome import Options, Result
from aifctl.cluster.records import Lost, Record, Records
from aifctl.diagnostics import Report
from aifctl.manifest import Identity
from tests.cluster.standing import exact, finished, strangers
from tests.cluster.world import World, codes, config, deployment
from tests.controlplane.cluster import Cluster
from tests.controlplane.proxy import Call, Cut, FaultProxy, Forward, Respond, Rule

RECORD = "/namespaces/aif-system/configmaps"
ELSEWHERE = "another-machine/boot.1/7/abc"
MIB = 1 << 20


@pytest.fixture
def world(control_plane: Cluster, namespace: str) -> World:
    return World(control_plane.kubeconfig, namespace)


def through(proxy: FaultProxy, world: World, patience: float = 5.0) -> World:
    return replace(world, kubeconfig=proxy.kubeconfig, patience=patience)


def stored(world: World, act: Callable[[Records], Awaitable[Any]], holder: str = "") -> Any:
    async def run() -> Any:
        async with Client(access.find(kubeconfig=str(world.kubeconfig)), patience=world.patience) as client:
            found = Records(client, world.environment)
            found.holder = holder or found.holder
            return await act(found)

    return asyncio.run(run())


def held(world: World, holder: str = "") -> Record:
    """Takes the lease of `digits` and leaves it taken."""

    async def act(them: Records) -> Record:
        record = await them.one(world.unit("digits"))
        return await them.take(record, record.inventory, 0)

    found: Record = stored(world, act, holder)
    return found


def short(monkeypatch: pytest.MonkeyPatch, lease: float) -> None:
    monkeypatch.setattr(records, "LEASE", lease)
    monkeypatch.setattr(apply, "LEASE", lease)


def head(plane: Cluster, world: World, model: str = "digits") -> dict[str, Any]:
    found = plane.get(_named(world, model))
    assert found is not None
    return found


def _named(world: World, model: str = "digits") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": world.unit(model).key, "namespace": SYSTEM}}


# Leases


def test_who_holds_a_lease_keeps_others_out(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", config("a"))
    world.apply(wanted)
    record = held(world)  # by this process, which is alive
    changed = world.wanted("digits", config("a", {"a": "2"}))
    (outcome,) = world.apply(changed, options=Options(lock_timeout=0))
    assert (outcome.result, codes([outcome])) == (Result.REFUSED, ["AIF730"])
    assert record.holder in outcome.findings[0].message
    assert head(control_plane, world)["metadata"]["resourceVersion"] == record.version
    other = world.apply(world.wanted("digits", config("a")), world.wanted("wine", config("b")))
    assert [each.result for each in other] == [Result.UNCHANGED, Result.APPLIED]


def test_a_lease_that_nobody_renews_expires(
    control_plane: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder was killed on another machine: nobody here can know but by the time."""
    wanted = world.wanted("digits", config("a"))
    world.apply(wanted)
    foreign = strangers(control_plane, world)
    short(monkeypatch, 5.0)
    held(world, ELSEWHERE)
    changed = world.wanted("digits", config("a", {"a": "2"}))
    assert codes(world.apply(changed, options=Options(lock_timeout=0))) == ["AIF730"]
    finished(control_plane, world, changed, foreign, Options(lock_timeout=60))


def test_a_lease_is_renewed_while_an_apply_goes_on(
    control_plane: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch, 3.0)
    first, second = (world.wanted("digits", config("a", {"a": value})) for value in "12")
    go_on = threading.Event()
    with FaultProxy(control_plane) as proxy, ThreadPoolExecutor(1) as pool:
        proxy.add(Rule("apply", Call(lambda _: go_on.wait(60)), path="/configmaps/a", times=1))
        slow = pool.submit(through(proxy, world).apply, first)
        control_plane.wait(_named(world), lambda live: live)
        assert codes(world.apply(second, options=Options(lock_timeout=4))) == ["AIF730"]  # longer than a lease
        go_on.set()
        assert [outcome.result for outcome in slow.result()] == [Result.APPLIED]
        assert proxy.count("update", RECORD) > 2
    exact(control_plane, world, first, {})


def test_who_lost_the_lease_writes_nothing_more(
    control_plane: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a laptop that slept: its lease ran out, another applier came, and then it goes on where it was."""
    short(monkeypatch, 1.0)
    first = world.wanted("digits", config("a"), config("b"), deployment("digits", replicas=0))
    go_on = threading.Event()
    with FaultProxy(control_plane) as proxy, ThreadPoolExecutor(1) as pool:
        proxy.add(Rule("update", Cut(), path=RECORD))
        proxy.add(Rule("apply", Call(lambda _: go_on.wait(60)), path="/configmaps/"))
        slow = pool.submit(through(proxy, world, patience=0).apply, first)
        control_plane.wait(_named(world), lambda live: live)
        record = stored(world, lambda them: _taken(them, world), ELSEWHERE)
        proxy.rules = proxy.rules[1:]
        go_on.set()
        (outcome,) = slow.result()
        assert (outcome.result, codes([outcome])) == (Result.FAILED, ["AIF732"])
        assert proxy.count("apply", "/deployments/") == 0
    assert head(control_plane, world)["metadata"]["resourceVersion"] == record.version
    finished(control_plane, world, world.wanted("digits", config("c")), {}, Options(lock_timeout=60))


async def _taken(them: Records, world: World) -> Record:
    record = await them.one(world.unit("digits"))
    return await them.take(record, record.inventory, 60)


def test_a_renewal_that_was_called_off_is_no_other_applier(
    control_plane: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written, its answer was on the way when the apply ended."""
    short(monkeypatch, 1.5)
    wanted = world.wanted("digits", config("a"))
    with FaultProxy(control_plane) as proxy:
        proxy.add(Rule("update", Forward(then=Respond(503, retry_after=5)), path=RECORD, times=1))
        proxy.add(Rule("apply", Forward(delay=1.5), path="/configmaps/a"))
        (outcome,) = through(proxy, world, patience=20).apply(wanted)
        assert outcome.result is Result.APPLIED, outcome.findings
        assert proxy.count("update", RECORD) >= 3
    exact(control_plane, world, wanted, {})


def test_appliers_of_one_unit_take_turns(control_plane: Cluster, world: World) -> None:
    """Each applies what it wants; what is there in the end is what the last of them wanted, and all of it."""
    foreign = strangers(control_plane, world)
    versions = [
        world.wanted("digits", config("shared", {"of": str(n)}), config(f"own-{n}"), deployment("digits", replicas=0))
        for n in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda wanted: world.apply(wanted)[0], versions))
    assert {outcome.result for outcome in outcomes} == {Result.APPLIED}, outcomes
    revisions = world.inventory("digits").revisions
    assert [revision.number for revision in revisions] == [1, 2, 3, 4]
    assert {revision.tree for revision in revisions} == {wanted.tree for wanted in versions}
    last = next(wanted for wanted in versions if wanted.tree == revisions[-1].tree)
    exact(control_plane, world, last, foreign)


def test_appliers_that_want_the_same_do_it_once(control_plane: Cluster, world: World) -> None:
    wanted = world.wanted("digits", config("a"), config("b"))
    with ThreadPoolExecutor(3) as pool:
        outcomes = [found for (found,) in pool.map(lambda _: world.apply(wanted), range(3))]
    assert {outcome.result for outcome in outcomes} <= {Result.APPLIED, Result.UNCHANGED}, outcomes
    assert len(world.inventory("digits").revisions) == 1
    exact(control_plane, world, wanted, {})


def test_of_two_that_write_the_same_in_the_same_moment_one_has_the_lease(world: World) -> None:
    """Same content, same time: only the holder tells them apart."""

    async def act(them: Records) -> Any:
        other = Records(them.client, world.environment)
        other.holder = ELSEWHERE
        blank = Record(inventory=Inventory(unit=world.unit("digits")))
        return await asyncio.gather(
            *(each.take(blank, blank.inventory, 0) for each in (them, other)), return_exceptions=True
        )

    found = stored(world, act)
    assert {type(each) for each in found} == {Record, Lost}


# Large inventories


def large(world: World, count: int, generation: str) -> Inventory:
    def entry(n: int) -> Entry:
        name = Identity("", "ConfigMap", world.namespace, f"object-with-a-name-as-long-as-such-names-are-{n:05}")
        return Entry(name, "v1", f"{n:032x}-uid", generation * 24, "o" * 24, str(n))

    return Inventory(unit=world.unit("digits"), platform="acme").with_entries(entry(n) for n in range(count))


def shards(plane: Cluster, world: World) -> list[dict[str, Any]]:
    selector = f"aif.dev/inventory=shard,aif.dev/inventory-environment={world.environment}"
    return plane.list("v1", "ConfigMap", SYSTEM, labelSelector=selector)


async def _written(them: Records, inventory: Inventory) -> Record:
    record = await them.one(inventory.unit)
    record = await them.take(record, inventory, 0)
    return await them.save(record, inventory, release=True)


def test_a_large_unit_is_kept_in_shards_that_fit(control_plane: Cluster, world: World) -> None:
    inventory = large(world, 6000, "a")
    stored(world, lambda them: _written(them, inventory))
    pages = shards(control_plane, world)
    assert len(pages) > 1
    assert all(len(json.dumps(page)) < MIB for page in [*pages, head(control_plane, world)])
    assert world.inventory("digits") == inventory
    assert world.inventories()[world.unit("digits")].inventory == inventory
    small = large(world, 10, "b")
    stored(world, lambda them: _written(them, small))
    assert world.inventory("digits") == small
    assert shards(control_plane, world) == []


def test_whoever_reads_sees_one_state_or_the_other(world: World) -> None:
    states = [large(world, 6000, generation) for generation in "abc"]

    async def act(them: Records) -> list[Inventory]:
        await _written(them, states[0])
        seen = []

        async def write() -> None:
            for state in (*states, *states):
                await _written(them, state)

        writing = asyncio.create_task(write())
        while not writing.done():
            seen.append((await them.one(world.unit("digits"))).inventory)
            known, problems = await them.all()
            assert not problems
            seen.append(known[world.unit("digits")].inventory)
        await writing
        return seen

    seen = stored(world, act)
    assert {inventory.entries[0].intent[0] for inventory in seen} <= set("abc")
    assert all(inventory in states for inventory in seen)


def test_shards_that_no_head_names_do_no_harm_and_are_collected(control_plane: Cluster, world: World) -> None:
    """As after a kill between the shards and the head."""
    before, after = large(world, 6000, "a"), large(world, 6000, "b")
    stored(world, lambda them: _written(them, before))
    with FaultProxy(control_plane) as proxy:
        proxy.add(Rule("update", Respond(403), path=world.unit("digits").key))
        with pytest.raises(ApiError):
            stored(through(proxy, world), lambda them: _written(them, after))
    named = len(shards(control_plane, world))
    assert world.inventory("digits") == before
    record = world.inventories()[world.unit("digits")]
    assert record.inventory == before
    assert len(record.orphans) == named - len(record.shards) > 0

    async def next_run(them: Records) -> None:
        record = (await them.all())[0][world.unit("digits")]
        record = await them.take(record, before, 0)
        await them.save(record, before, release=True)

    stored(world, next_run)
    assert {page["metadata"]["name"] for page in shards(control_plane, world)} == set(record.shards)
    assert world.inventory("digits") == before


def test_a_unit_that_goes_leaves_no_shards(control_plane: Cluster, world: World) -> None:
    async def act(them: Records) -> None:
        record = await _written(them, large(world, 6000, "a"))
        await them.remove(await them.take(record, record.inventory, 0))

    stored(world, act)
    assert shards(control_plane, world) == []
    assert world.inventories() == {}


def test_a_record_that_somebody_wrote_meanwhile_is_not_removed(world: World) -> None:
    async def act(them: Records) -> None:
        record = await _written(them, large(world, 3, "a"))
        other = Records(them.client, world.environment)
        other.holder = ELSEWHERE
        await other.take(record, record.inventory, 0)
        with pytest.raises(Lost):
            await them.remove(record)

    stored(world, act)
    assert len(world.inventory("digits").entries) == 3


# Damaged and forged ones


def _unit_json(plane: Cluster, world: World, **changes: Any) -> dict[str, Any]:
    return {"unit.json": json.dumps({**json.loads(head(plane, world)["data"]["unit.json"]), **changes})}


DAMAGE: dict[str, Callable[[Cluster, World], dict[str, Any] | None]] = {
    "no data": lambda plane, world: None,
    "no JSON": lambda plane, world: {"unit.json": "{"},
    "objects are no JSON": lambda plane, world: {"objects.json": "[["},
    "objects are no list": lambda plane, world: {"objects.json": "7"},
    "a row too short": lambda plane, world: {"objects.json": '[["", "ConfigMap"]]'},
    "a row too long": lambda plane, world: {"objects.json": json.dumps([["x"] * 20])},
    "no unit": lambda plane, world: _unit_json(plane, world, unit=None),
    "unit of four": lambda plane, world: _unit_json(plane, world, unit=["a", "b", "c", "d"]),
    "of another unit": lambda plane, world: _unit_json(plane, world, unit=[world.environment, "vision", "wine"]),
    "of another environment": lambda plane, world: _unit_json(plane, world, unit=["prod", "vision", "digits"]),
    "of a newer format": lambda plane, world: _unit_json(plane, world, format=2),
    "a shard is missing": lambda plane, world: _unit_json(plane, world, shards=["aif.gone.abc"]),
    "shards are no list": lambda plane, world: _unit_json(plane, world, shards=7),
    "revisions of another kind": lambda plane, world: _unit_json(plane, world, revisions=[{"n": 1}]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_inventory_stops_its_unit_and_no_other(control_plane: Cluster, world: World, damage: str) -> None:
    world.apply(world.wanted("digits", config("a"), config("b")), world.wanted("wine", config("w")))
    found = head(control_plane, world)
    control_plane.patch(found, {"data": DAMAGE[damage](control_plane, world)})
    damaged = head(control_plane, world)
    wanted = [world.wanted("digits", config("a", {"a": "2"})), world.wanted("wine", config("w", {"a": "2"}))]
    assert "AIF742" in codes(world.plan(*wanted))
    outcomes = {outcome.unit.model: outcome for outcome in world.apply(*wanted)}
    assert (outcomes["digits"].result, codes([outcomes["digits"]])) == (Result.REFUSED, ["AIF742"])
    assert outcomes["wine"].result is Result.APPLIED
    assert world.apply(wanted[1], allow_prune=True)[0].result is Result.UNCHANGED  # `digits` is gone from Git
    there = control_plane.list("v1", "ConfigMap", world.namespace, labelSelector="aif.dev/model=digits")
    assert [(each["metadata"]["name"], each["data"]) for each in there] == [("a", {"a": "1"}), ("b", {"a": "1"})]
    assert head(control_plane, world) == damaged
    with pytest.raises(Report, match="AIF742"):
        world.record("digits")


def test_an_inventory_of_another_platform_is_not_taken_over(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("a"), config("b")))
    other = replace(world, platform="rival")
    for wanted in ([other.wanted("digits", config("a"))], [other.wanted("wine", config("w"))]):
        outcomes = {outcome.unit.model: outcome for outcome in other.apply(*wanted, allow_prune=True)}
        assert (outcomes["digits"].result, codes([outcomes["digits"]])) == (Result.REFUSED, ["AIF729"])
    assert len(control_plane.list("v1", "ConfigMap", world.namespace, labelSelector="aif.dev/model=digits")) == 2
    assert world.inventory("digits").platform == "acme"


def test_a_config_map_that_only_looks_like_a_shard(control_plane: Cluster, world: World) -> None:
    world.apply(world.wanted("digits", config("a")))
    labels = {"aif.dev/inventory": "shard", "aif.dev/inventory-environment": world.environment}
    metadata = {"name": f"aif-{world.namespace}", "namespace": SYSTEM, "labels": labels}
    made = control_plane.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    finished(control_plane, world, world.wanted("digits", config("a", {"a": "2"})), {"it": made})
