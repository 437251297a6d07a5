"""A commit compiled in a process of its own: its result, and its end."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from aifctl.cluster.inventory import Unit
from aifctl.diagnostics import Report
from aifctl.manifest import Identity
from aifctl.reconcile import compiling
from aifctl.reconcile.book import Book, State
from aifctl.reconcile.compiling import Compilation, Object, Packed
from aifctl.reconcile.source import Source
from tests.controlplane.cluster import Cluster
from tests.delivery import garden as gardens
from tests.delivery.garden import Garden


@pytest.fixture
def garden(tmp_path: Path) -> Garden:
    """Not in a cluster: nothing here asks one."""
    return gardens.new(tmp_path / "garden", Cluster(tmp_path, "https://127.0.0.1:1"), "rose", "tulip")


def compiled(garden: Garden, tmp_path: Path, *, limit: float = 60.0, environment: str = "") -> Compilation:
    async def act() -> Compilation:
        source = Source(str(garden.root), "main", tmp_path / "state")
        commit = await source.fetch()
        return await compiling.compiled(source.mirror, commit, environment or garden.environment, limit)

    return asyncio.run(act())


def test_units_come_as_bytes_and_unpack_to_manifests(garden: Garden, tmp_path: Path) -> None:
    found = compiled(garden, tmp_path)
    rose = Unit(garden.environment, "garden", "rose")
    assert set(found.units) == {Unit(garden.environment), rose, rose._replace(model="tulip")}
    wanted = found.units[rose].unpacked()
    assert {manifest.kind for manifest in wanted.manifests} == {
        "Deployment",
        "NetworkPolicy",
        "Service",
        "ServiceAccount",
    }
    assert {each.identity for each in found.units[rose].objects} == {each.identity for each in wanted.manifests}
    assert found.complete
    assert found.environment.namespace_of("garden") == garden.namespace
    assert not list((tmp_path / "state").glob("tree-*"))


def test_a_broken_spec_is_frozen_with_its_reason(garden: Garden, tmp_path: Path) -> None:
    garden.edit("models/rose/model.yaml", "export: linear\n", "export: nowhere\n").commit()
    found = compiled(garden, tmp_path)
    assert set(found.frozen) == {"rose"}
    assert found.frozen["rose"].notes[0].startswith("models/rose/model.yaml:")
    assert {unit.model for unit in found.units} == {"", "tulip"}
    assert found.complete


def test_a_spec_without_a_readable_name_makes_the_rest_incomplete(garden: Garden, tmp_path: Path) -> None:
    garden.edit("models/rose/model.yaml", "metadata: {name: rose", "metadata: {{{name: rose").commit()
    found = compiled(garden, tmp_path)
    assert not found.complete
    assert {unit.model for unit in found.units} == {"", "tulip"}


def test_an_environment_that_is_none_of_ours(garden: Garden, tmp_path: Path) -> None:
    with pytest.raises(Report, match="AIF212"):
        compiled(garden, tmp_path, environment="nowhere")
    with pytest.raises(Report, match="AIF620"):
        compiled(garden, tmp_path, environment="local")
    serves = "      roles: [serve]\n"
    garden.edit("platform.yaml", serves, serves + "      deliverer: argocd\n").commit()
    with pytest.raises(Report, match="AIF733"):
        compiled(garden, tmp_path)


def test_a_compile_that_takes_too_long_is_ended(garden: Garden, tmp_path: Path) -> None:
    with pytest.raises(Report, match=r"AIF771.*longer than"):
        compiled(garden, tmp_path, limit=0.05)
    assert not list((tmp_path / "state").glob("tree-*"))
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "state")], capture_output=True, text=True)
    assert left.stdout == ""


def test_a_compile_that_is_killed_is_a_finding(garden: Garden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(Report, match=r"AIF771.*signal 9"):
        compiled(garden, tmp_path)


def packed(unit: Unit, *places: tuple[str, str]) -> Packed:
    objects = tuple(Object(Identity("", "ConfigMap", space, name), "v1", "0" * 24, False) for space, name in places)
    return Packed(unit, "tree", objects, b"")


def test_two_units_that_want_one_object_are_both_left_alone(garden: Garden, tmp_path: Path) -> None:
    found = compiled(garden, tmp_path)
    rose, tulip = (Unit(garden.environment, "garden", name) for name in ("rose", "tulip"))
    shared = (garden.namespace, "shared")
    units = {rose: packed(rose, shared), tulip: packed(tulip, shared, (garden.namespace, "own"))}
    book = Book(garden.environment)
    book.adopt(
        Compilation(commit="c", environment=found.environment, platform="acme", units=units, frozen={}, complete=True)
    )
    for unit in (rose, tulip):
        standing = book.standing(book.work(unit))
        assert standing is not None
        assert standing[0] is State.FAILED
        assert standing[1] is not None
        assert standing[1].code == "AIF775"


@pytest.mark.parametrize("space", ["kube-system", "", "garden-other"])
def test_a_unit_that_reaches_out_of_its_namespace_is_left_alone(garden: Garden, tmp_path: Path, space: str) -> None:
    found = compiled(garden, tmp_path)
    rose = Unit(garden.environment, "garden", "rose")
    units = {rose: packed(rose, (garden.namespace, "own"), (space, "theirs"))}
    book = Book(garden.environment)
    book.adopt(
        Compilation(commit="c", environment=found.environment, platform="acme", units=units, frozen={}, complete=True)
    )
    standing = book.standing(book.work(rose))
    assert standing is not None
    assert standing[1] is not None
    assert standing[1].code == "AIF778"
