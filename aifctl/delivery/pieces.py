"""A piece of a repository's spec files: compiled and kept by a `Worker`, told as a `Part`, then written.

A part says all that judging the whole needs (names, objects, findings) and holds no manifest, so that it is cheap to
send from process to process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aifctl import pipeline
from aifctl.delivery import cache
from aifctl.delivery.cache import Entry, Place
from aifctl.diagnostics import Diagnostic, Report
from aifctl.pipeline import Compiled
from aifctl.render.tree import tree
from aifctl.render.write import Scope, Written, check, folder_of, write
from aifctl.spec import load, source
from aifctl.spec.files import Chosen
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment
from aifctl.spec.paths import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Findings of `loaded` files and, by environment, those `found` in their models; the `texts` they point into.

    `entries` are without inputs and stamps; `failed` models (environment, name) could not be compiled. `clashes`:
    there is something that only `tree` can judge, which sees all models at once.
    """

    loaded: tuple[Diagnostic, ...] = ()
    found: tuple[tuple[Diagnostic, ...], ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    documents: int = 0
    failed: frozenset[tuple[str, str]] = frozenset()
    clashes: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """How to write: nothing of the models that `failed` anywhere; `keep` entries for the cache."""

    failed: frozenset[tuple[str, str]]
    dry: bool
    keep: bool


@dataclass(slots=True)
class Worker:
    """Compiles pieces and keeps their files until they are written. Spec files are read from `began` (ns) on."""

    ground: Repository
    environments: list[Environment]
    place: Place
    began: int
    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    quiet: list[Entry] = field(default_factory=list)
    """Of spec files without any finding."""

    def compile(self, chosen: Chosen) -> Part:
        """Never raises Report: what a whole tree would raise is a clash."""
        loaded = load.read(self.ground, chosen)
        silent = replace(loaded, diagnostics=())
        compiled = [pipeline.compile_environment(silent, each, whole=False) for each in self.environments]
        made = _files(loaded, [path for path, _ in chosen])
        try:
            fits = [_add(made, each) for each in compiled]
        except Report:
            return Part(clashes=True)
        entries = [self._keep(made[shown(path, Path.cwd())], path, named) for path, named in chosen]
        resolved = tuple(source.resolve(list(loaded.diagnostics), loaded.texts))
        found = tuple(each.diagnostics for each in compiled)
        files = {d.position.file for group in (resolved, *found) for d in group if d.position is not None}
        return Part(
            loaded=resolved,
            found=found,
            texts={file: loaded.texts[file] for file in files & loaded.texts.keys()},
            entries=tuple(entries),
            documents=len(loaded.documents),
            failed=frozenset(each for file in made.values() for each in file.failed),
            clashes=not all(fits),
        )

    def write(self, order: Order) -> tuple[Written, list[Entry]]:
        """Raises Report: AIF520, AIF521."""
        scope = Scope(folders=frozenset(self.folders), failed=order.failed)
        if order.dry:
            return replace(check(self.place.out, self.files, scope), stats={}), []
        written = write(self.place.out, self.files, scope)
        sealed = [cache.sealed(self.place, each, written, self.began) for each in self.quiet] if order.keep else []
        return replace(written, stats={}), [each for each in sealed if each is not None]

    def _keep(self, made: _File, path: Path, named: bool) -> Entry:
        self.files |= made.files
        self.folders |= made.folders.keys()
        entry = Entry(
            spec=shown(path, self.place.root),
            named=named,
            models=tuple(made.names),
            objects=tuple(made.objects),
            folders=tuple(made.folders),
            files=tuple(made.files),
        )
        if made.quiet:
            spec = path.absolute()
            known = cache.inputs(self.place.root, spec.parent, {spec: True, **made.inputs})
            if known is not None:
                self.quiet.append(replace(entry, inputs=known[0], absent=known[1]))
        return entry


@dataclass(slots=True)
class _File:
    """What a spec file's documents became, in all environments. Folders are in order, as keys."""

    names: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    folders: dict[str, None] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    inputs: dict[Path, bool] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    quiet: bool = True


def _files(loaded: Repository, paths: list[Path]) -> dict[str, _File]:
    """By the file as it is shown. A finding without a place might be any file's."""
    made = {shown(path, Path.cwd()): _File() for path in paths}
    for document in loaded.documents:
        made[document.file].names.append(document.model_name)
    for diagnostic in loaded.diagnostics:
        file = diagnostic.where.file if diagnostic.where is not None else None
        for each in [made[file]] if file in made else made.values():
            each.quiet = False
    return made


def _add(made: dict[str, _File], compiled: Compiled) -> bool:
    """Whether all models keep to their own folders. Raises Report as `tree` does."""
    environment, fits = compiled.environment.name, True
    for model in compiled.models:
        file, folder = made[model.unit.document.file], folder_of(model.bundle)
        files = tree(model.manifests, environment)
        fits = fits and all(path.startswith(f"{folder}/") for path in files)
        file.files |= files
        file.folders[folder] = None
        file.objects += [f"{environment} {manifest.identity}" for manifest in model.manifests]
        file.inputs |= load.inputs(compiled.repository, model.unit)
        file.quiet = file.quiet and model.clean
    for document in compiled.repository.documents:
        if document.key in compiled.broken:
            made[document.file].failed.append((environment, document.model_name))
            made[document.file].quiet = False
    return fits
