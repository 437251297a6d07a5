"""A commit compiled in a process of its own: its result, and its end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aifctl.cluster.inventory import Unit
from aifctl.diagnostics import Report
from aifctl.manifest import Identity
from aifctl.reconcile import compiling, memory
from aifctl.reconcile.book import Book, State
from aifctl.reconcile.compiling import TOO_OFTEN, Compilation, Lost, Object, Packed
from aifctl.reconcile.source import Source
from aifctl.reconcile.tries import Tries
from tests.controlplane.cluster import Cluster
from tests.delivery import garden as gardens
from tests.delivery.garden import Garden


@pytest.fixture
def garden(tmp_path: Path) -> Garden:
    """Not in a cluster: nothing here asks one."""
    return gardens.new(tmp_path / "garden", Cluster(tmp_path, "https://127.0.0.1:1"), "rose", "tulip")


def compiled(
    garden: Garden, tmp_path: Path, *, limit: float = 60.0, environment: str = "", without: tuple[str, ...] = ()
) -> Compilation:
    async def act() -> Compilation:
        source = Source(str(garden.root), "main", tmp_path / "state")
        commit = await source.fetch()
        return await compiling.compiled(source.mirror, commit, environment or garden.environment, limit, without)

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


AILING = """\
import os, sys
from pathlib import Path
from aifctl import pipeline
from aifctl.reconcile import compiling, memory
healthy = pipeline.compile_unit
def compile_unit(repository, unit):
    if unit.name == "rose":
        {does}
    return healthy(repository, unit)
pipeline.compile_unit = compile_unit
memory.keep_within.__defaults__ = (Path({cgroup!r}),)
compiling.main(sys.argv[4:])
"""


@pytest.fixture
def rose_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What compiling `rose` does to the process that compiles; `left` are the bytes that its container has."""

    def set_up(does: str, left: int | None = None) -> None:
        cgroup = tmp_path / "cgroup"
        cgroup.mkdir()
        for name, text in (("memory.max", str(left or "max")), ("memory.current", "0"), ("memory.stat", "")):
            (cgroup / name).write_text(text)
        script, program = tmp_path / "ailing.py", tmp_path / "python"
        script.write_text(AILING.format(does=does, cgroup=str(cgroup)))
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        monkeypatch.setattr("sys.executable", str(program))

    return set_up


@pytest.mark.parametrize(
    ("does", "how"), [("os.kill(os.getpid(), 9)", "signal 9 (SIGKILL: out of memory?)"), ("os._exit(7)", "code 7")]
)
def test_it_is_told_which_model_ended_it_and_that_one_can_be_left_out(
    garden: Garden, tmp_path: Path, rose_does: Callable[..., None], does: str, how: str
) -> None:
    rose_does(does)
    with pytest.raises(Lost) as caught:
        compiled(garden, tmp_path)
    assert caught.value.model == "rose"
    (found,) = caught.value.diagnostics
    assert found.message.endswith(f"{how} while it compiled model `rose`")
    found_without = compiled(garden, tmp_path, without=("rose",))
    assert {unit.model for unit in found_without.units} == {"", "tulip"}
    assert "left out" in found_without.frozen["rose"].notes[0]
    assert found_without.complete
    assert not found_without.passing


def test_a_model_that_takes_more_memory_than_there_is_ends_alone(
    garden: Garden, tmp_path: Path, rose_does: Callable[..., None]
) -> None:
    rose_does("bytearray(600 << 20)", left=400 << 20)
    found = compiled(garden, tmp_path)
    assert {unit.model for unit in found.units} == {"", "tulip"}
    assert "out of memory" in found.frozen["rose"].notes[0]
    assert found.passing == {"rose"}


def test_without_a_limit_a_model_has_what_there_is(
    garden: Garden, tmp_path: Path, rose_does: Callable[..., None]
) -> None:
    rose_does("bytearray(600 << 20)")
    assert not compiled(garden, tmp_path).frozen


def test_what_is_wrong_with_a_model_does_not_pass(
    garden: Garden, tmp_path: Path, rose_does: Callable[..., None]
) -> None:
    rose_does("raise LookupError('ours')")
    found = compiled(garden, tmp_path)
    assert set(found.frozen) == {"rose"}
    assert not found.passing


def test_the_room_of_a_container_counts_cached_files_as_free(tmp_path: Path) -> None:
    for name, text in (
        ("memory.max", "1000\n"),
        ("memory.current", "700\n"),
        ("memory.stat", "anon 1\ninactive_file 50\n"),
    ):
        (tmp_path / name).write_text(text)
    assert memory.room(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.room(tmp_path) is None
    assert memory.room(tmp_path / "nowhere") is None


def test_tries_grow_rarer_and_begin_anew_with_each_commit() -> None:
    tries = Tries()
    pauses = [tries.failed("one", 100.0) for _ in range(9)]
    assert pauses[0] < 6
    assert pauses[2] > pauses[0]
    assert max(pauses) <= 330
    assert not tries.is_due("one", 101.0)
    assert tries.is_due("one", 100.0 + pauses[-1])
    assert tries.is_due("two", 101.0)
    assert tries.failed("two", 100.0) < 6


def test_a_model_is_left_out_when_it_ended_the_process_too_often_and_tried_again_with_a_new_commit() -> None:
    tries = Tries()
    for _ in range(TOO_OFTEN):
        assert tries.without("one") == set()
        tries.failed("one", 0.0, "rose")
    tries.failed("one", 0.0, "tulip")
    assert tries.without("one") == {"rose"}
    tries.went_well("one")
    assert tries.without("one") == {"rose"}
    assert tries.without("two") == set()


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
