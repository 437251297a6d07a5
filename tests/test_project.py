"""The project itself: pins, layers, light imports, what the README promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from aifctl.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL = {
    "pyproject.toml", "constraints.txt", "aifctl", "schemas", "templates", "examples", "tests", "benchmarks", "docs",
    ".github", ".ci", ".gitignore", "README.md", "Makefile", "LICENSE",
}  # fmt: skip
HEAVY = (
    "torch", "tensorflow", "keras", "onnx", "onnxruntime", "mlflow", "kubernetes", "numpy", "pandas", "fsspec",
    "sklearn",
)  # fmt: skip
INDEX_HOST = re.compile(r"https?://[^\s/]*(?:pypi|pythonhosted|artifactory|nexus|devpi)[^\s]*", re.IGNORECASE)
INDEX_OPTION = re.compile(r"--(?:extra-)?index-url|--find-links|\[\[?tool\.uv\.index")
LOCK_FILES = {"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "package-lock.json", "yarn.lock"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def requirement_name(text: str) -> str:
    matched = re.match(r"[A-Za-z0-9._-]+", text)
    assert matched, text
    return re.sub(r"[-_.]+", "-", matched.group()).lower()


def fresh(code: str, *arguments: str, cwd: Path = ROOT) -> str:
    """Standard output of a new interpreter that runs the code."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestFiles:
    def test_top_level_is_fixed(self) -> None:
        assert {path.relative_to(ROOT).parts[0] for path in tracked()} == TOP_LEVEL

    def test_no_file_names_a_package_index(self) -> None:
        found = []
        for path in tracked():
            if path == Path(__file__) or path.suffix in (".csv", ".npz", ".parquet"):
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in INDEX_HOST.finditer(text)]
            if path.name == "constraints.txt":
                found += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in INDEX_OPTION.finditer(text)]
        assert not found

    def test_no_foreign_lock_files(self) -> None:
        assert not [path for path in tracked() if path.name in LOCK_FILES]


class TestPins:
    def test_every_dependency_is_pinned_with_hashes(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
        wanted = {requirement_name(each) for group in groups for each in group} - {"aifctl"}
        wanted |= {requirement_name(each) for each in project["build-system"]["requires"]}
        blocks = re.split(r"\n(?=\S)", (ROOT / "constraints.txt").read_text().strip())
        pinned = {requirement_name(block): block for block in blocks}
        assert not wanted - pinned.keys()
        for block in blocks:
            assert re.match(r"[A-Za-z0-9._-]+==\S+", block), block
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block

    def test_demo_installs_no_tensorflow(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        extras = re.search(r"^DEMO_EXTRAS := (\S+)$", makefile, re.MULTILINE)
        assert extras
        optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        packages = {requirement_name(each) for name in extras.group(1).split(",") for each in optional[name]}
        assert "torch" in packages
        assert "tensorflow" not in packages


class TestLayers:
    def test_contracts_hold(self) -> None:
        program = Path(sys.executable).with_name("lint-imports")
        done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_every_module_says_what_it_is(self) -> None:
        silent = [
            str(path.relative_to(ROOT))
            for folder in ("aifctl", "benchmarks")
            for path in sorted((ROOT / folder).rglob("*.py"))
            if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        ]
        assert not silent


class TestLightness:
    LOADED = f"import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"

    def test_commands_import_nothing_heavy(self) -> None:
        everything = "; ".join(f"import aifctl.cli.{name}" for name in COMMANDS)
        assert fresh(f"import aifctl.cli; {everything}; {self.LOADED}").split() == []

    @pytest.mark.parametrize(
        "arguments", [["render", "--env", "lab", "--stdout"], ["validate"], ["plan", "--env", "lab"]], ids=" ".join
    )
    def test_compiling_imports_nothing_heavy(self, arguments: list[str]) -> None:
        code = (
            f"import sys; from aifctl.cli import main; code = main(sys.argv[1:]); assert code in (0, 2); {self.LOADED}"
        )
        last = fresh(code, *arguments, cwd=ROOT / "examples" / "specs").splitlines()[-1]
        assert last.split() == []


class TestReadme:
    TEXT = (ROOT / "README.md").read_text(encoding="utf-8")

    def test_names_every_command_and_no_other(self) -> None:
        named = set(re.findall(r"`aifctl ([a-z]+)[^`]*`", self.TEXT))
        assert named == set(COMMANDS)

    def test_its_make_targets_exist(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        named = set(re.findall(r"\bmake ([a-z][a-z-]+)\b", self.TEXT))
        assert {"demo", "test"} <= named <= targets

    def test_its_links_lead_somewhere(self) -> None:
        pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        broken = [
            f"{page.name}: {target}"
            for page in pages
            for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
            if "://" not in target and not (page.parent / target).exists()
        ]
        assert not broken

    def test_its_spec_is_the_minimal_example(self) -> None:
        shown = re.search(r"## A spec\n\n```yaml\n(.*?)```", self.TEXT, re.DOTALL)
        assert shown
        example = (ROOT / "examples" / "specs" / "minimal" / "model.yaml").read_text(encoding="utf-8")
        lines = [line for line in example.splitlines() if not line.startswith("#")]
        assert shown.group(1).splitlines() == lines
