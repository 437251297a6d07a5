"""A project's first hour: `init`, `run`, small runs for a look, and mistakes in one's own code."""

from __future__ import annotations

import re

import pytest

from tests.e2e_local.conftest import Done, Project, post

MISFIT = """\
import torch


class Net(torch.nn.Module):
    def forward(self, measurements):
        return measurements @ torch.zeros(9, 3)


def build(params, signature):
    return Net()
"""
GOOD_ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}


def begun(tmp_path_factory: pytest.TempPathFactory, framework: str) -> Project:
    project = Project(tmp_path_factory.mktemp("started") / "my models")
    Project(project.root.parent).well("init", project.root.name, "--framework", framework)
    project.well("validate")
    return project


def goes_the_whole_line(project: Project) -> None:
    ran = project.well("run", "iris", "--no-tracking", "-o", "json")
    assert ran.json["state"] == "done"
    assert ran.outputs("evaluate")["metrics"]["accuracy"] >= 0.9
    project.well("promote", "iris", "--env", "local")
    with project.serving("iris") as url:
        status, answer = post(f"{url}/predict", GOOD_ROW)
    assert (status, answer["label"]) == (200, "setosa")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return begun(tmp_path_factory, "pytorch")


@pytest.fixture(scope="session")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return begun(tmp_path_factory, "custom")


@pytest.fixture(scope="session")
def look(project: Project) -> Done:
    """A run for a look; its gate lets nothing pass, so it ends there."""
    settings = ("--set", "training.epochs=2", "--set", "evaluation.gate.accuracy.min=1")
    done = project("run", "iris", *settings, "--sample", "90", "--device", "cpu", "--no-tracking", "-o", "json")
    assert done.steps["gate"] == "failed", done.err
    return done


@pytest.mark.torch
def test_a_pytorch_start_works(project: Project) -> None:
    goes_the_whole_line(project)


def test_a_custom_start_works(custom: Project) -> None:
    goes_the_whole_line(custom)


@pytest.mark.torch
class TestALook:
    """--set, --sample and --device make another run, and leave the spec alone."""

    def test_it_took_what_was_set(self, project: Project, look: Done) -> None:
        (record,) = [r for r in project.well("runs", "-o", "json").json["runs"] if r["run"] == look.json["run"]]
        assert record["parameters"]["epochs"] == 2
        assert record["spec"]["spec"]["training"]["epochs"] == 2
        assert {"--set", "training.epochs=2", "--sample", "90", "--device", "cpu"} <= set(record["command"])

    def test_it_read_a_sample(self, look: Done) -> None:
        assert look.outputs("prepare")["rows"] == 90
        assert look.outputs("train")["epochs"] == 2

    def test_the_spec_is_as_it_was(self, project: Project) -> None:
        assert "epochs: 40" in (project.root / "models/iris/model.yaml").read_text()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--set", "training.epochs=many"), "error[AIF205]"),
            (("--set", "training.epoch=3"), "did you mean `epochs`?"),
            (("--set", "datasets.iriss.format=csv"), "error[AIF120]"),
            (("--device", "tpu"), "error["),
            (("--sample", "3"), "error["),
        ],
        ids=["type", "name", "nowhere", "device", "sample"],
    )
    def test_what_can_not_be(self, words: tuple[str, ...], said: str, project: Project) -> None:
        done = project("run", "iris", "--no-tracking", *words)
        assert done.code == 1
        assert said in done.err


@pytest.mark.torch
class TestMistakes:
    """Of the user's code: said with its file and line, without a frame of aifctl's own."""

    @pytest.mark.parametrize(
        ("code", "line", "said"),
        [
            ("def build(params, signature):\n    return nn.Linear(4\n", 2, "SyntaxError"),
            ("import torhc\n", 1, "torhc"),
            ("def build(params, signature):\n    width = params['width']\n    return width\n", 2, "KeyError: 'width'"),
            (MISFIT, 6, "shapes cannot be multiplied"),
        ],
        ids=["syntax", "import", "exception", "in-training"],
    )
    def test_is_said_where_it_is(self, code: str, line: int, said: str, project: Project) -> None:
        done = self.run_with(project, code)
        assert f"iris.py:{line}" in done.err
        assert said in done.err
        assert "/aifctl/runtime/" not in done.err, "our frames are no help"

    @pytest.mark.parametrize("value", ["None", "lambda x: x"])
    def test_what_is_no_model(self, value: str, project: Project) -> None:
        done = self.run_with(project, f"def build(params, signature):\n    return {value}\n")
        assert "`iris:build`" in done.err
        assert re.search(r"error\[AIF8\d\d\]", done.err)

    def test_a_function_that_is_not_there(self, project: Project) -> None:
        done = self.run_with(project, "def biuld(params, signature): ...\n")
        assert "build" in done.err
        assert re.search(r"error\[AIF\d+\]", done.err)

    @staticmethod
    def run_with(project: Project, code: str) -> Done:
        path = project.root / "models/iris/src/iris.py"
        before = path.read_text()
        path.write_text(code)
        try:
            done = project("run", "iris", "--no-tracking")
        finally:
            path.write_text(before)
        assert done.code == 1
        return done


class TestMistakesOfACommand:
    @pytest.mark.parametrize(
        ("file", "code", "said"),
        [
            ("train.py", "raise ValueError('no wine today')\n", "no wine today"),
            ("train.py", "import sys; sys.exit(7)\n", "exit code 7"),
            ("train.py", "print('done')\n", "model.skops"),
            ("predict.py", "def predict(model_dir, batch):\n    return 1 / 0\n", "predict.py:2"),
        ],
        ids=["exception", "exit-code", "no-model", "predict"],
    )
    def test_is_said(self, file: str, code: str, said: str, custom: Project) -> None:
        path = custom.root / "models/iris/src" / file
        before = path.read_text()
        path.write_text(code)
        try:
            done = custom("run", "iris", "--no-tracking")
        finally:
            path.write_text(before)
        assert done.code == 1
        assert said in done.err
        assert re.search(r"error\[AIF8\d\d\]", done.err)
