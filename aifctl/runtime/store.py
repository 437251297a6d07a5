"""The artifact store: what steps publish, by digest, in a folder or below any fsspec URL.

    steps/<digest>/manifest.json                the success marker: files with sha256 and size, and the outputs
    steps/<digest>/attempts/<attempt>/<file>    what the manifest names
    steps/<digest>/checkpoints/…                work area of training; changes, and is in no manifest
    steps/<digest>/turns/<number>.json          whose turn it is to write checkpoints (`runtime.turns`)
    runs/<run>.json   code/<digest>…   data/sha256-<hex>…

A manifest is written once and never over an existing one, so a step has one result however many attempts race or are
killed. Faults of the store itself are `Fault`s: worth a retry, unlike every other `Report`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aifctl import digest as digests
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.storage import LocalStorage, Storage, regular_files, relative, storage

MANIFEST = 1
"""Version of manifest.json."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


HINTS: Mapping[type[OSError], str] = {
    PermissionError: "check the rights or credentials that the store is used with",
    FileNotFoundError: "make the bucket or folder, or correct the store's `uri`",
    ConnectionError: "check that the store can be reached from here, then run again",
}
HINT = "free or mount the store, then run again"
PACKAGE_HINT = "install the package that this kind of URL needs: `aifctl[s3]` for s3://, `aifctl[gcs]` for gs://"


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
    storage: Storage

    @property
    def path(self) -> Path:
        """Local folder with all files. Raises Report where one is missing or damaged, Fault where it can't be read."""
        name = _attempt_folder(self.digest, self.attempt)
        with _faults(f"can't fetch step {self.digest[:10]}"):
            folder, fetched = self.storage.folder(name, self.files)
        for name, entry in self.files.items():
            _check_file(self, name, entry, folder / name, hash_it=name in fetched)
        return folder

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
            entries = self._entries()
            manifest = _manifest(self, entries, json.loads(text), about or {})
            self.store.storage.keep(_attempt_folder(self.digest, self.name), self.path, entries)
            self.store.storage.write(_marker(self.digest), digests.canonical_json(manifest).encode(), True)
        published = self.store.find(self.digest)
        if published is None:
            raise Fault(Diagnostic("AIF802", f"the marker of step {self.digest[:10]} vanished after it was written"))
        if published.attempt != self.name:
            self.discard()
        return published

    def _entries(self) -> dict[str, FileEntry]:
        try:
            found = list(regular_files(self.path))
        except ValueError as error:
            raise Report(
                Diagnostic("AIF804", f"a step's output can't be kept: {error}", "write a real file")
            ) from error
        return {name: FileEntry(digests.of_file(path), path.stat().st_size) for name, path in found}

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
        with _faults(f"can't open the store {self.uri}"):
            try:
                self.storage = storage(self.uri, cache)
            except ValueError as error:
                hint = "write a folder, or a URL like s3://bucket/folder"
                raise Report(Diagnostic("AIF802", f"`{self.uri}` is no store: {error}", hint)) from error

    @property
    def local(self) -> Path | None:
        """The store's folder; None for a remote one."""
        return self.storage.root if isinstance(self.storage, LocalStorage) else None

    def find(self, digest: str) -> Published | None:
        """What the step of this digest published, or None. Raises Fault, and Report for a broken manifest."""
        raw = self.read(_marker(digest))
        return None if raw is None else _parse(digest, raw, self.storage)

    def attempt(self, digest: str, name: str) -> Attempt:
        """A new empty folder, its own even where an attempt of this name was killed or runs now. Raises Fault."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"not an attempt's name: {name!r}")
        with _faults("can't start an attempt"):
            unique, path = self.storage.new_folder(f"steps/{_checked(digest)}/attempts", name)
        return Attempt(digest=digest, name=unique, path=path, store=self)

    def checkpoints(self, digest: str) -> Path:
        """Local folder for training's checkpoints, with those of earlier attempts in it. Raises Fault."""
        with _faults("can't open the checkpoints"):
            return self.storage.work_folder(f"steps/{_checked(digest)}/checkpoints")

    def keep_checkpoints(self, digest: str) -> None:
        """Sends the checkpoint folder to a remote store, and removes there what is gone here; local: nothing to do."""
        with _faults("can't keep the checkpoints"):
            self.storage.keep_work_folder(f"steps/{_checked(digest)}/checkpoints")

    def read(self, name: str) -> bytes | None:
        """Bytes of `runs/x.json` and the like; None where there is no such file. Raises Fault."""
        with _faults(f"can't read {name}"):
            return self.storage.read(relative(name))

    def write(self, name: str, data: bytes, *, exclusive: bool = False) -> bool:
        """Replaces a file as a whole, or with `exclusive` creates it; False where it was there. Raises Fault."""
        with _faults(f"can't write {name}"):
            return self.storage.write(relative(name), data, exclusive)

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in `runs`, `steps` …, sorted; none where the folder is not. Raises Fault."""
        with _faults(f"can't list {folder}"):
            return sorted(self.storage.names(relative(folder)))

    def send(self, name: str, path: Path) -> bool:
        """Puts a large file there, streaming; False where one of its size is there already. Raises Fault."""
        with _faults(f"can't write {name}"):
            return self.storage.send(relative(name), path)

    def fetch(self, name: str) -> Path | None:
        """Local path of one file (`data/sha256-…`); None where the store has none. Not hashed. Raises Fault."""
        with _faults(f"can't fetch {name}"):
            return self.storage.fetch(relative(name))


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


def _parse(digest: str, raw: bytes, place: Storage) -> Published:
    try:
        data = json.loads(raw)
        if data["manifest"] != MANIFEST or data["digest"] != digest or not _NAME.fullmatch(data["attempt"]):
            raise ValueError("it is of another version or step")
        files = {relative(name): FileEntry(str(e["sha256"]), int(e["size"])) for name, e in data["files"].items()}
        return Published(
            digest=digest,
            outputs=data["outputs"],
            files=files,
            about=data.get("about", {}),
            attempt=data["attempt"],
            location=place.location(_attempt_folder(digest, data["attempt"])),
            storage=place,
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


def _marker(digest: str) -> str:
    return f"steps/{_checked(digest)}/manifest.json"


def _attempt_folder(digest: str, attempt: str) -> str:
    return f"steps/{_checked(digest)}/attempts/{attempt}"


def _checked(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"not a digest: {digest!r}")
    return digest


@contextmanager
def _faults(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        hint = next((hint for kind, hint in HINTS.items() if isinstance(error, kind)), HINT)
        raise Fault(Diagnostic("AIF802", f"{doing}: {reason}", hint)) from error
    except ImportError as error:
        raise Report(Diagnostic("AIF802", f"{doing}: {error}", PACKAGE_HINT)) from error
