"""What a former run read and made: models of which none of that has changed since need not be compiled again.

A file below `.aif/cache/` of the repository, an entry a spec file. An entry holds while everything it was made of and
made is as it was: aifctl itself and its libraries, the platform file, the environments asked for, each file and folder
that compiling looked at (those that were not there too: a lock or a release may appear), each rendered file. Files are
told by ctime, size and inode: unlike an mtime, a ctime can't be set back. Whatever is wrong with a cache, it is as if
there were none.
"""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

from aifctl import __version__, resources
from aifctl.digest import IGNORED_FOLDERS, IGNORED_NAMES, IGNORED_SUFFIXES
from aifctl.render.write import TEMPORARY, Written
from aifctl.spec.files import Chosen
from aifctl.spec.paths import shown

FORMAT = 2
FOLDER = ".aif/cache"
GROUND = ""
"""Goes for a spec file's path in the entry of what is no model's."""
LIBRARIES = ("jinja2", "pydantic", "pydantic_core", "yaml", "yaml12")
"""Whose versions the bytes of a manifest may depend on."""
MOST_INPUTS = 10_000
"""A model that looks at more files is compiled each time: to ask after all of them would cost as much."""
TICK = 20_000_000
"""Nanoseconds within which a file may change twice and show one time: clocks of files tick every 1 to 10 ms."""
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A spec file without any finding. Inputs are relative to the repository's root, outputs to the tree's."""

    spec: str
    named: bool
    models: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    """Of each rendered object, what no other may be."""
    inputs: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """Those of the inputs that were not there."""
    folders: tuple[str, ...] = ()
    """Of the models, and those below them that are there."""
    files: tuple[str, ...] = ()
    units: tuple[Any, ...] = ()
    """Of an apply: (unit, digest of its manifests, rows of its objects)."""
    stamp: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run reads and writes. `request` tells requests apart that one repository gets in turn, and `purpose` what
    they are for."""

    root: Path
    out: Path
    platform: Path | None
    request: str = ""
    purpose: str = "render"

    @property
    def file(self) -> Path:
        name = blake2b(f"{self.out.absolute()}\0{self.request}".encode(), digest_size=6).hexdigest()
        return self.root / FOLDER / f"{self.purpose}-{name}"


@dataclass(slots=True)
class Cache:
    """`environments` that the entries are of; None where nothing is known."""

    place: Place
    key: str
    environments: tuple[str, ...] | None = None
    lines: dict[str, str] = field(default_factory=dict)
    """Spec, as JSON → the rest of its line in the file."""
    about: tuple[Any, ...] = ()
    """What whoever saved it wants to know of the environments."""
    safe: dict[str, bool] = field(default_factory=dict)

    @property
    def specs(self) -> set[str]:
        return {json.loads(name) for name in self.lines}

    def split(self, chosen: Chosen) -> tuple[list[Entry], Chosen]:
        """What is known of these files, and those of which nothing is."""
        hits, rest = [], []
        for path, named in chosen:
            entry = self.entry(shown(path, self.place.root), named)
            if entry is not None:
                hits.append(entry)
            else:
                rest.append((path, named))
        return hits, rest

    def entry(self, spec: str, named: bool) -> Entry | None:
        """What was made of this spec file, if the same would be made again."""
        line = self.lines.get(json.dumps(spec))
        entry = _parsed(line) if line is not None else None
        if entry is None or entry.named != named or not all(map(self._is_safe, entry.folders)):
            return None
        return entry if _stamp(self.place, entry) == entry.stamp else None

    def save(
        self,
        entries: Iterable[Entry],
        environments: tuple[str, ...],
        kept: Iterable[str],
        began: int,
        about: tuple[Any, ...] = (),
    ) -> None:
        """Keeps these entries and those of the specs `kept`. Nothing if the platform changed since `began`."""
        platform = self.place.platform
        if platform is not None and _newest(_told(str(platform))) >= began - TICK:
            return
        old = {name: self.lines[name] for name in map(json.dumps, kept) if name in self.lines}
        lines = old if environments == self.environments else {}
        lines |= {json.dumps(each.spec): json.dumps(asdict(each), separators=(",", ":")) for each in entries}
        body = "\n".join(f"{name}\t{line}" for name, line in lines.items())
        head = {"format": FORMAT, "key": self.key, "sum": _sum(body), "environments": environments, "about": about}
        with suppress(OSError):  # a repository that can't be written to is rendered all the same
            _put(self.place.file, f"{json.dumps(head)}\n{body}")

    def _is_safe(self, folder: str) -> bool:
        """No symbolic link stands above it; `render.write` says what is wrong with one."""
        above, slash, _ = folder.rpartition("/")
        if not slash:
            return True
        if above not in self.safe:
            self.safe[above] = self._is_safe(above) and not os.path.islink(f"{self.place.out}/{above}")  # noqa: PTH114
        return self.safe[above]


def clock(root: Path) -> int:
    """Now, as files of that repository tell the time (ns): on a file system of another machine its clock counts."""
    folder = root / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_ctime_ns
    except OSError:
        return time.time_ns()


def clash(entries: Iterable[Entry]) -> bool:
    """Whether two models have one name, or two objects are one."""
    found = list(entries)
    names = [name for entry in found for name in entry.models if name]
    objects = [each for entry in found for each in entry.objects]
    return len(set(names)) < len(names) or len(set(objects)) < len(objects)


def read(place: Place) -> Cache:
    """The cache of this place; empty where there is none, or one of another key."""
    cache = Cache(place, _key(place))
    try:
        head, _, body = place.file.read_text("utf-8").partition("\n")
        known = json.loads(head)
        if (known["format"], known["key"], known["sum"]) == (FORMAT, cache.key, _sum(body)):
            rows = (line.partition("\t") for line in body.splitlines())
            lines = {name: row for name, _, row in rows}
            return replace(cache, environments=tuple(known["environments"]), lines=lines, about=tuple(known["about"]))
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return cache


def inputs(root: Path, folder: Path, looked_at: Mapping[Path, bool]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(these files, all below these folders, and the folders between a spec's and them; those that were not there).

    None if there are too many to ask after all of them.
    """
    found: dict[str, None] = {}
    for path in map(str, looked_at):
        for each in _looked_at(str(folder), path):
            found[_below(str(root), each)] = None
            if len(found) > MOST_INPUTS:
                return None
    return tuple(found), tuple(_below(str(root), str(path)) for path, there in looked_at.items() if not there)


def sealed(place: Place, entry: Entry, written: Written, began: int) -> Entry | None:
    """The entry with its stamp; None where an input has changed since the render `began` (time.time_ns), or where
    somebody else's files are among the rendered ones."""
    folders = tuple(folder for top in entry.folders for folder in _folders(place.out, top))
    entry = replace(entry, folders=folders)
    read = [_told(f"{place.root}/{path}") for path in entry.inputs]
    made = [_told(f"{place.out}/{folder}") for folder in folders]
    left = [_of(written.stats[path]) for path in entry.files]
    gone = {path for path, told in zip(entry.inputs, read, strict=True) if told == "-"} - set(entry.absent)
    if gone or any(_newest(each) >= began - TICK for each in read) or not _is_ours(place.out, entry):
        return None
    return replace(entry, stamp=_sum("\n".join((*read, *made, *left))))


def settle() -> None:
    """Waits until a file that is changed from now on shows another time than those just written."""
    time.sleep(TICK / SECOND)


def _stamp(place: Place, entry: Entry) -> str:
    root, out = place.root, place.out
    paths = [f"{root}/{path}" for path in entry.inputs]
    paths += [f"{out}/{path}" for path in chain(entry.folders, entry.files)]
    return _sum("\n".join(map(_told, paths)))


def _told(path: str) -> str:
    try:
        found = os.lstat(path)
    except OSError:
        return "-"
    if stat.S_ISLNK(found.st_mode):
        with suppress(OSError):
            return f"{_of(found)} {_of(os.stat(path))}"  # noqa: PTH116 - strings, for speed
    return _of(found)


def _of(found: os.stat_result) -> str:
    return f"{found.st_ctime_ns} {found.st_size} {found.st_ino}"


def _newest(told: str) -> int:
    """The latest time in a text of `_told`. A file system that counts whole seconds may hide a change for one."""
    times = [int(word) for word in told.split()[::3]] if told != "-" else []
    return max((each + 2 * SECOND if each % SECOND == 0 else each for each in times), default=0)


def _looked_at(folder: str, path: str) -> Iterator[str]:
    if path.startswith(f"{folder}/"):
        above, _, _ = path.rpartition("/")
        while above != folder:
            yield above
            above, _, _ = above.rpartition("/")
    yield path
    if os.path.isdir(path):  # noqa: PTH112 - strings, for speed
        for here, folders, names in os.walk(path):
            folders[:] = [name for name in folders if name not in IGNORED_FOLDERS]
            names = [name for name in names if name not in IGNORED_NAMES and not name.endswith(IGNORED_SUFFIXES)]
            yield from (f"{here}/{name}" for name in (*folders, *names))


def _below(root: str, path: str) -> str:
    return path.removeprefix(f"{root}/") if path.startswith(f"{root}/") else os.path.relpath(path, root)


def _folders(out: Path, top: str) -> Iterator[str]:
    with suppress(OSError), os.scandir(f"{out}/{top}") as found:
        yield top
        yield from (f"{top}/{each.name}" for each in found if each.is_dir(follow_symlinks=False))


def _is_ours(out: Path, entry: Entry) -> bool:
    """Whether the folders hold no YAML but the entry's."""
    files = set(entry.files)
    for folder in entry.folders:
        for name in os.listdir(f"{out}/{folder}"):  # noqa: PTH208 - strings, for speed
            if name.endswith((".yaml", TEMPORARY)) and f"{folder}/{name}" not in files:
                return False
    return True


def _parsed(line: str) -> Entry | None:
    try:
        found: Any = json.loads(line)
        fields: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
        return Entry(**fields)
    except (ValueError, TypeError, AttributeError):
        return None


def _put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    ignored = file.with_name(".gitignore")
    if not ignored.exists():
        ignored.write_text("*\n")
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _key(place: Place) -> str:
    """What every entry depends on."""
    parts = [__version__, sys.version, str(place.platform), place.request, *map(_told, _program())]
    if place.platform is not None:
        with suppress(OSError):
            parts.append(place.platform.read_bytes().hex())
    return _sum("\n".join(parts))


def _program() -> Iterator[str]:
    """aifctl's own files, and where its libraries lie."""
    for root in (str(resources.PACKAGE), str(resources.template_path(""))):
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            yield from (f"{folder}/{name}" for name in sorted(names))
    for library in LIBRARIES:
        spec = importlib.util.find_spec(library)
        yield (spec.origin if spec is not None else None) or library


def _sum(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
