"""`aifctl render`: compiled environments → the rendered tree on disk, or a stream of manifests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl.diagnostics import Diagnostic, Severity
from aifctl.render.tree import tree
from aifctl.render.write import Scope, Written, check, folder_of, write

if TYPE_CHECKING:
    from aifctl.pipeline import Compiled
    from aifctl.spec.load import Repository
    from aifctl.spec.models.platform import Environment


@dataclass(frozen=True, slots=True)
class Rendered:
    """`complete`: every model of the repository was asked for, so files of any other are stale, and the ground too."""

    repository: Repository
    environments: tuple[Compiled, ...]
    diagnostics: tuple[Diagnostic, ...]
    complete: bool

    @property
    def files(self) -> dict[str, bytes]:
        """Relative path → bytes. Raises Report for two manifests of one object."""
        found: dict[str, bytes] = {}
        for compiled in self.environments:
            found |= tree(compiled.manifests, compiled.environment.name)
        return found

    @property
    def scope(self) -> Scope:
        failed = {
            (compiled.environment.name, document.model_name)
            for compiled in self.environments
            for document in self.repository.documents
            if document.key in compiled.broken
        }
        complete = self.complete and is_known(failed, self.repository.diagnostics)
        return Scope(
            folders=frozenset(folder_of(model.bundle) for compiled in self.environments for model in compiled.models),
            complete=frozenset(compiled.environment.name for compiled in self.environments if complete),
            failed=frozenset(failed),
            grounds=frozenset(compiled.environment.name for compiled in self.environments if compiled.grounded),
        )

    def stream(self) -> str:
        """All manifests as one YAML stream, for `kubectl` and eyes."""
        return "".join(f"---\n{text.decode()}" for text in self.files.values())


def render(repository: Repository, environments: list[Environment], complete: bool) -> Rendered:
    from aifctl import pipeline

    compiled = tuple(pipeline.compile_environment(repository, each, whole=complete) for each in environments)
    return Rendered(repository, compiled, pipeline.merge(compiled), complete)


def put(rendered: Rendered, out: Path | None, *, dry: bool) -> Written:
    """Writes the tree, or (dry) says what writing would do. `out` replaces the folder `rendered` of the repository."""
    root, files = place(rendered.repository, out), rendered.files
    return check(root, files, rendered.scope) if dry else write(root, files, rendered.scope)


def is_known(failed: Iterable[tuple[str, str]], loaded: Iterable[Diagnostic]) -> bool:
    """Whether every model's name is: a spec without a readable one might be any's, so then nothing counts as gone."""
    unreadable = any(d.code.startswith("AIF1") and d.severity is Severity.ERROR for d in loaded)
    return not unreadable and all(name for _, name in failed)


def place(repository: Repository, out: Path | None) -> Path:
    """The folder that holds `rendered/`."""
    root = repository.root if out is None else out
    root.mkdir(parents=True, exist_ok=True)
    return root


def as_json(written: Written, dry: bool) -> dict[str, Any]:
    return {
        "format_version": "1.0",
        "dry": dry,
        "new": list(written.new),
        "changed": list(written.changed),
        "removed": list(written.removed),
        "unchanged": len(written.unchanged),
    }


def as_text(written: Written, dry: bool) -> str:
    """A line a file that differs, and a summary."""
    rows = (
        [("+", path) for path in written.new]
        + [("~", path) for path in written.changed]
        + [("-", p) for p in written.removed]
    )
    lines = [f"{mark} {path}" for mark, path in sorted(rows, key=lambda row: row[1])]
    if not rows:
        return f"up to date: {len(written.unchanged)} files"
    verb = "would be" if dry else "are"
    counts = f"{len(written.new)} files {verb} new, {len(written.changed)} changed, {len(written.removed)} removed"
    return "\n".join([*lines, f"{counts}, {len(written.unchanged)} unchanged"])
