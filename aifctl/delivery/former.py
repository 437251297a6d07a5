"""The specs of another commit, compiled: the base of a plan, and what a rollback brings back."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aifctl import pipeline
from aifctl.diagnostics import Report
from aifctl.pipeline import Compiled
from aifctl.spec import git, load
from aifctl.spec.load import Repository


def compiled(
    now: Repository, ref: str, environments: Sequence[str], paths: Sequence[Path] = (), *, whole: bool = True
) -> list[Compiled]:
    """The environments of these names as they were at the ref; one that was not there then is left out.

    Raises Report for a ref that can't be read, and for specs that could not be loaded then.
    """
    with tempfile.TemporaryDirectory(prefix="aifctl-plan-") as folder:
        git.export_ref(now.root, ref, Path(folder))
        try:
            then = _load(now, Path(folder), paths)
        except Report as report:
            # Positions would be those of files in the temporary folder.
            there = (
                replace(d, message=f"at {ref}: {d.message}", where=None, position=None) for d in report.diagnostics
            )
            raise Report(*there) from None
        if then is None:
            return []
        known = {environment.name for environment in load.environments(then.platform)}
        there_then = [name for name in environments if name in known]
        return [pipeline.compile_environment(then, then.environment(name), whole=whole) for name in there_then]


def _load(now: Repository, folder: Path, paths: Sequence[Path]) -> Repository | None:
    """The same files and folders, and the same platform file, as they were; None where there were no specs then."""
    insides = [_inside(now, path) for path in paths]
    same = [folder / inside for inside in insides if inside is not None]
    there = [path for path in same if path.exists()] or ([folder] if not paths else [])
    if not there:
        return None
    named = _inside(now, Path(now.platform_file)) if now.platform_file is not None else None
    platform = folder / named if named is not None and (folder / named).is_file() else None
    try:
        return load.load(there, platform)
    except Report as report:
        if any(d.code == "AIF114" for d in report.diagnostics):
            return None
        raise


def _inside(repository: Repository, path: Path) -> Path | None:
    """Relative to the repository's root; None for what lies outside of it."""
    absolute = path.absolute()
    return absolute.relative_to(repository.root) if absolute.is_relative_to(repository.root) else None
