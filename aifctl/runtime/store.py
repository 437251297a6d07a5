"""The artifact store: what steps publish, by digest, in a folder or below any fsspec URL.

    steps/<digest>/manifest.json                the success marker: files with sha256 and size, and the outputs
    steps/<digest>/attempts/<attempt>/<file>    what the manifest names
    steps/<digest>/checkpoints/…                work area of training; changes, and is in no manifest
    runs/<run>.json   code/<digest>…   data/sha256-<hex>…

A manifest is written once and never over an existing one, so a step has one result however many attempts race or are
killed. Faults of the store itself are `Fault`s: worth a retry, unlike every other `Report`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from aifctl import digest as digests
from aifctl.diagnostics import Diagnostic, Report

MANIFEST = 1
"""Version of manifest.json."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Fault(Report):
    """A fault of the surroundings (store, tracking server, disk): the step is worth a retry."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a finished step left behind. Opening `path` fetches the files where the store is not a local folder."""

    digest: str
    outputs: Mapping[str, Any]
    files: Mapping[str, FileEntry]
    """Name below `path` (posix form, may have folders) → hash and size."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Name, kind and config of the step that published it."""
    attempt: str = ""
    location: str = ""
    """Where the files lie: a folder or URL."""
    back_end: _Backend

    @property
    def path(self) -> Path:
        """Local folder with all files. Raises Report where one is missing or damaged, Fault where it can't be read."""
        return self.back_end.open(self)

    def file(self, name: str) -> Path:
        """Path of one file. Raises Report where the step did not publish it."""
        if name not in self.files:
            hint = f"it has {', '.join(sorted(self.files)[:10]) or 'no files'}"
            raise Report(Diagnostic("AIF804", f"step {self.label} has not published `{name}`", hint))
        return self.path / name

    def read_json(self, name: str) -> Any:
        return json.loads(self.file(name).read_text(encoding="utf-8"))

    @property
    def label(self) -> str:
        """How people name it: the step's name and the first digits of its digest."""
        return f"`{self.about.get('name', 'step')}` ({self.digest[:10]})"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    def verify(self) -> None:
        """Reads every byte. Raises Report where a file differs from what was published."""
        folder = self.path
        for name, entry in self.files.items():
            _check_file(self, name, entry, folder / name, hash_it=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A folder to write into; nothing of it counts before `publish`."""

    digest: str
    name: str
    path: Path
    store: Store

    def publish(self, outputs: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> Published:
        """Makes everything below `path` the step's result; where another attempt was first, returns that one's.

        Raises Fault where the store can't be written.
        """
        try:
            text = digests.canonical_json(dict(outputs))
        except (TypeError, ValueError) as error:
            hint = "outputs are small JSON values, without NaN and infinities"
            raise Report(Diagnostic("AIF804", f"the step's outputs can't be written: {error}", hint)) from error
        with _faults(f"can't publish step {self.digest[:10]}"):
            entries = {name: FileEntry(digests.of_file(path), path.stat().st_size) for name, path in _files(self.path)}
            manifest = _manifest(self, entries, json.loads(text), about or {})
            self.store.back_end.publish(self, entries, digests.canonical_json(manifest).encode())
        published = self.store.find(self.digest)
        if published is None:
            raise Fault(Diagnostic("AIF802", f"the marker of step {self.digest[:10]} vanished after it was written"))
        if published.attempt != self.name:
            self.discard()
        return published

    def discard(self) -> None:
        """Removes what was written, unless it counts by now: a signal may come just after the marker was linked."""
        try:
            published = self.store.find(self.digest)
        except Report:
            return  # can't tell; garbage is better than a marker without files
        if published is None or published.attempt != self.name:
            shutil.rmtree(self.path, ignore_errors=True)


class Store:
    """A store below `uri`. Files of remote ones are fetched to `cache`; None takes a temporary folder."""

    def __init__(self, uri: str | Path, cache: Path | None = None) -> None:
        self.uri = str(uri)
        self.back_end: _Backend = _backend(self.uri, cache)

    @property
    def local(self) -> Path | None:
        """The store's folder; None for a remote one."""
        return self.back_end.root if isinstance(self.back_end, _Local) else None

    def find(self, digest: str) -> Published | None:
        """What the step of this digest published, or None. Raises Fault, and Report for a broken manifest."""
        name = f"steps/{_checked(digest)}/manifest.json"
        raw = self.read(name)
        return None if raw is None else _parse(digest, raw, self.back_end)

    def attempt(self, digest: str, name: str) -> Attempt:
        """A new empty folder, its own even where an attempt of this name was killed or runs now. Raises Fault."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"not an attempt's name: {name!r}")
        with _faults("can't start an attempt"):
            unique, path = self.back_end.attempt(_checked(digest), name)
        return Attempt(digest=digest, name=unique, path=path, store=self)

    def checkpoints(self, digest: str) -> Path:
        """Local folder for training's checkpoints, with those of earlier attempts in it. Raises Fault."""
        with _faults("can't open the checkpoints"):
            return self.back_end.checkpoints(_checked(digest))

    def keep_checkpoints(self, digest: str) -> None:
        """Sends the checkpoint folder to a remote store, and removes there what is gone here; local: nothing to do."""
        with _faults("can't keep the checkpoints"):
            self.back_end.keep_checkpoints(_checked(digest))

    def read(self, name: str) -> bytes | None:
        """Bytes of `runs/x.json` and the like; None where there is no such file. Raises Fault."""
        with _faults(f"can't read {name}"):
            return self.back_end.read(_relative(name))

    def write(self, name: str, data: bytes, *, exclusive: bool = False) -> bool:
        """Replaces a file as a whole, or with `exclusive` creates it; False where it was there. Raises Fault."""
        with _faults(f"can't write {name}"):
            return self.back_end.write(_relative(name), data, exclusive)

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in `runs`, `steps` …, sorted; none where the folder is not. Raises Fault."""
        with _faults(f"can't list {folder}"):
            return sorted(self.back_end.names(_relative(folder)))

    def send(self, name: str, path: Path) -> bool:
        """Puts a large file there, streaming; False where one of its size is there already. Raises Fault."""
        with _faults(f"can't write {name}"):
            return self.back_end.send(_relative(name), path)

    def fetch(self, name: str) -> Path | None:
        """Local path of one file (`data/sha256-…`); None where the store has none. Not hashed. Raises Fault."""
        with _faults(f"can't fetch {name}"):
            return self.back_end.fetch(_relative(name))


class _Backend(Protocol):
    """What a place for files must do. Names are relative posix paths; OSError says that the place is at fault."""

    def open(self, published: Published) -> Path: ...
    def attempt(self, digest: str, name: str) -> tuple[str, Path]: ...
    def publish(self, attempt: Attempt, entries: Mapping[str, FileEntry], manifest: bytes) -> None: ...
    def checkpoints(self, digest: str) -> Path: ...
    def keep_checkpoints(self, digest: str) -> None: ...
    def read(self, name: str) -> bytes | None: ...
    def write(self, name: str, data: bytes, exclusive: bool) -> bool: ...
    def names(self, folder: str) -> list[str]: ...
    def send(self, name: str, path: Path) -> bool: ...
    def fetch(self, name: str) -> Path | None: ...
    def location(self, name: str) -> str: ...


class _Local:
    """A folder of this machine, or a volume: files are used where they lie."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def location(self, name: str) -> str:
        return str(self.root / name)

    def open(self, published: Published) -> Path:
        folder = Path(published.location)
        for name, entry in published.files.items():
            _check_file(published, name, entry, folder / name, hash_it=False)
        return folder

    def attempt(self, digest: str, name: str) -> tuple[str, Path]:
        parent = self.root / "steps" / digest / "attempts"
        parent.mkdir(parents=True, exist_ok=True)
        unique, number = name, 1
        while True:
            try:
                (parent / unique).mkdir()
            except FileExistsError:
                number += 1
                unique = f"{name}.{number}"
            else:
                return unique, parent / unique

    def publish(self, attempt: Attempt, entries: Mapping[str, FileEntry], manifest: bytes) -> None:
        for name in entries:
            _sync(attempt.path / name)
        self.write(f"steps/{attempt.digest}/manifest.json", manifest, True)

    def checkpoints(self, digest: str) -> Path:
        folder = self.root / "steps" / digest / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep_checkpoints(self, digest: str) -> None:
        """They are where they belong."""

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes, exclusive: bool) -> bool:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
        try:
            temporary.write_bytes(data)
            _sync(temporary)
            if exclusive:
                # link, not rename: it fails where the name exists, so the first of two attempts wins.
                os.link(temporary, path)
            else:
                temporary.replace(path)
            _sync(path.parent)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def names(self, folder: str) -> list[str]:
        path = self.root / folder
        return [p.name for p in path.iterdir() if not p.name.startswith(".")] if path.is_dir() else []

    def send(self, name: str, path: Path) -> bool:
        target = self.root / name
        if target.is_file() and target.stat().st_size == path.stat().st_size:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
        try:
            shutil.copyfile(path, temporary)
            _sync(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def fetch(self, name: str) -> Path | None:
        path = self.root / name
        return path if path.is_file() else None


class _Remote:
    """A store below an fsspec URL: files are fetched into a cache folder and hashed on the way."""

    def __init__(self, uri: str, cache: Path | None) -> None:
        import fsspec

        self.uri = uri.rstrip("/")
        with _faults(f"can't open the store {self.uri}"):
            try:
                self.fs, root = fsspec.core.url_to_fs(self.uri)
            except ValueError as error:
                hint = "write a folder, or a URL like s3://bucket/folder"
                raise Report(Diagnostic("AIF802", f"`{self.uri}` is no store: {error}", hint)) from error
        self.root = root.rstrip("/")
        self._given = cache

    @cached_property
    def cache(self) -> Path:
        if self._given is not None:
            return self._given
        # Own to this process and removed with it: no other user can put files where we trust them.
        self._temporary = tempfile.TemporaryDirectory(prefix="aifctl-", ignore_cleanup_errors=True)
        return Path(self._temporary.name)

    def location(self, name: str) -> str:
        return f"{self.uri}/{name}"

    def open(self, published: Published) -> Path:
        folder = self.cache / "steps" / published.digest
        remote = f"steps/{published.digest}/attempts/{published.attempt}"
        for name, entry in published.files.items():
            target = folder / name
            if not (target.is_file() and target.stat().st_size == entry.size):
                with _faults(f"can't fetch {name} of step {published.digest[:10]}"):
                    self._download(f"{remote}/{name}", target)
                _check_file(published, name, entry, target, hash_it=True)
        return folder

    def attempt(self, digest: str, name: str) -> tuple[str, Path]:
        unique = f"{name}.{uuid.uuid4().hex[:8]}"
        path = self.cache / "attempts" / digest / unique
        path.mkdir(parents=True)
        return unique, path

    def publish(self, attempt: Attempt, entries: Mapping[str, FileEntry], manifest: bytes) -> None:
        for name in entries:
            remote = self._full(f"steps/{attempt.digest}/attempts/{attempt.name}/{name}")
            self.fs.makedirs(remote.rsplit("/", 1)[0], exist_ok=True)
            self.fs.put_file(str(attempt.path / name), remote)
        self.write(f"steps/{attempt.digest}/manifest.json", manifest, True)

    def checkpoints(self, digest: str) -> Path:
        folder = self.cache / "checkpoints" / digest
        folder.mkdir(parents=True, exist_ok=True)
        for name in self._below(f"steps/{digest}/checkpoints"):
            if not (folder / name).exists():
                self._download(f"steps/{digest}/checkpoints/{name}", folder / name)
        return folder

    def keep_checkpoints(self, digest: str) -> None:
        folder, remote = self.cache / "checkpoints" / digest, f"steps/{digest}/checkpoints"
        there = self._below(remote)
        here = dict(_files(folder))
        for name, path in here.items():
            # Checkpoint files are written once under a name; a same-sized one is there already, unless it is a pointer.
            if there.get(name) != path.stat().st_size or name.endswith(".json"):
                full = self._full(f"{remote}/{name}")
                self.fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
                self.fs.put_file(str(path), full)
        for name in there.keys() - here.keys():
            self.fs.rm_file(self._full(f"{remote}/{name}"))

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self.fs.cat_file(self._full(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes, exclusive: bool) -> bool:
        full = self._full(name)
        self.fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
        try:
            self.fs.pipe_file(full, data, mode="create" if exclusive else "overwrite")
        except FileExistsError:
            return False
        return True

    def names(self, folder: str) -> list[str]:
        try:
            listed = self.fs.ls(self._full(folder), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return [name.rstrip("/").rsplit("/", 1)[-1] for name in listed]

    def send(self, name: str, path: Path) -> bool:
        full = self._full(name)
        if self.fs.exists(full) and self.fs.size(full) == path.stat().st_size:
            return False
        self.fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
        self.fs.put_file(str(path), full)
        return True

    def fetch(self, name: str) -> Path | None:
        target = self.cache / "files" / name
        if target.is_file():
            return target
        try:
            self._download(name, target)
        except FileNotFoundError:
            return None
        return target

    def _full(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _below(self, folder: str) -> dict[str, int]:
        full = self._full(folder)
        try:
            found = self.fs.find(full, detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        # Some file systems name what they find with a leading slash, whatever they were asked with.
        prefix = full.strip("/") + "/"
        return {_relative(name.strip("/").removeprefix(prefix)): int(info["size"]) for name, info in found.items()}

    def _download(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
        try:
            self.fs.get_file(self._full(name), str(temporary))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _backend(uri: str, cache: Path | None) -> _Backend:
    scheme, found, rest = uri.partition("://")
    if not found:
        return _Local(Path(uri))
    return _Local(Path(rest)) if scheme == "file" else _Remote(uri, cache)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every regular file below: unlike `digest.tree_files` nothing is ignored, a model may be called anything."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise Report(Diagnostic("AIF804", f"`{path.name}` is a symbolic link", "write a real file"))
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _manifest(
    attempt: Attempt, entries: Mapping[str, FileEntry], outputs: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "manifest": MANIFEST,
        "digest": attempt.digest,
        "attempt": attempt.name,
        "about": dict(about),
        "outputs": dict(outputs),
        "files": {name: {"sha256": entry.sha256, "size": entry.size} for name, entry in entries.items()},
    }


def _parse(digest: str, raw: bytes, back_end: _Backend) -> Published:
    try:
        data = json.loads(raw)
        if data["manifest"] != MANIFEST or data["digest"] != digest or not _NAME.fullmatch(data["attempt"]):
            raise ValueError("it is of another version or step")
        files = {_relative(name): FileEntry(str(e["sha256"]), int(e["size"])) for name, e in data["files"].items()}
        return Published(
            digest=digest,
            outputs=data["outputs"],
            files=files,
            about=data.get("about", {}),
            attempt=data["attempt"],
            location=back_end.location(f"steps/{digest}/attempts/{data['attempt']}"),
            back_end=back_end,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "remove the step's folder from the store to run it again"
        raise Report(Diagnostic("AIF803", f"the manifest of step {digest[:10]} is damaged: {error}", hint)) from error


def _check_file(published: Published, name: str, entry: FileEntry, path: Path, *, hash_it: bool) -> None:
    problem = _damage(entry, path, hash_it)
    if problem is not None:
        hint = f"remove {published.location.rsplit('/attempts/', 1)[0]} to run the step again"
        raise Report(Diagnostic("AIF803", f"`{name}` of step {published.label} {problem}", hint))


def _damage(entry: FileEntry, path: Path, hash_it: bool) -> str | None:
    try:
        size = path.stat().st_size
        if size != entry.size:
            return f"has {size} bytes, {entry.size} were published"
        if hash_it and digests.of_file(path) != entry.sha256:
            return "has other content than was published"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        raise Fault(Diagnostic("AIF802", f"can't read {path}: {error.strerror or error}")) from error
    return None


def _checked(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"not a digest: {digest!r}")
    return digest


def _relative(name: str) -> str:
    """The name itself; ValueError where it would lead out of its folder (a manifest may come from anywhere)."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ValueError(f"not a name below a folder: {name!r}")
    return name


def _sync(path: Path) -> None:
    """Without it a machine that loses power could keep the marker and lose what it names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _faults(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise Fault(Diagnostic("AIF802", f"{doing}: {reason}", "free or mount the store, then run again")) from error
    except ImportError as error:
        raise Report(
            Diagnostic("AIF802", f"{doing}: {error}", "install the package that this kind of URL needs")
        ) from error
