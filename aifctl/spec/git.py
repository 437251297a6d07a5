"""Reads files of another Git commit with the `git` command: the base of a plan, and specs as they were at a ref.

Only reads: no hook, file monitor or filter runs, nothing is fetched, no index is refreshed, and the caller's `GIT_*`
variables do not point it at another repository. Contents are the blobs as committed: line endings are not converted
and an LFS file is its pointer. Every failure is a `Report`.
"""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from aifctl.diagnostics.model import Diagnostic, Report

SETTINGS = (
    f"core.hooksPath={os.devnull}",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "protocol.allow=never",  # a partial clone would fetch what it lacks
)
ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
}
KEPT_VARIABLES = ("GIT_CONFIG_", "GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
"""Prefixes of `GIT_*` variables that say how to run git, not on which repository (safe.directory may come this way)."""


class Commit(NamedTuple):
    sha: str
    """Full object name, hexadecimal."""
    dirty: bool
    """The working tree differs from it, untracked files included; never in a bare repository."""


def read_tree(repo: Path, ref: str, below: str = "") -> dict[str, bytes]:
    """Files of the folder `below` at `ref`, as {posix path relative to `below`: bytes}; {} if it is not there then.

    `below` is relative to `repo`, which may itself lie inside a repository. Symbolic links and submodules are left out.
    Raises Report (AIF610 to AIF616).
    """
    entries = _entries(repo, _tree_of(repo, ref, below))
    files = [entry for entry in entries if entry.is_file]
    return {entry.path: data for entry, data in zip(files, _contents(repo, files), strict=True)}


def commit(repo: Path, ref: str = "HEAD") -> Commit:
    """The commit that `ref` names, and whether the working tree differs from HEAD. Raises Report."""
    sha = resolve(repo, ref)
    if _line(repo, "rev-parse", "--is-inside-work-tree") != "true":
        return Commit(sha, dirty=False)
    changes = _run(repo, "status", "--porcelain=v1", "-z", "--untracked-files=normal", "--ignore-submodules=dirty")
    return Commit(sha, dirty=bool(changes))


def commits_since(repo: Path, below: str, seconds: float) -> list[str]:
    """Commits that HEAD stands on and that changed the folder `below` in the last `seconds`, newest first; and the
    parents of each, for what was there before. Raises Report.
    """
    lines = _run(repo, "log", "--format=%H %P", f"--since={int(time.time() - seconds)}", "HEAD", "--", below)
    return list(dict.fromkeys(lines.decode("ascii").split()))


def resolve(repo: Path, ref: str) -> str:
    """Object name of the commit that `ref` names. Raises Report: AIF613 if it can't be a ref, AIF611 if unknown."""
    if not ref or ref.startswith(("-", "^")) or any(ord(character) < 32 for character in ref):
        hint = "name a branch, a tag or a commit"
        raise Report(Diagnostic("AIF613", f"`{_printable(ref)}` can't be a Git ref", hint=hint))
    found = _verified(repo, f"{ref}^{{commit}}")
    if found is None:
        raise Report(_unknown(repo, ref))
    return found


def export_ref(repo: Path, ref: str, into: Path) -> str:
    """Writes the files that `repo` had at `ref` below `into`, a new or empty folder; returns the commit's name.

    Not `git archive`: it leaves out `export-ignore` files, rewrites `export-subst` ones and runs filters, each of which
    would move the digest of a code tree. Symbolic links are made only if they stay inside the folder; submodules are
    left out. Raises Report, also (AIF616) for a path that would lie outside; OSError if `into` can't be written.
    """
    sha = resolve(repo, ref)
    entries = _entries(repo, _tree_of(repo, sha, ""))
    into.mkdir(parents=True, exist_ok=True)
    files = [entry for entry in entries if entry.is_file]
    for entry, data in zip(files, _contents(repo, files), strict=True):
        target = into / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if entry.is_executable:
            target.chmod(target.stat().st_mode | stat.S_IXUSR)
    # Last, so that no file can be written through a link.
    links = [entry for entry in entries if entry.is_link]
    for entry, data in zip(links, _contents(repo, links), strict=True):
        _link(into, entry, os.fsdecode(data))
    return sha


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: str
    sha: str
    path: str

    @property
    def is_file(self) -> bool:
        return self.mode.startswith("100")

    @property
    def is_executable(self) -> bool:
        return self.mode == "100755"

    @property
    def is_link(self) -> bool:
        return self.mode == "120000"


def _tree_of(repo: Path, ref: str, below: str) -> str | None:
    """Object name of the folder's tree, None if it is no folder at that commit."""
    sha = resolve(repo, ref)
    prefix = _line(repo, "rev-parse", "--show-prefix")
    folder = PurePosixPath(prefix, below).as_posix()
    if PurePosixPath(below).is_absolute() or ".." in PurePosixPath(below).parts:
        raise Report(_outside(below))
    found = sha if folder == "." else _verified(repo, f"{sha}:{folder}")
    return found and _verified(repo, f"{found}^{{tree}}")


def _entries(repo: Path, tree: str | None) -> list[_Entry]:
    """Everything below a tree. Raises Report for a path that leads out of it: git does not check what is pushed."""
    if tree is None:
        return []
    entries = []
    for row in _run(repo, "ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]:
        facts, _, path = row.partition(b"\t")
        mode, _, sha = facts.decode("ascii").split(" ")
        name = os.fsdecode(path)
        if any(part in ("", ".", "..") or part.lower() == ".git" for part in name.split("/")):
            raise Report(_outside(name))
        entries.append(_Entry(mode, sha, name))
    return entries


def _contents(repo: Path, entries: Sequence[_Entry]) -> Iterator[bytes]:
    """The blobs of the entries, in their order, from one process; one blob in memory at a time."""
    if not entries:
        return
    with tempfile.TemporaryFile() as names:
        names.write("".join(f"{entry.sha}\n" for entry in entries).encode("ascii"))
        names.seek(0)
        with _start(repo, ("cat-file", "--batch"), stdin=names) as process:
            output = process.stdout
            assert output is not None
            try:
                for entry in entries:
                    yield _blob(output, entry)
            finally:
                output.close()


def _blob(output: IO[bytes], entry: _Entry) -> bytes:
    header = output.readline().split()
    if len(header) != 3 or header[1] != b"blob":
        raise Report(
            Diagnostic(
                "AIF614",
                f"the contents of `{_printable(entry.path)}` are missing from this clone",
                hint="it is a partial or broken clone: fetch its objects first",
            )
        )
    data = output.read(int(header[2]))
    output.read(1)
    return data


def _link(root: Path, entry: _Entry, target: str) -> None:
    """Makes the link if it and what it leads to, through other links too, lie below root."""
    at = root / entry.path
    at.parent.mkdir(parents=True, exist_ok=True)
    if not _inside(root, at.parent) or os.path.lexists(at):
        return
    at.symlink_to(target)
    if not _inside(root, at):
        at.unlink()


def _inside(root: Path, path: Path) -> bool:
    # realpath, because Path.resolve() raises for a link to itself before Python 3.13.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _unknown(repo: Path, ref: str) -> Diagnostic:
    shown = _printable(ref)
    if _verified(repo, f"origin/{ref}^{{commit}}"):
        return Diagnostic("AIF611", f"Git knows no ref `{shown}` here", hint=f"did you mean `origin/{shown}`?")
    if _line(repo, "rev-parse", "--is-shallow-repository") == "true":
        hint = f"fetch it first: `git fetch --depth=1 origin {shown}`, or check out with the whole history"
        return Diagnostic("AIF614", f"this is a shallow clone without the ref `{shown}`", hint=hint)
    return Diagnostic(
        "AIF611", f"Git knows no ref `{shown}` here", hint="name a branch, a tag or a commit of this clone"
    )


def _outside(path: str) -> Diagnostic:
    return Diagnostic(
        "AIF616", f"the path `{_printable(path)}` leads out of its folder", hint="use a path inside the repository"
    )


def _verified(repo: Path, expression: str) -> str | None:
    arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", expression)
    with _start(repo, arguments) as process:
        out, err = process.communicate()
    # An unknown name ends with 1 or 128 alike; these are the faults that concern every name.
    if process.returncode and any(fault in err for fault in (b"not a git repository", b"cannot change to", b"dubious")):
        raise Report(_failure(repo, arguments, err))
    return None if process.returncode else out.decode("ascii").strip()


def _line(repo: Path, *arguments: str) -> str:
    return os.fsdecode(_run(repo, *arguments)).rstrip("\n")


def _run(repo: Path, *arguments: str) -> bytes:
    with _start(repo, arguments) as process:
        out, err = process.communicate()
    if process.returncode:
        raise Report(_failure(repo, arguments, err))
    return out


def _start(
    repo: Path, arguments: Sequence[str], stdin: IO[bytes] | int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    settings = [word for setting in SETTINGS for word in ("-c", setting)]
    command = ["git", "-C", os.fspath(repo), "--no-pager", "--literal-pathspecs", *settings, *arguments]
    try:
        return subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
        )
    except OSError as error:
        hint = "install git, or plan against the rendered tree on disk"
        raise Report(Diagnostic("AIF612", f"can't start git: {error.strerror}", hint=hint)) from error


def _environment() -> dict[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(KEPT_VARIABLES)
    }
    return {**kept, **ENVIRONMENT}


def _failure(repo: Path, arguments: Sequence[str], err: bytes) -> Diagnostic:
    lines = err.decode("utf-8", "replace").strip().splitlines() or ["no message"]
    if "not a git repository" in lines[0] or "cannot change to" in lines[0]:
        return Diagnostic(
            "AIF610", f"`{_printable(str(repo))}` is not in a Git repository", hint="run it inside a clone"
        )
    message = _printable(lines[0].removeprefix("fatal: "))
    return Diagnostic("AIF615", f"`git {arguments[0]}` failed: {message}", notes=tuple(map(_printable, lines[1:6])))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
