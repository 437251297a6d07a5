"""Inventories as texts: what is written is read again, whatever its names are, and what is none is said to be none."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl.cluster import access, inventory
from aifctl.cluster.client import Client
from aifctl.cluster.inventory import SYSTEM, Entry, Inventory, Revision, Unit
from aifctl.cluster.records import Records
from aifctl.diagnostics import Report
from aifctl.manifest import Identity
from tests.controlplane.cluster import Cluster

LAW = settings(max_examples=60, deadline=None)
HOSTILE = st.text(max_size=12) | st.sampled_from(['","x', "]\n[", "\ud800", "\x00", "ü" * 50, "..", "a/b", "null"])
WORDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
ENTRIES = st.builds(
    Entry, st.builds(Identity, HOSTILE, HOSTILE, HOSTILE, HOSTILE), HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE
)
REVISIONS = st.builds(
    Revision, number=st.integers(0, 10**6), tree=HOSTILE, commit=HOSTILE, at=HOSTILE, by=HOSTILE, outcome=HOSTILE,
    message=HOSTILE,
)  # fmt: skip
INVENTORIES = st.builds(
    Inventory,
    unit=st.builds(Unit, WORDS, WORDS, WORDS),
    platform=HOSTILE,
    entries=st.lists(ENTRIES, max_size=8, unique_by=lambda entry: entry.identity).map(
        lambda found: tuple(sorted(found))
    ),
    revisions=st.lists(REVISIONS, max_size=3).map(tuple),
    held=HOSTILE,
    suspended=HOSTILE,
)


@LAW
@given(INVENTORIES, st.integers(1, 400))
def test_what_is_stored_is_read_again_in_one_piece_or_many(found: Inventory, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory, "SHARD_BYTES", size)
        stored = inventory.store(found)
        assert inventory.store(found) == stored
    assert inventory.read(stored.data, stored.shards, "x") == found
    rows = [row for text in (stored.data["objects.json"], *stored.shards.values()) for row in json.loads(text)]
    assert len(rows) == len(found.entries)
    assert all(name.startswith(f"{found.unit.key}.") for name in stored.shards)
    longest = max((len(json.dumps(row)) for row in rows), default=0)
    assert all(len(text.encode()) <= size + longest + 10 * len(found.entries) for text in stored.shards.values())


@LAW
@given(INVENTORIES, st.data())
def test_a_missing_shard_is_no_empty_inventory(found: Inventory, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory, "SHARD_BYTES", 1)
        stored = inventory.store(found)
    if stored.shards:
        lost = data.draw(st.sampled_from(sorted(stored.shards)))
        with pytest.raises(Report) as raised:
            inventory.read(stored.data, {name: text for name, text in stored.shards.items() if name != lost}, "head")
        assert [each.code for each in raised.value.diagnostics] == ["AIF742"]
        assert "aif-system/head" in raised.value.diagnostics[0].message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
    max_leaves=8,
)


@LAW
@given(
    st.fixed_dictionaries(
        {"unit.json": (JSON | st.fixed_dictionaries(
            {"format": st.sampled_from([1, 2, "1"]), "unit": JSON, "platform": JSON, "held": JSON, "suspended": JSON,
             "revisions": JSON, "shards": JSON})).map(json.dumps) | st.text(max_size=5),
         "objects.json": JSON.map(json.dumps) | st.text(max_size=5)}
    ) | st.dictionaries(st.sampled_from(["unit.json", "objects.json"]), st.text(max_size=5), max_size=1),
)  # fmt: skip
def test_what_is_no_inventory_is_said_to_be_none(data: dict[str, str]) -> None:
    found = read(data)
    if isinstance(found, Inventory):
        assert read(dict(inventory.store(found).data)) == found
    else:
        assert found == ["AIF742"]


def read(data: dict[str, str]) -> Inventory | list[str]:
    """The inventory, or the codes of what is wrong with it."""
    try:
        return inventory.read(data, {}, "head")
    except Report as report:
        return [each.code for each in report.diagnostics]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"unit": "digits"},
        {"unit": ["a", "b", "c", "d"]},
        {"revisions": [{"number": 1}]},
        {"revisions": [{"number": "x", "tree": "t"}]},
        {"revisions": [["number", 1]]},
        {"shards": ["gone"]},
    ],
)
def test_a_damaged_head_is_an_error_that_names_it(change: dict[str, Any]) -> None:
    data = dict(inventory.store(Inventory(unit=Unit("prod", "vision", "digits"))).data)
    data["unit.json"] = json.dumps(json.loads(data["unit.json"]) | change)
    with pytest.raises(Report) as raised:
        inventory.read(data, {}, "aif.prod.vision.digits")
    (problem,) = raised.value.diagnostics
    assert problem.code == "AIF742"
    assert "aif.prod.vision.digits" in problem.message


def test_history_keeps_the_newest_and_knows_what_to_go_back_to() -> None:
    found = Inventory(unit=Unit("prod", "vision", "digits"))
    for number in range(30):
        found = found.with_revision(Revision(number=0, tree=f"t{number}"))
    assert [each.number for each in found.revisions] == list(range(11, 31))
    found = found.with_revision(Revision(number=0, tree="bad", outcome="failed"))
    assert found.former() is not None
    assert found.former().tree == "t29"
    found = replace(found, held="t29")
    assert found.holds("t29")
    assert found.former().tree == "t28"
    assert found.former(12).tree == "t11"
    assert found.former(5) is None
    assert not Inventory(unit=found.unit).holds("")
    assert Inventory(unit=found.unit).former() is None


def test_eight_thousand_objects_are_kept_in_pieces_and_shrink_again(control_plane: Cluster, namespace: str) -> None:
    """More than an object of the API server may hold, written, read, changed in one place, and taken away."""
    unit = Unit(namespace, "vision", "digits")
    names = (Identity("apps", "Deployment", "vision", f"digits-{n:05}") for n in range(8000))
    rows = [Entry(name, "v1", "u" * 36, "i" * 24, "o" * 24, name.name) for name in names]

    def pieces() -> set[str]:
        found = control_plane.list(
            "v1", "ConfigMap", SYSTEM, labelSelector=f"aif.dev/inventory-environment={namespace}"
        )
        return {each["metadata"]["name"] for each in found}

    async def act() -> None:
        async with Client(access.find(kubeconfig=str(control_plane.kubeconfig))) as client:
            records = Records(client, namespace)
            empty = await records.one(unit)
            full = await records.take(empty, empty.inventory.with_entries(rows), 0)
            assert len(pieces()) == 3
            assert (await records.one(unit)).inventory.entries == tuple(rows)
            known, problems = await records.all()
            assert not problems
            assert known[unit].inventory.entries == tuple(rows)
            before = pieces()
            moved = [*rows[:-1], rows[-1]._replace(uid="new")]
            changed = await records.save(full, full.inventory.with_entries(moved), release=True)
            assert len(pieces() & before) == 2  # the head, and the piece in which nothing has changed
            assert (await records.one(unit)).inventory.entries[-1].uid == "new"
            small = await records.save(changed, changed.inventory.with_entries(rows[:2]), release=True)
            assert pieces() == {unit.key}
            await records.remove(small)
            assert pieces() == set()

    asyncio.run(act())
