from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl.diagnostics import Report
from aifctl.render.bundles import render
from aifctl.render.tree import tree
from aifctl.render.write import Scope, check, folder_of, write
from tests.render import bundles

A = "rendered/lab/vision/a/run/workflow-a-1.yaml"
A2 = "rendered/lab/vision/a/run/workflow-a-2.yaml"
A_SERVE = "rendered/lab/vision/a/serve/service-a.yaml"
B = "rendered/lab/vision/b/run/workflow-b-1.yaml"
FOLDER_A, FOLDER_B = "rendered/lab/vision/a", "rendered/lab/vision/b"


def on_disk(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_tree_is_written_and_then_left_alone(tmp_path: Path) -> None:
    files = tree(render(bundles.everything()), "lab")
    scope = Scope(folders=frozenset({folder_of(bundles.everything())}))
    assert check(tmp_path, files, scope).new == tuple(sorted(files))
    assert on_disk(tmp_path) == {}, "check writes nothing"
    assert write(tmp_path, files, scope).new == tuple(sorted(files))
    assert on_disk(tmp_path) == files
    before = {path: (tmp_path / path).stat().st_mtime_ns for path in files}
    again = write(tmp_path, files, scope)
    assert (again.new, again.changed, again.removed, again.differs) == ((), (), (), False)
    assert again.unchanged == tuple(sorted(files))
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in files} == before


def test_what_differs_is_told_and_replaced(tmp_path: Path) -> None:
    write(tmp_path, {A: b"1", A_SERVE: b"1", B: b"1"})
    scope = Scope(folders=frozenset({FOLDER_A}))
    files = {A2: b"2", A_SERVE: b"2"}
    for found in (check(tmp_path, files, scope), write(tmp_path, files, scope)):
        assert (found.new, found.changed, found.removed, found.unchanged) == ((A2,), (A_SERVE,), (A,), ())
        assert found.differs
    assert on_disk(tmp_path) == {A2: b"2", A_SERVE: b"2", B: b"1"}


def test_only_models_that_were_compiled_lose_files(tmp_path: Path) -> None:
    write(tmp_path, {A: b"1", B: b"1"})
    assert write(tmp_path, {}, Scope()).removed == ()
    assert write(tmp_path, {}, Scope(folders=frozenset({FOLDER_A}))).removed == (A,)
    assert on_disk(tmp_path) == {B: b"1"}
    assert not (tmp_path / FOLDER_A).exists(), "empty folders go with their files"


def test_models_that_are_gone_lose_their_files_when_all_were_compiled(tmp_path: Path) -> None:
    other = "rendered/prod/vision/b/run/workflow-b-1.yaml"
    write(tmp_path, {A: b"1", B: b"1", other: b"1"})
    found = write(tmp_path, {A: b"1"}, Scope(folders=frozenset({FOLDER_A}), complete=frozenset({"lab"})))
    assert found.removed == (B,)
    assert on_disk(tmp_path) == {A: b"1", other: b"1"}


def test_a_model_that_does_not_compile_keeps_all_it_has(tmp_path: Path) -> None:
    write(tmp_path, {A: b"1", B: b"1"})
    scope = Scope(folders=frozenset({FOLDER_A}), complete=frozenset({"lab"}), failed=frozenset({("lab", "b")}))
    assert write(tmp_path, {A: b"1"}, scope).removed == ()


def test_files_of_people_and_of_the_cluster_stay(tmp_path: Path) -> None:
    mine = (
        f"{FOLDER_A}/README.md",
        f"{FOLDER_A}/run/notes.txt",
        f"{FOLDER_A}/kustomization.yaml",
        f"{FOLDER_A}/extra/a.yaml",
        "rendered/lab/_cluster/namespace-x.yaml",
        "rendered/_gitops/run/a.yaml",
        "rendered/lab/vision/note.yaml",
        "models/a/model.yaml",
    )
    for path in mine:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("mine")
    write(tmp_path, {A: b"1"})
    found = write(tmp_path, {}, Scope(folders=frozenset({FOLDER_A}), complete=frozenset({"lab"})))
    assert found.removed == (A,)
    assert set(on_disk(tmp_path)) == set(mine)


def test_what_an_interrupted_write_left_is_cleared(tmp_path: Path) -> None:
    write(tmp_path, {A: b"1"})
    (tmp_path / f"{A}.123.aifctl-tmp").write_text("half")
    assert write(tmp_path, {A: b"1"}, Scope(folders=frozenset({FOLDER_A}))).removed == (f"{A}.123.aifctl-tmp",)
    assert on_disk(tmp_path) == {A: b"1"}


@pytest.mark.parametrize("link", ["rendered", "rendered/lab", "rendered/lab/vision", FOLDER_A, f"{FOLDER_A}/run"])
def test_no_folder_that_is_a_link_is_followed(link: str, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    write(outside, {A: b"kept"})
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(outside / link, target_is_directory=True)
    scope = Scope(folders=frozenset({FOLDER_A}), complete=frozenset({"lab"}))
    for files in ({A: b"2"}, {A2: b"2"}, {}):
        for action in (write, check):
            if not files and link == FOLDER_A:
                continue
            with pytest.raises(Report) as caught:
                action(root, files, scope)
            assert [each.code for each in caught.value.diagnostics] == ["AIF520"]
    assert on_disk(outside) == {A: b"kept"}


def test_a_file_that_is_a_link_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"1")
    (tmp_path / "root" / A).parent.mkdir(parents=True)
    (tmp_path / "root" / A).symlink_to(target)
    assert write(tmp_path / "root", {A: b"1"}).changed == (A,)
    assert not (tmp_path / "root" / A).is_symlink()
    assert write(tmp_path / "root", {A: b"2"}).changed == (A,)
    assert target.read_bytes() == b"1"


def test_a_link_that_is_stale_goes_and_its_target_stays(tmp_path: Path) -> None:
    target = tmp_path / "target.yaml"
    target.write_bytes(b"1")
    write(tmp_path, {A_SERVE: b"1"})
    (tmp_path / A).parent.mkdir(parents=True)
    (tmp_path / A).symlink_to(target)
    assert write(tmp_path, {A_SERVE: b"1"}, Scope(folders=frozenset({FOLDER_A}))).removed == (A,)
    assert target.read_bytes() == b"1"


@pytest.mark.parametrize("path", ["../x.yaml", "rendered/../../x.yaml", "rendered//x.yaml", "rendered/./x.yaml"])
def test_a_path_that_leads_out_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(Report) as caught:
        write(tmp_path / "root", {path: b"1"})
    assert [each.code for each in caught.value.diagnostics] == ["AIF520"]
    assert not (tmp_path / "x.yaml").exists()


def test_a_file_where_a_folder_should_be_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "rendered").write_text("a file")
    with pytest.raises(Report) as caught:
        write(tmp_path, {A: b"1"})
    assert [each.code for each in caught.value.diagnostics] == ["AIF520"]


def test_a_folder_where_a_file_should_be_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / A).mkdir(parents=True)
    with pytest.raises(Report) as caught:
        write(tmp_path, {A: b"1"})
    assert [each.code for each in caught.value.diagnostics] == ["AIF521"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {A: b"1"})

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device", source)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Report) as caught:
        write(tmp_path, {A: b"2"})
    assert [each.code for each in caught.value.diagnostics] == ["AIF521"]
    assert "No space left" in caught.value.diagnostics[0].message
    assert on_disk(tmp_path) == {A: b"1"}


def test_a_root_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    write(tmp_path / "new/root", {A: b"1"})
    assert on_disk(tmp_path / "new/root") == {A: b"1"}


trees = st.dictionaries(st.sampled_from([A, A2, A_SERVE, B]), st.binary(max_size=3))


@settings(max_examples=60, deadline=None)
@given(trees, trees)
def test_whatever_was_there_the_tree_is_what_was_compiled(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    scope = Scope(folders=frozenset({FOLDER_A, FOLDER_B}))
    write(root, before, scope)
    expected = check(root, after, scope)
    assert write(root, after, scope) == expected
    assert on_disk(root) == after
    assert set(expected.removed) == set(before) - set(after)
    assert not replace(check(root, after, scope), unchanged=()).differs
