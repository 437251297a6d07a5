"""`aifctl plan`: compiled environments against the rendered tree on disk, or against the specs at a Git ref."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from aifctl.delivery import former
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
    names = [compiled.environment.name for compiled in rendered.environments]
    then = former.compiled(rendered.repository, ref, names, paths, whole=rendered.complete)
    problems = [_at_ref(d, ref) for each in then for d in each.diagnostics if d.severity is Severity.ERROR]
    return {each.environment.name: each.manifests for each in then}, problems


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
