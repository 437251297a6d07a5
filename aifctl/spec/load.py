"""Files, folders and globs → a `Repository` of typed models for one environment, with every finding on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aifctl.diagnostics import Diagnostic, Report, Where
from aifctl.diagnostics.model import KeyPath
from aifctl.spec import facts, overlay, schema, source
from aifctl.spec.files import PLATFORM_FILE, Chosen, files, find_platform, root_of
from aifctl.spec.models.lock import Lock
from aifctl.spec.models.model import Model, ModelSpec
from aifctl.spec.models.platform import Environment, Platform
from aifctl.spec.models.release import Release
from aifctl.spec.models.section import API_VERSION
from aifctl.spec.paths import shown
from aifctl.spec.source import Document

__all__ = ["PLATFORM_FILE", "find_platform"]

KINDS = ("Model", "Platform")
OTHER_KINDS = ("Lock", "Release")
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Unit:
    """One model as one environment sees it, with all that compiling it needs."""

    document: Document
    model: Model
    environment: Environment
    merged: overlay.Merged
    facts: facts.Facts
    lock: Lock | None = None
    release: Release | None = None

    @property
    def spec(self) -> ModelSpec:
        return self.model.spec

    @property
    def name(self) -> str:
        return self.model.metadata.name

    @property
    def folder(self) -> Path:
        return self.document.path.parent

    def without_image(self) -> Unit:
        """The same model as if it had no image of its own."""
        code = self.spec.code.model_copy(update={"image": None}) if self.spec.code is not None else None
        spec = self.spec.model_copy(update={"code": code})
        return replace(self, model=self.model.model_copy(update={"spec": spec}))

    def at(self, *path: str | int, on_key: bool = False) -> Where:
        """The place of a merged value in the file it came from."""
        return Where(self.document.file, self.merged.origin(path), "key" if on_key else "value", self.document.index)


@dataclass(frozen=True, slots=True)
class Repository:
    """What was loaded. `texts` are kept to give diagnostics their positions."""

    root: Path
    platform: Platform | None
    platform_file: str | None
    documents: tuple[Document, ...]
    texts: dict[str, str] = field(repr=False)
    diagnostics: tuple[Diagnostic, ...] = ()

    def narrowed(self, name: str) -> Repository:
        """Only the documents of this model; everything where there is none, so that a finding can name the others."""
        chosen = tuple(document for document in self.documents if document.model_name == name)
        return replace(self, documents=chosen) if chosen else self

    def environment(self, name: str) -> Environment:
        """Raises Report for a name the platform does not have."""
        for environment in environments(self.platform):
            if environment.name == name:
                return environment
        known = [environment.name for environment in environments(self.platform)]
        raise Report(Diagnostic("AIF212", f"unknown environment `{name}`", schema.did_you_mean(name, known)))


def environments(platform: Platform | None) -> tuple[Environment, ...]:
    """The platform's environments; this machine alone where there is no platform."""
    if platform is None:
        return (Environment(name=LOCAL),)
    named = platform.spec.environments
    return named if any(e.name == LOCAL for e in named) else (Environment(name=LOCAL), *named)


def load(paths: list[Path], platform: Path | None = None) -> Repository:
    """Reads every spec below the paths, and keeps findings. Raises Report only where nothing is left to go on with."""
    chosen, found = files(paths)
    empty = ground(paths, chosen, platform)
    loaded = read(empty, chosen)
    diagnostics = (*found, *loaded.diagnostics, *empty.diagnostics)
    if not loaded.documents and not diagnostics:
        raise nothing(paths)
    return replace(loaded, diagnostics=diagnostics)


def ground(paths: list[Path], chosen: Chosen, platform: Path | None = None) -> Repository:
    """The repository before any spec is read: its root and its platform, with the findings of that file."""
    platform_path = platform or find_platform(paths)
    texts: dict[str, str] = {}
    parsed, platform_file, found = _platform(platform_path, texts)
    return Repository(root_of(paths, chosen, platform_path), parsed, platform_file, (), texts, tuple(found))


def read(ground: Repository, chosen: Chosen) -> Repository:
    """These files' documents on that ground; the findings are the files' own."""
    texts = dict(ground.texts)
    documents: list[Document] = []
    found: list[Diagnostic] = []
    here = Path.cwd()
    for path, named in chosen:
        kept, problems = _read(path, shown(path, here), named, texts)
        documents += [d for d in kept if d.value.get("kind") not in ("Platform", *OTHER_KINDS)]
        found += problems
    return replace(ground, documents=tuple(documents), texts=texts, diagnostics=tuple(found))


def nothing(paths: list[Path]) -> Report:
    """Says that the paths hold no spec."""
    listed = ", ".join("this folder" if path == Path() else str(path) for path in paths) or "this folder"
    hint = f"a spec has `apiVersion: {API_VERSION}` and `kind: Model`"
    return Report(Diagnostic("AIF114", f"no model specs in {listed}", hint))


def units(
    repository: Repository, environment: Environment, assignments: dict[KeyPath, Any] | None = None
) -> tuple[list[Unit], list[Diagnostic]]:
    """Every model as this environment sees it; one with errors is left out, the others are not held up.

    `assignments` are set in each spec after the overlay (`--set`).
    """
    result: list[Unit] = []
    found: list[Diagnostic] = []
    seen: dict[str, Document] = {}
    for document in repository.documents:
        unit, problems = _unit(repository, document, environment, assignments or {})
        found += problems
        if unit is None:
            continue
        twin = seen.setdefault(unit.name, document)
        if twin is not document:
            where = Where(document.file, ("metadata", "name"), document=document.index)
            found.append(
                Diagnostic(
                    "AIF211",
                    f"model `{unit.name}` stands in {twin.file} too",
                    "give each model a name of its own",
                    where,
                )
            )
            continue
        result.append(unit)
    return result, found


def lock_path(document: Document, name: str) -> Path:
    return document.path.parent / f"{name}.lock.yaml"


def inputs(repository: Repository, unit: Unit) -> dict[Path, bool]:
    """Files and folders that this unit was loaded from → whether they were there."""
    release = release_path(repository.root, unit.environment.name, unit.name)
    found = {lock_path(unit.document, unit.name): unit.lock is not None, release: unit.release is not None}
    return {unit.document.path: True, **found, **{unit.folder / path: True for path in unit.facts.paths}}


def release_path(root: Path, environment: str, name: str) -> Path:
    return root / "releases" / environment / f"{name}.yaml"


def _read(path: Path, file: str, named: bool, texts: dict[str, str]) -> tuple[list[Document], list[Diagnostic]]:
    try:
        text = source.read_text(path, file)
    except Report as report:
        return [], list(report.diagnostics)
    if not named and "aif.dev/" not in text:
        return [], []  # somebody else's YAML in a folder of specs
    texts[file] = text
    documents, found = source.parse(text, path.absolute(), file)
    kept = []
    for document in documents:
        problem = _header(document)
        if problem is None:
            kept.append(document)
        elif named or str(document.value.get("apiVersion", "")).startswith("aif.dev/"):
            found.append(problem)
    return kept, found


def _header(document: Document) -> Diagnostic | None:
    version, kind = document.value.get("apiVersion"), document.value.get("kind")
    if version != API_VERSION:
        shown_version = f"`{version}`" if version is not None else "none"
        where = Where(document.file, ("apiVersion",), document=document.index)
        return Diagnostic("AIF201", f"expected `apiVersion: {API_VERSION}`, found {shown_version}", None, where)
    if kind not in (*KINDS, *OTHER_KINDS):
        where = Where(document.file, ("kind",), document=document.index)
        return Diagnostic("AIF202", f"unknown kind `{kind}`", schema.did_you_mean(str(kind), KINDS), where)
    return None


def _platform(path: Path | None, texts: dict[str, str]) -> tuple[Platform | None, str | None, list[Diagnostic]]:
    if path is None:
        return None, None, []
    file = shown(path, Path.cwd())
    documents, found = _read(path, file, True, texts)
    platforms = [document for document in documents if document.value["kind"] == "Platform"]
    if not platforms:
        if not found:
            hint = "name it by `--platform`, or rename this file"
            found = [Diagnostic("AIF210", "no `kind: Platform` in this file", hint, Where(file, ("kind",)))]
        raise Report(*source.resolve(found, texts), texts=texts)
    if len(platforms) > 1:
        where = Where(file, ("metadata", "name"), document=platforms[1].index)
        message = "a second Platform; one describes the whole repository"
        found.append(Diagnostic("AIF213", message, "keep one of them", where))
    platform, problems = schema.validate(Platform, platforms[0].value, Where(file, document=platforms[0].index))
    if platform is None:
        raise Report(*source.resolve([*found, *problems], texts), texts=texts)
    return platform, file, found


def _unit(
    repository: Repository, document: Document, environment: Environment, assignments: dict[KeyPath, Any]
) -> tuple[Unit | None, list[Diagnostic]]:
    merged = overlay.merge(document.value, environment.name)
    try:
        merged = overlay.assign(merged, assignments)
    except KeyError as error:
        path, step = error.args
        return None, [Diagnostic("AIF120", f"`--set {path}` leads nowhere: {document.file} has no `{step}` there")]
    where = Where(document.file, document=document.index)
    model, found = schema.validate(Model, merged.value, where, merged.origin)
    found = [*_overlay_problems(repository, document), *found]
    if model is None or found:
        return None, found
    name = model.metadata.name
    lock, problems = _optional(Lock, lock_path(document, name), repository.texts)
    release, more = _optional(Release, release_path(repository.root, environment.name, name), repository.texts)
    if problems or more:
        return None, [*problems, *more]
    known = facts.gather(model.spec, document.path.parent)
    return Unit(document, model, environment, merged, known, lock, release), []


def _overlay_problems(repository: Repository, document: Document) -> list[Diagnostic]:
    spec = document.value.get("spec")
    overlays = spec.get("environments") if isinstance(spec, dict) else None
    if not isinstance(overlays, dict):
        return []
    found = []
    known = {environment.name: environment for environment in environments(repository.platform)}
    for name, body in overlays.items():
        path: KeyPath = ("spec", "environments", name)
        where = Where(document.file, path, "key", document.index)
        if name not in known:
            found.append(Diagnostic("AIF212", f"unknown environment `{name}`", schema.did_you_mean(name, known), where))
        elif "train" not in known[name].roles and isinstance(body, dict):
            found += _not_servings(document, path, body)
    return found


def _not_servings(document: Document, path: KeyPath, body: dict[str, Any]) -> Iterator[Diagnostic]:
    for section in body:
        if section not in overlay.SERVING_SECTIONS:
            where = Where(document.file, (*path, section), "key", document.index)
            message = f"`{section}` can't be changed for `{path[-1]}`, which only serves"
            hint = "what serves there was trained elsewhere; an overlay may change `serving` and `monitoring`"
            yield Diagnostic("AIF214", message, hint, where)


def _optional(kind: type[Any], path: Path, texts: dict[str, str]) -> tuple[Any, list[Diagnostic]]:
    """A lock or release file: None where there is none."""
    if not path.is_file():
        return None, []
    file = shown(path, Path.cwd())
    documents, found = _read(path, file, True, texts)
    if not documents:
        writer = {"Lock": "lock", "Release": "promote"}[kind.__name__]
        hint = f"delete it; `aifctl {writer}` writes it anew"
        return None, found or [Diagnostic("AIF215", f"an empty {kind.__name__.lower()} file", hint, Where(file))]
    value, problems = schema.validate(kind, documents[0].value, Where(file, document=documents[0].index))
    return value, problems
