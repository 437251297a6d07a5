"""`aifctl plan`: compiled environments against the rendered tree on disk, or against the specs at a Git ref."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from aifctl import pipeline
from aifctl.delivery.tree import Rendered, place
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.manifest import Manifest
from aifctl.plan.baseline import parse_tree
from aifctl.plan.change import ChangeSet
from aifctl.plan.diff import diff_environments
from aifctl.plan.steps import RunChange, plan_steps_of_environments
from aifctl.plan.views.json import json
from aifctl.plan.views.markdown import markdown
from aifctl.plan.views.text import text
from aifctl.render.tree import ROOT
from aifctl.spec import git, load
from aifctl.spec.load import Repository

TREE = "tree"
ManifestsByEnvironment = Mapping[str, list[Manifest]]


@dataclass(frozen=True, slots=True)
class Planned:
    changes: ChangeSet
    runs: tuple[RunChange, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def differs(self) -> bool:
        return bool(self.changes.effective)

    def view(self, form: str, color: bool, width: int) -> str:
        """text, json or markdown. Raises Report for another."""
        if form == "json":
            return json(self.changes, self.runs)
        if form == "markdown":
            return markdown(self.changes, self.runs)
        if form == "text":
            return text(self.changes, self.runs, colour=color, width=width)
        raise Report(Diagnostic("AIF622", f"unknown output `{form}`", "choose text, json or markdown"))


def plan(rendered: Rendered, against: str, out: Path | None, paths: list[Path]) -> Planned:
    """What would change. A model with errors is left out on both sides: nothing of it changes."""
    after = {compiled.environment.name: compiled.manifests for compiled in rendered.environments}
    if against == TREE:
        before, found = _of_tree(rendered, out)
    else:
        before, found = _of_ref(rendered, against, paths)
    before = _comparable(before, rendered)
    steps = plan_steps_of_environments(before, after)
    changes = diff_environments(before, after)
    return Planned(changes, steps.runs, (*rendered.diagnostics, *found, *steps.diagnostics))


def _of_tree(rendered: Rendered, out: Path | None) -> tuple[ManifestsByEnvironment, list[Diagnostic]]:
    root = place(rendered.repository, out) / ROOT
    names = [compiled.environment.name for compiled in rendered.environments]
    paths = sorted(path for name in names for path in (root / name).rglob("*.yaml") if path.is_file())
    baseline = parse_tree({path.relative_to(root).as_posix(): path.read_bytes() for path in paths}, ROOT)
    return {name: list(baseline.environments.get(name, ())) for name in names}, list(baseline.diagnostics)


def _of_ref(rendered: Rendered, ref: str, paths: list[Path]) -> tuple[ManifestsByEnvironment, list[Diagnostic]]:
    """Compiles the specs as they were at the ref, in a temporary folder."""
    repository = rendered.repository
    with tempfile.TemporaryDirectory(prefix="aifctl-plan-") as folder:
        git.export_ref(repository.root, ref, Path(folder))
        try:
            then = _load_then(repository, Path(folder), paths)
        except Report as report:
            # Positions would be those of files in the temporary folder.
            there = (
                replace(d, message=f"at {ref}: {d.message}", where=None, position=None) for d in report.diagnostics
            )
            raise Report(*there) from None
        if then is None:
            return {}, []
        before: dict[str, list[Manifest]] = {}
        found: list[Diagnostic] = []
        for compiled in rendered.environments:
            name = compiled.environment.name
            known = {environment.name for environment in load.environments(then.platform)}
            if name not in known:
                continue
            old = pipeline.compile_environment(then, then.environment(name), whole=compiled.grounded)
            before[name] = old.manifests
            found += [_at_ref(d, ref) for d in old.diagnostics if d.severity is Severity.ERROR]
    return before, found


def _load_then(now: Repository, folder: Path, paths: list[Path]) -> Repository | None:
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


def _at_ref(diagnostic: Diagnostic, ref: str) -> Diagnostic:
    """What was wrong at the ref does not stop a plan: that model simply counts as new."""
    message = f"at {ref}: {diagnostic.message}"
    return replace(diagnostic, message=message, severity=Severity.WARNING, where=None, position=None)


def _comparable(before: ManifestsByEnvironment, rendered: Rendered) -> ManifestsByEnvironment:
    """Without objects of models (or the ground) that were not asked for, or that do not compile: a plan says nothing
    of them."""
    scope = rendered.scope
    kept: dict[str, list[Manifest]] = {}
    for compiled in rendered.environments:
        name = compiled.environment.name
        asked = {model.unit.name for model in compiled.models}
        frozen = {model for environment, model in scope.failed if environment == name}
        complete = name in scope.complete
        kept[name] = [
            manifest
            for manifest in before.get(name, [])
            for model in [_model(manifest)]
            if (model in asked or (complete and model not in frozen) if model else compiled.grounded)
        ]
    return kept


def _model(manifest: Manifest) -> str:
    return manifest.labels.get("aif.dev/model", "")
