"""The examples as a repository of their own, with releases made by hand, and what is compiled from them."""

from __future__ import annotations

import shutil
from pathlib import Path

from aifctl import pipeline
from aifctl.pipeline import Compiled
from aifctl.render.tree import tree
from aifctl.spec import load

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples/specs"
ENVIRONMENTS = ("lab", "prod")
IGNORED = shutil.ignore_patterns("__pycache__", ".aif", "rendered", "releases", "*.lock.yaml")


def lay_out(folder: Path) -> Path:
    """Writes the examples and their releases below a new folder."""
    shutil.copytree(EXAMPLES, folder, ignore=IGNORED)
    shutil.copytree(HERE / "releases", folder / "releases")
    return folder


def compiled(folder: Path, environment: str) -> Compiled:
    repository = load.load([folder])
    return pipeline.compile_environment(repository, repository.environment(environment))


def rendered(folder: Path) -> dict[str, bytes]:
    """Relative path → bytes, of every environment; the examples have no findings at all."""
    files: dict[str, bytes] = {}
    for environment in ENVIRONMENTS:
        found = compiled(folder, environment)
        assert [d.message for d in found.diagnostics] == []
        files |= tree(found.manifests, environment)
    return files
