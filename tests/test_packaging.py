"""The wheel and the source archive: built here, installed in an empty environment elsewhere, used there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
IGNORED = shutil.ignore_patterns("__pycache__", ".aif", "rendered", "releases")


def command(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs without this environment's settings, so that only what was installed can be found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run([str(word) for word in words], cwd=cwd, env=kept, capture_output=True, text=True, check=False)


def succeed(*words: str | Path, cwd: Path) -> str:
    done = command(*words, cwd=cwd)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def copy_specs(folder: Path) -> Path:
    return Path(shutil.copytree(ROOT / "examples" / "specs", folder / "specs", ignore=IGNORED))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and source archive, built from the files as they are, by the back end that is installed."""
    folder = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has the wheel and its base dependencies, nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    succeed(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    succeed(
        uv,
        "pip",
        "install",
        "--offline",
        "--python",
        python,
        "--constraints",
        ROOT / "constraints.txt",
        wheel,
        cwd=folder,
    )
    return python


class TestWheel:
    def test_holds_what_it_needs_and_nothing_else(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as members:
            names = members.namelist()
        tops = {name.split("/")[0] for name in names}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"aifctl"}
        for folder, data in (("templates", "aifctl/_data/templates"), ("schemas", "aifctl/_data/schemas")):
            here = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
            there = {name.removeprefix(f"{data}/") for name in names if name.startswith(data)}
            assert here
            assert there == here
        pages = {path.name for path in (ROOT / "aifctl/diagnostics/pages").glob("*.md")}
        assert {Path(name).name for name in names if name.startswith("aifctl/diagnostics/pages/")} == pages
        assert "aifctl/py.typed" in names
        assert any(name.endswith("/licenses/LICENSE") for name in names)

    def test_renders_an_example_elsewhere(self, installed: Path, tmp_path: Path) -> None:
        specs = tmp_path / "specs"
        shutil.copytree(
            ROOT / "examples" / "specs", specs, ignore=shutil.ignore_patterns("__pycache__", ".aif", "rendered")
        )
        out, here = tmp_path / "out", tmp_path / "here"
        words = ("render", specs / "digits-pytorch", "--env", "lab", "--out")
        succeed(installed.with_name("aifctl"), *words, out, cwd=tmp_path)
        succeed(sys.executable, "-m", "aifctl", *words, here, cwd=tmp_path)
        assert next(out.rglob("lab/vision/digits/run/workflow-digits-*.yaml"))
        assert contents(out) == contents(here)

    def test_its_own_copy_of_aifctl_answers(self, installed: Path, tmp_path: Path) -> None:
        where = succeed(installed, "-c", "import aifctl; print(aifctl.__file__)", cwd=tmp_path)
        assert Path(where.strip()).is_relative_to(installed.parent.parent)
        for words in (["--version"], ["--help"], ["explain", "AIF601"], ["schema", "model"]):
            assert succeed(installed.with_name("aifctl"), *words, cwd=tmp_path).strip()

    def test_a_step_says_which_package_it_lacks(self, installed: Path, tmp_path: Path) -> None:
        """The base install runs no steps; it must say so in words."""
        specs = tmp_path / "specs"
        shutil.copytree(
            ROOT / "examples" / "specs", specs, ignore=shutil.ignore_patterns("__pycache__", ".aif", "rendered")
        )
        done = command(installed.with_name("aifctl"), "run", specs / "minimal" / "model.yaml", cwd=specs)
        told = done.stdout + done.stderr
        assert done.returncode == 1
        assert "Traceback" not in told
        assert "aifctl[" in told


class TestSourceArchive:
    def test_builds_the_same_package(self, dist: Path) -> None:
        (archive,) = dist.glob("*.tar.gz")
        with tarfile.open(archive) as members:
            names = {name.partition("/")[2] for name in members.getnames()}
        assert {"pyproject.toml", "LICENSE", "README.md", "aifctl/pipeline.py"} <= names
        assert not [name for name in names if name.split("/")[0] in (".venv", ".demo", "rendered", ".aif")]
