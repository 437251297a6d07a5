"""Where a store's files lie: a folder of this machine, or below an fsspec URL. Knows names and bytes, not steps.

Names are relative posix paths. OSError says that the place is at fault; `store` makes findings of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Protocols whose names need no folders. Asked for one, their file systems would make the bucket itself."""
NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
        "TokenRetrievalError", "DefaultCredentialsError", "RefreshError",
    }
)  # fmt: skip
"""What botocore and google.auth raise where there is nothing to sign in with; they are no OSErrors."""


class Storage(Protocol):
    def location(self, name: str) -> str:
        """Where that lies, for people and release files."""

    def folder(self, name: str, files: Iterable[str]) -> tuple[Path, frozenset[str]]:
        """Local folder with these files of a published folder, and which of them were fetched just now."""

    def new_folder(self, parent: str, name: str) -> tuple[str, Path]:
        """An empty local folder that becomes `parent`/`name`, or another name where that is taken; name and path."""

    def keep(self, name: str, path: Path, files: Iterable[str]) -> None:
        """Puts files of a local folder where they outlive this machine's crash."""

    def work_folder(self, name: str) -> Path:
        """Local folder whose content may change, with what was kept of it before."""

    def keep_work_folder(self, name: str) -> None: ...

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, data: bytes, exclusive: bool) -> bool:
        """Replaces a file as a whole; with `exclusive` creates it, and is False where it was there."""

    def names(self, folder: str) -> list[str]: ...

    def send(self, name: str, path: Path) -> bool:
        """Puts a large file there, streaming; False where one of its size is there already."""

    def fetch(self, name: str) -> Path | None: ...


def storage(uri: str, cache: Path | None) -> Storage:
    """Raises OSError; ValueError and ImportError for a scheme that nothing reads."""
    scheme, found, rest = uri.partition("://")
    if not found:
        return LocalStorage(Path(uri))
    if scheme == "file":
        return LocalStorage(Path(rest))
    if not rest.strip("/"):
        raise ValueError("it names no bucket or folder")
    return RemoteStorage(uri, cache)


class LocalStorage:
    """A folder of this machine, or a mounted volume: files are used where they lie."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def location(self, name: str) -> str:
        return str(self.root / name)

    def folder(self, name: str, files: Iterable[str]) -> tuple[Path, frozenset[str]]:
        return self.root / name, frozenset()

    def new_folder(self, parent: str, name: str) -> tuple[str, Path]:
        above = self.root / parent
        above.mkdir(parents=True, exist_ok=True)
        unique, number = name, 1
        while True:
            try:
                (above / unique).mkdir()
            except FileExistsError:
                number += 1
                unique = f"{name}.{number}"
            else:
                return unique, above / unique

    def keep(self, name: str, path: Path, files: Iterable[str]) -> None:
        for file in files:
            _sync(path / file)

    def work_folder(self, name: str) -> Path:
        (self.root / name).mkdir(parents=True, exist_ok=True)
        return self.root / name

    def keep_work_folder(self, name: str) -> None:
        """It is where it belongs."""

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


class RemoteStorage:
    """Below an fsspec URL: files are fetched into a cache folder. Nothing here makes a bucket."""

    def __init__(self, uri: str, cache: Path | None) -> None:
        import fsspec

        self.uri = uri.rstrip("/")
        self.fs, root = fsspec.core.url_to_fs(self.uri)
        self.root = root.rstrip("/")
        self._given = cache
        protocols = (self.fs.protocol,) if isinstance(self.fs.protocol, str) else self.fs.protocol
        self._has_bucket = not BUCKETS.isdisjoint(protocols)
        self._bucket_seen = not self._has_bucket
        self._same: dict[Path, tuple[int, int]] = {}
        """File of a work folder → its size and time when it was the same here and there."""

    @cached_property
    def cache(self) -> Path:
        if self._given is not None:
            return self._given
        # Own to this process and removed with it: no other user can put files where we trust them.
        self._temporary = tempfile.TemporaryDirectory(prefix="aifctl-", ignore_cleanup_errors=True)
        return Path(self._temporary.name)

    def location(self, name: str) -> str:
        return f"{self.uri}/{name}"

    def folder(self, name: str, files: Iterable[str]) -> tuple[Path, frozenset[str]]:
        path, fetched = self.cache / "published" / name, set()
        path.mkdir(parents=True, exist_ok=True)
        for file in files:
            if not (path / file).is_file():
                try:
                    self._download(f"{name}/{file}", path / file)
                except FileNotFoundError:
                    continue  # the caller, who knows what was published, says it better
                fetched.add(file)
        return path, frozenset(fetched)

    def new_folder(self, parent: str, name: str) -> tuple[str, Path]:
        unique = f"{name}.{uuid.uuid4().hex[:8]}"
        path = self.cache / "attempts" / parent / unique
        path.mkdir(parents=True)
        return unique, path

    def keep(self, name: str, path: Path, files: Iterable[str]) -> None:
        for file in files:
            self._upload(path / file, f"{name}/{file}")

    def work_folder(self, name: str) -> Path:
        folder = self.cache / "work" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in self._below(name):
            if not (folder / file).exists():
                self._download(f"{name}/{file}", folder / file)
                self._same[folder / file] = _stamp(folder / file)
        return folder

    def keep_work_folder(self, name: str) -> None:
        folder = self.cache / "work" / name
        there = self._below(name)
        here = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        for file, path in here.items():
            stamp = _stamp(path)  # before it is read: what changes meanwhile is sent the next time
            if there.get(file) != stamp[0] or self._same.get(path) != stamp:
                self._upload(path, f"{name}/{file}")
                self._same[path] = stamp
        for file in there.keys() - here.keys():
            _ask(self.fs.rm_file, self._full(f"{name}/{file}"))

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(_ask(self.fs.cat_file, self._full(name)))
        except FileNotFoundError:
            self._need_bucket()
            return None

    def write(self, name: str, data: bytes, exclusive: bool) -> bool:
        full = self._place(name)
        try:
            _ask(self.fs.pipe_file, full, data, mode="create" if exclusive else "overwrite")
        except FileExistsError:
            return False
        except FileNotFoundError:
            self._need_bucket()
            raise
        except OSError:
            # S3 refuses with a status of its own (412, or 409 where another writer is at it), which is told as EINVAL.
            if exclusive and _ask(self.fs.exists, full):
                return False
            raise
        return True

    def names(self, folder: str) -> list[str]:
        try:
            listed = _ask(self.fs.ls, self._full(folder), detail=False, refresh=True)
        except FileNotFoundError:
            self._need_bucket()
            return []
        return [name.rstrip("/").rsplit("/", 1)[-1] for name in listed]

    def send(self, name: str, path: Path) -> bool:
        full = self._full(name)
        if _ask(self.fs.exists, full) and _ask(self.fs.size, full) == path.stat().st_size:
            return False
        self._upload(path, name)
        return True

    def fetch(self, name: str) -> Path | None:
        target = self.cache / "files" / name
        if target.is_file():
            return target
        try:
            self._download(name, target)
        except FileNotFoundError:
            self._need_bucket()
            return None
        return target

    def _full(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _below(self, folder: str) -> dict[str, int]:
        """Name below the folder → size in bytes."""
        full = self._full(folder)
        try:
            found = _ask(self.fs.find, full, detail=True, refresh=True)
        except FileNotFoundError:
            self._need_bucket()
            return {}
        # Some file systems name what they find with a leading slash, whatever they were asked with.
        prefix = full.strip("/") + "/"
        return {relative(name.strip("/").removeprefix(prefix)): int(info["size"]) for name, info in found.items()}

    def _upload(self, path: Path, name: str) -> None:
        full = self._place(name)
        try:
            _ask(self.fs.put_file, str(path), full)
        except FileNotFoundError:
            self._need_bucket()
            raise

    def _download(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
        try:
            _ask(self.fs.get_file, self._full(name), str(temporary))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, name: str) -> str:
        """Where a file of this name is to be written, with the folders it takes."""
        full = self._full(name)
        if not self._has_bucket:
            _ask(self.fs.makedirs, full.rsplit("/", 1)[0], exist_ok=True)
        return full

    def _need_bucket(self) -> None:
        """What is not there may be missing because all is. Raises FileNotFoundError where there is no such bucket."""
        bucket = self.root.partition("/")[0]
        self._bucket_seen = self._bucket_seen or _ask(self.fs.exists, bucket)
        if not self._bucket_seen:
            raise FileNotFoundError(f"there is no bucket `{bucket}`")


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _ask(call: Callable[..., Any], *given: Any, **options: Any) -> Any:
    """The file system's answer. What its library raises that is no OSError becomes one."""
    try:
        return call(*given, **options)
    except (OSError, ImportError):
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        kind = PermissionError if type(error).__name__ in NO_CREDENTIALS else ConnectionError
        raise kind(reason) from error


def relative(name: str) -> str:
    """The name itself; ValueError where it would lead out of its folder (a manifest may come from anywhere)."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ValueError(f"not a name below a folder: {name!r}")
    return name


def regular_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below, sorted: unlike `digest.tree_files` nothing is ignored. Raises ValueError for symbolic links."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ValueError(f"`{path.name}` is a symbolic link")
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _sync(path: Path) -> None:
    """Without it a machine that loses power could keep the marker and lose what it names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
