"""`aifctl init`: a project that is right as it stands. That it also runs is shown in tests/e2e_local."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from aifctl.delivery import starting
from aifctl.spec import json_schema
from tests.cli.conftest import Done

FRAMEWORKS = ["custom", "pytorch", "tensorflow"]


def test_frameworks() -> None:
    assert starting.known() == FRAMEWORKS


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_start_is_valid_without_a_warning(framework: str, tmp_path: Path, inside: Callable[..., Done]) -> None:
    done = inside(tmp_path, "init", "my models", "--framework", framework)
    assert done.returncode == 0
    *files, blank, following = done.stdout.splitlines()
    assert (blank, following) == ("", "next:  cd 'my models' && aifctl validate && aifctl run iris")
    there = [path.relative_to(tmp_path) for path in (tmp_path / "my models").rglob("*") if path.is_file()]
    assert sorted(map(str, there)) == sorted(files)
    checked = inside(tmp_path / "my models", "validate")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "1 model valid in local\n", "")


def test_here_and_as_json(tmp_path: Path, inside: Callable[..., Done]) -> None:
    done = inside(tmp_path, "init", "-o", "json")
    files = json.loads(done.stdout)["files"]
    assert {"platform.yaml", "models/iris/model.yaml", ".gitignore"} <= set(files)
    assert all((tmp_path / name).is_file() for name in files)


def test_store_is_kept_out_of_git(tmp_path: Path, inside: Callable[..., Done]) -> None:
    inside(tmp_path, "init")
    assert ".aif/" in (tmp_path / ".gitignore").read_text("utf-8").splitlines()


def test_editors_find_the_schemas(tmp_path: Path, inside: Callable[..., Done]) -> None:
    """The first line of each spec names a schema that is there, relative to that spec."""
    inside(tmp_path, "init")
    for name, kind in (("platform.yaml", "platform"), ("models/iris/model.yaml", "model")):
        spec = tmp_path / name
        first = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", spec.read_text("utf-8").splitlines()[0])
        assert first is not None
        assert (spec.parent / first[1]).read_text("utf-8") == json_schema.text(kind)


@pytest.mark.parametrize("there", ["platform.yaml", "models/iris/src/iris.py", ".gitignore"])
def test_nothing_is_overwritten(there: str, tmp_path: Path, inside: Callable[..., Done]) -> None:
    mine = tmp_path / there
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    done = inside(tmp_path, "init")
    assert done.returncode == 1
    assert f"error[AIF623]: {there} is there already" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine"


def test_where_no_folder_can_be(tmp_path: Path, inside: Callable[..., Done]) -> None:
    (tmp_path / "file").write_text("")
    done = inside(tmp_path, "init", "file/project")
    assert done.returncode == 1
    assert "error[AIF621]: file/project/" in done.stderr


def test_a_reconciler(tmp_path: Path, inside: Callable[..., Done]) -> None:
    words = ["init", "--reconciler", "--repo", "https://git.example/models", "--env", "lab"]
    for less, said in (
        (["init", "--reconciler"], "--reconciler needs --repo"),
        ([*words, "--interval", "often"], "'often' is no duration"),
        (words, "error[AIF625]: there is no image"),
    ):
        done = inside(tmp_path, *less)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
    done = inside(tmp_path, *words, "--image", "registry.example/aifctl:1")
    *files, blank, following = done.stdout.splitlines()
    assert (blank, following) == ("", "next:  kubectl apply --server-side --filename reconciler/lab")
    assert sorted(map(str, files)) == sorted(
        str(path.relative_to(tmp_path)) for path in (tmp_path / "reconciler").rglob("*.yaml")
    )
    assert not (tmp_path / "models").exists(), "no project is started"
