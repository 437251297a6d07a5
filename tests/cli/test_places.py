"""Where a command is started: in the repository's root, below it, without a platform file, in folders of any name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aifctl.cli import arguments
from tests.cli.conftest import Command, Done

MODELS = {"digits", "digits-tf", "iris", "wine"}


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestBelowTheRoot:
    def test_a_command_without_paths_is_about_the_whole_repository(
        self, examples: Command, inside: Callable[..., Done]
    ) -> None:
        """Rendering in one model's folder must not remove the others' manifests."""
        top = examples.folder
        inside(top, "render", "--env", "lab")
        rendered = tree(top / "rendered")
        assert {name.split("/")[2] for name in rendered if "/_cluster/" not in f"/{name}"} == MODELS
        assert "up to date" in inside(top / "minimal/src", "render", "--env", "lab").stdout
        assert "up to date" in inside(top / "minimal/src", "render", "--env", "lab", "--no-cache").stdout
        assert tree(top / "rendered") == rendered
        assert inside(top / "minimal/src", "render", "--env", "lab", "--check").returncode == 0
        assert inside(top / "minimal/src", "plan", "--env", "lab").returncode == 0
        assert inside(top / "minimal/src", "validate").stdout == "4 models valid in local, lab, prod\n"

    def test_a_folder_that_is_named_is_only_that_folder(self, examples: Command, inside: Callable[..., Done]) -> None:
        top = examples.folder
        inside(top, "render", "--env", "lab")
        (top / "wine-sklearn/model.yaml").write_text("kind: Model\napiVersion: aif.dev/v1alpha1\n")
        assert inside(top / "minimal", "validate", ".").stdout == "1 model valid in local, lab, prod\n"
        assert "up to date: 6 files" in inside(top / "minimal", "render", "--env", "lab", ".").stdout

    def test_files_are_named_so_that_they_can_be_opened(self, examples: Command, inside: Callable[..., Done]) -> None:
        spec = examples.folder / "wine-sklearn/model.yaml"
        spec.write_text(spec.read_text("utf-8").replace("task: classification", "task: clasification"), "utf-8")
        assert inside(examples.folder, "validate").stderr.startswith("wine-sklearn/model.yaml:6:9: error[AIF206]")
        assert inside(examples.folder / "minimal", "validate").stderr.startswith(f"{spec}:6:9: error[AIF206]")

    @pytest.mark.parametrize("below", [".", "minimal", "digits-pytorch/src", "digits-pytorch/src/digits"])
    def test_a_models_name_is_looked_up_in_the_whole_repository(
        self, below: str, examples: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(examples.folder / below)
        for name in MODELS:
            loaded, found = arguments.one_model(name)
            assert found == name
            assert [document.model_name for document in loaded.documents] == [name]
            assert loaded.root == examples.folder


class TestNames:
    def test_a_folder_of_the_models_name_does_not_hide_it(
        self, examples: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`src/digits` holds the code of model `digits`."""
        monkeypatch.chdir(examples.folder / "digits-pytorch/src")
        assert Path("digits").is_dir()
        assert arguments.one_model("digits")[1] == "digits"

    @pytest.mark.parametrize(
        "path", ["minimal", "./minimal", "minimal/", "minimal/model.yaml", "../specs/minimal", "minima?/*.yaml"]
    )
    def test_paths(self, path: str, examples: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(examples.folder)
        loaded, name = arguments.one_model(path)
        assert name is None
        assert [document.model_name for document in loaded.documents] == ["iris"]

    def test_what_is_neither(self, examples: Command, inside: Callable[..., Done]) -> None:
        done = inside(examples.folder, "run", "iri")
        assert (done.returncode, "did you mean `iris`?" in done.stderr) == (1, True)
        done = inside(examples.folder, "run", "minimal/mode.yaml")
        assert "minimal/mode.yaml: error[AIF113]: no such file or folder" in done.stderr

    def test_a_broken_spec_does_not_hide_what_was_meant(self, examples: Command, inside: Callable[..., Done]) -> None:
        spec = examples.folder / "wine-sklearn/model.yaml"
        spec.write_text(spec.read_text("utf-8").replace("task: classification", "task: clasification"), "utf-8")
        said = {words: inside(examples.folder, "run", words).stderr for words in ("wine", "wien", ".")}
        assert "error[AIF206]" in said["wine"]
        assert "error[AIF121]: no model `wien` here" in said["wien"]
        assert "did you mean `wine`?" in said["wien"]
        assert "error[AIF122]: several models here: `digits`, `digits-tf`, `iris`, `wine`" in said["."]

    def test_a_name_is_found_though_another_spec_is_broken(
        self, examples: Command, inside: Callable[..., Done]
    ) -> None:
        (examples.folder / "wine-sklearn/model.yaml").write_text("apiVersion: aif.dev/v1alpha1\nkind: [", "utf-8")
        done = inside(examples.folder, "retry", "iris", "--env", "lab")
        assert done.returncode == 0, done.stderr


class TestWithoutAPlatform:
    @pytest.fixture
    def alone(self, examples: Command, tmp_path: Path) -> Path:
        for name in ("minimal", "wine-sklearn"):
            shutil.copytree(examples.folder / name, tmp_path / "alone" / "models" / name)
        return tmp_path / "alone"

    def test_the_working_folder_is_the_repository(self, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`run` by file, by name, `runs` and `promote` must look into one store."""
        monkeypatch.chdir(alone)
        assert arguments.root() == alone
        for target in ("iris", "models/minimal", "models/minimal/model.yaml"):
            assert arguments.one_model(target)[0].root == alone

    def test_specs_elsewhere_are_their_own_repository(self, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (alone / "elsewhere").mkdir()
        monkeypatch.chdir(alone / "elsewhere")
        assert arguments.one_model(str(alone / "models/minimal/model.yaml"))[0].root == alone / "models/minimal"

    def test_validate(self, alone: Path, inside: Callable[..., Done]) -> None:
        assert inside(alone, "validate").stdout == "2 models valid in local\n"

    def test_a_folder_without_specs(self, tmp_path: Path, inside: Callable[..., Done]) -> None:
        for command in (["validate"], ["render"], ["plan"], ["run", "x"], ["lock"], ["promote", "x", "-e", "local"]):
            done = inside(tmp_path, *command)
            assert (done.returncode, done.stdout) == (1, "")
            assert "error[AIF114]: no model specs in this folder" in done.stderr
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["with a space", "ünï-日本", "a'quote\"d", "-dash", "[x]", "per%20cent"])
def test_folders_of_any_name(
    name: str, copy_examples: Callable[[str], Path], examples: Command, inside: Callable[..., Done]
) -> None:
    folder = copy_examples(f"{name}/{name}")
    done = inside(folder, "render", "--env", "lab")
    assert done.returncode == 0, done.stderr
    inside(examples.folder, "render", "--env", "lab")
    assert tree(folder / "rendered") == tree(examples.folder / "rendered")
    above = folder.parent
    assert inside(above, "validate", f"./{name}").stdout == "4 models valid in local, lab, prod\n"
