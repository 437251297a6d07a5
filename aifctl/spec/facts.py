"""Facts of the files that a spec names: digests, sizes, texts. All file reading that compiling does, in one place."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

from aifctl import digest
from aifctl.spec.models.model import ModelSpec
from aifctl.spec.paths import inside

HASHED_IN_PLACE = 64 * 1024**2
"""Bytes of a `path` dataset up to which compiling hashes it; a larger one needs `aifctl lock`."""
INLINE_CODE = 512 * 1024
"""Bytes of code up to which it travels in a ConfigMap (which holds at most 1 MiB)."""
MAX_CODE = 256 * 1024**2
_ELSEWHERE = ("-r", "-c", "-e", "--requirement", "--constraint", "--editable")
"""Options of a requirements file whose meaning lies in other files."""
_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True, slots=True)
class DataFact:
    """A `path` dataset as it lies there. `problem` says in words why it can't be used."""

    path: Path | None
    size: int = 0
    sha256: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CodeFact:
    path: Path | None
    digest: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    """Relative path → sha256."""
    texts: dict[str, str] | None = None
    """Relative path → text, when all of it is text and small enough to travel in a manifest."""
    size: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class RequirementsFact:
    lines: tuple[str, ...] = ()
    """Requirements without comments and blanks, sorted."""
    sha256: str | None = None
    problem: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        found = (_REQUIREMENT.match(line) for line in self.lines)
        return tuple(re.sub(r"[-_.]+", "-", match.group(1)).lower() for match in found if match is not None)


@dataclass(frozen=True, slots=True)
class Facts:
    data: dict[str, DataFact]
    code: CodeFact | None
    requirements: RequirementsFact | None
    paths: tuple[str, ...] = ()
    """Files and folders that were looked at, relative to the spec's folder."""


def gather(spec: ModelSpec, folder: Path) -> Facts:
    """Facts of the files that this spec names, relative to its folder. Never raises for a bad file: see `problem`."""
    data = {d.name: _data(folder, d.source.path) for d in spec.datasets if d.source.path is not None}
    code = spec.code
    tree = _code(folder, code.path) if code is not None and code.path is not None else None
    required = code.requirements if code is not None else None
    named = (*(d.source.path for d in spec.datasets), code.path if code is not None else None, required)
    paths = tuple(path for path in named if path is not None)
    return Facts(data, tree, _requirements(folder, required) if required is not None else None, paths)


def _data(folder: Path, relative: str) -> DataFact:
    try:
        path = inside(folder, relative)
        stat = path.stat()
        if path.is_dir():
            files = [(name, file.stat()) for name, file in digest.tree_files(path)]
            size = sum(each.st_size for _, each in files)
            if size > HASHED_IN_PLACE:
                return DataFact(path, size)
            return DataFact(
                path, size, digest.of_files({n: _sha256(path / n, s.st_mtime_ns, s.st_size) for n, s in files})
            )
        if stat.st_size > HASHED_IN_PLACE:
            return DataFact(path, stat.st_size)
        return DataFact(path, stat.st_size, _sha256(path, stat.st_mtime_ns, stat.st_size))
    except ValueError as error:
        return DataFact(None, problem=str(error))
    except OSError as error:
        return DataFact(None, problem=f"can't be read: {error.strerror}")


def _code(folder: Path, relative: str) -> CodeFact:
    try:
        path = inside(folder, relative)
        if not path.is_dir():
            return CodeFact(
                None, problem="is not a folder" if path.exists() else "can't be read: No such file or directory"
            )
        stats = [(name, file, file.stat()) for name, file in digest.tree_files(path)]
        size = sum(stat.st_size for _, _, stat in stats)
        if size > MAX_CODE:
            return CodeFact(
                path, size=size, problem=f"holds {size // 1024**2} MiB; code is at most {MAX_CODE // 1024**2} MiB"
            )
        if size > INLINE_CODE:
            files = {name: _sha256(file, stat.st_mtime_ns, stat.st_size) for name, file, stat in stats}
            return CodeFact(path, digest.of_files(files), files, None, size)
        read = {name: _small(file, stat.st_mtime_ns, stat.st_size) for name, file, stat in stats}
        texts = {name: text for name, (_, text) in read.items() if text is not None}
        files = {name: sha256 for name, (sha256, _) in read.items()}
        return CodeFact(path, digest.of_files(files), files, texts if len(texts) == len(files) else None, size)
    except ValueError as error:
        return CodeFact(None, problem=str(error))
    except OSError as error:
        return CodeFact(None, problem=f"can't be read: {error.strerror}")


def _requirements(folder: Path, relative: str) -> RequirementsFact:
    try:
        text = inside(folder, relative).read_text("utf-8")
    except (ValueError, OSError) as error:
        reason = f"can't be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        return RequirementsFact(problem="is not UTF-8" if isinstance(error, UnicodeDecodeError) else reason)
    whole = text.replace("\r\n", "\n").replace("\\\n", " ")  # a package's hashes may stand on lines of their own
    stripped = (" ".join(line.partition(" #")[0].split()) for line in whole.splitlines())
    lines = tuple(sorted({line for line in stripped if line and line[0] != "#"}))
    elsewhere = next((line for line in lines if line.startswith(_ELSEWHERE)), None)
    if elsewhere is not None:
        return RequirementsFact(problem=f"says `{elsewhere}`, which could change unseen: write out what it stands for")
    return RequirementsFact(lines, digest.of_value(list(lines)))


@functools.lru_cache(maxsize=65_536)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    """The same file is asked for by several environments and models; time and size tell when it changed in between."""
    return digest.of_file(path)


@functools.lru_cache(maxsize=65_536)
def _small(path: Path, mtime_ns: int, size: int) -> tuple[str, str | None]:
    """(sha256, text) of a small file; no text for a binary one."""
    data = path.read_bytes()
    try:
        text = None if b"\0" in data else data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    return digest.of_bytes(data), text
