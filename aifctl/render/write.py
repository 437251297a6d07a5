"""Puts a tree of files below a folder, and finds what differs from it (`check` writes nothing).

Each file is replaced at once or not at all; a file that is right already is not touched, so its time stays. What no
model makes any more is removed, but only YAML in the folders that aifctl lays out, of the models that were compiled.
Beside the tenants' objects platform engineers may keep their own: there only what is labelled as ours is removed.
No symbolic link below the root is followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aifctl.diagnostics import Diagnostic, Report
from aifctl.render.ownership import MANAGER
from aifctl.render.tree import CLUSTER, COMPONENTS, ROOT, model_folder

if TYPE_CHECKING:
    from aifctl import ir

TEMPORARY = ".aifctl-tmp"
OURS = f"\n    app.kubernetes.io/managed-by: {MANAGER}\n".encode()
"""In each object that aifctl writes, among its labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a compile covered, so what may be removed."""

    folders: frozenset[str] = frozenset()
    """`folder_of` each compiled bundle: files there that are not made any more are stale."""
    complete: frozenset[str] = frozenset()
    """Environments of which every model was compiled: folders of other models are stale too …"""
    failed: frozenset[tuple[str, str]] = frozenset()
    """… but for these (environment, model), which could not be compiled: nothing of them changes."""
    kept: frozenset[str] = frozenset()
    """Folders that another call of `write` answers for: nothing there is stale."""
    grounds: frozenset[str] = frozenset()
    """Environments of which everything that is no model's was compiled."""


@dataclass(frozen=True, slots=True)
class Written:
    """Paths relative to the root, sorted. `stats` says of new, changed and unchanged files what they were left as."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    stats: Mapping[str, os.stat_result] = field(default_factory=dict, compare=False, repr=False)

    @property
    def differs(self) -> bool:
        return bool(self.new or self.changed or self.removed)


def folder_of(bundle: ir.Bundle) -> str:
    return model_folder(bundle.target.environment, bundle.target.namespace, bundle.model)


def write(root: Path, files: Mapping[str, bytes], scope: Scope | None = None) -> Written:
    """Makes the tree below `root` hold `files`. Raises Report: AIF520 (a link in the way), AIF521 (OSError)."""
    disk = _Disk(root.resolve())
    try:
        found = _compare(disk, files, scope or Scope())
        for path in (*found.new, *found.changed):
            disk.replace(path, files[path])
        for path in found.removed:
            disk.remove(path)
    except OSError as error:
        raise _failed(error) from error
    return found


def check(root: Path, files: Mapping[str, bytes], scope: Scope | None = None) -> Written:
    """What `write` would do. Raises Report as it does."""
    try:
        return _compare(_Disk(root.resolve()), files, scope or Scope())
    except OSError as error:
        raise _failed(error) from error


def _compare(disk: _Disk, files: Mapping[str, bytes], scope: Scope) -> Written:
    sorts: dict[str, list[str]] = {"new": [], "changed": [], "unchanged": []}
    for path in sorted(files):
        found = disk.read(path)
        sorts["new" if found is None else "unchanged" if found == files[path] else "changed"].append(path)
    folders = {folder for folder in _folders(disk, scope) if folder not in scope.kept and not _is_failed(folder, scope)}
    stale = [path for folder in folders for path in disk.rendered(folder) if path not in files]
    stale += (path for environment in scope.grounds for path in disk.ground(environment) if path not in files)
    new, changed, unchanged = (tuple(paths) for paths in sorts.values())
    return Written(new, changed, tuple(sorted(stale)), unchanged, disk.stats)


def _folders(disk: _Disk, scope: Scope) -> Iterator[str]:
    """Folders of models in which files can be stale."""
    yield from scope.folders
    for environment in scope.complete:
        for namespace in disk.subfolders(f"{ROOT}/{environment}"):
            if not namespace.startswith("_"):
                for model in disk.subfolders(f"{ROOT}/{environment}/{namespace}"):
                    yield model_folder(environment, namespace, model)


def _is_failed(folder: str, scope: Scope) -> bool:
    _, environment, _, model = folder.split("/")
    return (environment, model) in scope.failed


@dataclass(slots=True)
class _Disk:
    """Files below a resolved root, by posix paths relative to it."""

    root: Path
    known: dict[str, bool] = field(default_factory=dict)
    """Folder → whether it is there; each is looked at once."""
    stats: dict[str, os.stat_result] = field(default_factory=dict)
    """File → what it was when it was read or replaced here."""

    def read(self, path: str) -> bytes | None:
        """None where there is no file; b"" marks a link, which no manifest equals."""
        folder, _, _ = path.rpartition("/")
        if not self._is_there(folder):
            return None
        try:
            handle = os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError:
            if (self.root / path).is_symlink():
                return b""
            raise
        with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor
            self.stats[path] = os.fstat(handle)
            return file.read()

    def replace(self, path: str, content: bytes) -> None:
        folder, _, _ = path.rpartition("/")
        self._make(folder)
        target = f"{self.root}/{path}"
        temporary = f"{target}.{os.getpid()}{TEMPORARY}"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            with open(handle, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]
            os.replace(temporary, target)  # noqa: PTH105 - hot: 12,000 times for a fleet
            self.stats[path] = os.lstat(target)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108
            raise

    def remove(self, path: str) -> None:
        """The file, and the folders that are empty without it."""
        place = self.root / path
        with suppress(FileNotFoundError):
            place.unlink()
        with suppress(OSError):  # ends at the first folder that holds something
            for folder in place.parents:
                if folder in (self.root, self.root / ROOT):
                    break
                folder.rmdir()

    def rendered(self, folder: str) -> Iterator[str]:
        """YAML in the folders that aifctl lays out, and what an interrupted write has left there."""
        for component in COMPONENTS:
            place = f"{folder}/{component}"
            if self._is_there(place):
                names = sorted(entry.name for entry in os.scandir(self.root / place) if not entry.is_dir())
                yield from (f"{place}/{name}" for name in names if name.endswith((".yaml", TEMPORARY)))

    def ground(self, environment: str) -> Iterator[str]:
        """Files of ours that are no model's, and what an interrupted write has left there."""
        top = f"{ROOT}/{environment}/{CLUSTER}"
        for folder in (top, *(f"{top}/{each}" for each in self.subfolders(top))):
            names = sorted(entry.name for entry in os.scandir(self.root / folder)) if self._is_there(folder) else []
            for path in (f"{folder}/{name}" for name in names):
                if path.endswith(TEMPORARY) or (path.endswith(".yaml") and self._is_ours(path)):
                    yield path

    def subfolders(self, folder: str) -> list[str]:
        if not self._is_there(folder):
            return []
        return sorted(entry.name for entry in os.scandir(self.root / folder) if entry.is_dir(follow_symlinks=False))

    def _is_ours(self, path: str) -> bool:
        return (self.root / path).is_file() and OURS in (self.read(path) or b"")

    def _is_there(self, folder: str) -> bool:
        """Raises Report (AIF520) when the folder or one above it, below the root, is a link or no folder."""
        if not folder:
            return True
        if (found := self.known.get(folder)) is not None:
            return found
        above, _, name = folder.rpartition("/")
        if name in ("", ".", ".."):
            raise _in_the_way(folder, "leads out of its folder")
        found = self._is_there(above) and self._is_folder(folder)
        self.known[folder] = found
        return found

    def _is_folder(self, folder: str) -> bool:
        try:
            mode = os.lstat(f"{self.root}/{folder}").st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(mode):
            return True
        raise _in_the_way(folder, "is a symbolic link" if stat.S_ISLNK(mode) else "is no folder")

    def _make(self, folder: str) -> None:
        if not self._is_there(folder):
            above, slash, _ = folder.rpartition("/")
            if slash:
                self._make(above)
            else:
                self.root.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # another render makes it at this moment
                os.mkdir(f"{self.root}/{folder}")  # noqa: PTH102 - hot: 4,000 times for a fleet
            self.known[folder] = True


def _in_the_way(folder: str, what: str) -> Report:
    hint = "aifctl writes below the folder it was given and follows no links there; remove it"
    return Report(Diagnostic("AIF520", f"`{folder}` {what}", hint))


def _failed(error: OSError) -> Report:
    where = f" {error.filename}" if error.filename else ""
    return Report(Diagnostic("AIF521", f"can't write the rendered tree: {error.strerror or error}{where}"))
