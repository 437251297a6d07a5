"""Repositories of specs, and what rendering them plainly gives: every model in one process, nothing remembered."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from aifctl.delivery import cache, fleet, pieces, tree
from aifctl.diagnostics import Diagnostic
from aifctl.render.write import Written
from aifctl.spec import load
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment
from benchmarks import fleet_specs

GROUND = fleet_specs.TENANTS * 5
"""Objects that such a fleet's tenants come with: Namespace, policy, account, Role and RoleBinding each."""
WAIT = 2 * cache.TICK / cache.SECOND
EXAMPLES = Path(__file__).parents[2] / "examples/specs"


def fleet_of(folder: Path, models: int) -> Path:
    """Models that differ in all that models differ in, released: 12 objects each, one environment."""
    folder.mkdir(exist_ok=True)
    fleet_specs.write(folder, models)
    return folder


def examples(folder: Path) -> Path:
    """The examples: data files, code folders, requirements, an overlay, two environments with a cluster."""
    for name in ("digits-pytorch", "wine-sklearn"):
        shutil.copytree(EXAMPLES / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLES / "platform.yaml", folder)
    return folder


def spec_of(root: Path, number: int) -> Path:
    return root / "models" / fleet_specs.model_name(number) / "model.yaml"


def environments(repository: Repository, name: str | None = None) -> list[Environment]:
    return [e for e in load.environments(repository.platform) if not e.local and name in (None, e.name)]


@dataclass
class Told:
    written: Written = field(default_factory=Written)
    failed: bool = False
    findings: tuple[Diagnostic, ...] = ()
    times: int = 0


@dataclass
class Renders:
    """Renders of one repository. What was changed before is older than a tick of the file system's clock."""

    root: Path
    out: Path | None = None
    jobs: int | None = 1
    name: str | None = None

    def __call__(self, *roots: Path, dry: bool = False, cached: bool = True, jobs: int | None = None) -> Told:
        time.sleep(WAIT)
        told = Told()

        def tell(findings: tuple[Diagnostic, ...], texts: object) -> None:
            told.findings = findings
            told.times += 1

        request = fleet.Request(
            roots=list(roots) or [self.root],
            whole=not roots,
            name=self.name,
            choose=lambda repository: environments(repository, self.name),
            out=self.out,
            dry=dry,
            cached=cached,
            jobs=jobs or self.jobs,
        )
        done = fleet.render(request, tell)
        told.written, told.failed = done.written, done.failed
        return told

    def plain(self, out: Path, *, dry: bool = False) -> Told:
        """The same into another folder, by the way that sees everything at once."""
        repository = load.load([self.root])
        rendered = tree.render(repository, environments(repository, self.name), complete=True)
        written = tree.put(rendered, out, dry=dry)
        return Told(written, any(d.severity == "error" for d in rendered.diagnostics), rendered.diagnostics, 1)


def on_disk(root: Path) -> dict[str, bytes]:
    """The rendered tree."""
    top = root / "rendered"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def compiled(monkeypatch: object) -> list[str]:
    """Fills with the spec files that are compiled from now on, in this process."""
    seen: list[str] = []
    compile_ = pieces.Worker.compile

    def watched(worker: pieces.Worker, chosen: list[tuple[Path, bool]]) -> pieces.Part:
        seen.extend(path.parent.name for path, _ in chosen if path.name == "model.yaml")
        return compile_(worker, chosen)

    monkeypatch.setattr(pieces.Worker, "compile", watched)  # type: ignore[attr-defined]
    return seen
