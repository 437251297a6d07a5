"""Checks of this machine and of the repository on it. Nothing is asked over a network."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from aifctl import __version__
from aifctl.delivery.doctor import accelerators, packages
from aifctl.delivery.doctor.answer import Answer, Finding, doubt, good, told, unknown, wrong
from aifctl.diagnostics import Diagnostic, Report
from aifctl.diagnostics.model import errors
from aifctl.pipeline import Compiled
from aifctl.spec import git, load
from aifctl.spec.load import Repository
from aifctl.spec.models.platform import Environment

MACHINE, REPOSITORY = "machine", "repository"
OLDEST_GIT = (2, 31)
"""Settings by variables (GIT_CONFIG_COUNT), as the reconciler gives them its credentials, came with it."""
LITTLE, HARDLY = 10 * 1024**3, 1024**3
"""Free bytes below which a store is said to be short of space, and below which nothing is worth starting."""
LFS = b"version https://git-lfs.github.com/spec/"
POINTER_BYTES = 1024
"""A pointer is smaller (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md)."""
ELSEWHERE = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE"})
"""Variables of a hook that would lead Git to another repository."""
SHOWN = 3
FRAMEWORKS = {"pytorch": "torch", "lightning": "torch", "huggingface": "torch", "tensorflow": "tensorflow"}
"""Framework → extra; others run with `data` alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`repository` None: there is none here, for the reasons `why`. `compiled`: of the environment that is examined."""

    root: Path
    store: Path
    repository: Repository | None = None
    why: tuple[Diagnostic, ...] = ()
    environment: Environment | None = None
    compiled: Compiled | None = None
    system: Path = Path("/")

    @property
    def runs_here(self) -> bool:
        """Whether steps may run on this machine: not where a cluster's environment is examined."""
        return self.environment is None or self.environment.local


Check = Callable[[Machine], Iterable[Answer]]


def examine(machine: Machine) -> list[Finding]:
    """Every check of the table; one that fails says so and hides no other."""
    return [
        Finding(section=section, check=name, answer=answer)
        for section, name, check in CHECKS
        for answer in _answers(check, machine)
    ]


def _answers(check: Check, machine: Machine) -> list[Answer]:
    try:
        return list(check(machine))
    except Report as report:
        return [told(diagnostic) for diagnostic in report.diagnostics]
    except (OSError, subprocess.SubprocessError, LookupError, ValueError) as error:
        return [unknown(f"{type(error).__name__}: {error}")]


# This machine


def python(machine: Machine) -> Iterator[Answer]:
    here = platform.python_version()
    where = f"Python {here} on {platform.system()} {platform.machine()}"
    tested = _tested()
    if tested and sys.version_info[:2] > max(tested):
        newest = ".".join(map(str, max(tested)))
        yield doubt("AIF791", f"{where}: newer than what aifctl is tested on", f"{newest} is the newest that is")
    else:
        yield good(f"aifctl {__version__}, {where}")


def base(machine: Machine) -> Iterator[Answer]:
    """What every command needs."""
    found = packages.needs()
    missing = [why for need in found if (why := packages.lacks(need))]
    if missing:
        yield wrong("AIF791", "; ".join(missing), "install aifctl again: `pip install --upgrade aifctl`")
    else:
        yield good(f"{len(found)} packages that every command needs")


def extras(machine: Machine) -> Iterator[Answer]:
    """What the repository's models need to run on this machine."""
    if not machine.runs_here or machine.repository is None:
        return
    wanted = _extras(machine.repository, machine.environment)
    asked = machine.environment is not None
    for extra in sorted(wanted):
        missing = [why for need in packages.needs([extra]) if (why := packages.lacks(need))]
        for_whom = _some(sorted(wanted[extra]))
        if missing:
            say = wrong if asked else doubt
            yield say("AIF791", f"{extra}, for {for_whom}: {'; '.join(missing)}", f"pip install 'aifctl[{extra}]'")
        else:
            yield good(f"{extra}, for {for_whom}")


def git_program(machine: Machine) -> Iterator[Answer]:
    program = shutil.which("git")
    if program is None:
        yield wrong("AIF791", "there is no `git`", "install Git: plans against a ref, history and rollback need it")
        return
    said = _git("version", program=program)
    version = tuple(int(part) for part in said.split()[2].split(".")[:2])
    if version < OLDEST_GIT:
        hint = f"install {'.'.join(map(str, OLDEST_GIT))} or newer"
        yield doubt("AIF791", f"{said.strip()} is older than what aifctl is tested with", hint)
    else:
        yield good(said.strip())


def disk(machine: Machine) -> Iterator[Answer]:
    """Where this machine's runs are kept."""
    if not machine.runs_here:
        return
    there = next(folder for folder in (machine.store, *machine.store.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / 1024**3:.1f} GiB free for {machine.store}"
    hint = "free some: `aifctl gc` lists what no run and no release needs"
    if free < HARDLY:
        yield wrong("AIF791", said, hint)
    elif free < LITTLE:
        yield doubt("AIF791", said, hint)
    else:
        yield good(said)


def devices(machine: Machine) -> Iterator[Answer]:
    yield from accelerators.seen(machine.system)


# The repository


def specs(machine: Machine) -> Iterator[Answer]:
    if machine.repository is None:
        for diagnostic in machine.why:  # nobody asked for one: a machine may be examined before `aifctl init`
            yield doubt(diagnostic.code, diagnostic.message, diagnostic.hint or "")
        return
    name = machine.repository.platform.metadata.name if machine.repository.platform is not None else None
    platform_said = f"platform `{name}`" if name else "no platform file (this machine only)"
    found = machine.compiled.diagnostics if machine.compiled is not None else machine.repository.diagnostics
    count = len(machine.repository.documents)
    if bad := errors(found):
        first = bad[0]
        hint = "`aifctl validate` shows all of them, with their places"
        message = f"{len(bad)} error{'s' * (len(bad) != 1)} in the specs, the first: {first.code} {first.message}"
        yield wrong("AIF792", message, hint)
    else:
        yield good(f"{platform_said}, {count} model{'s' * (count != 1)}")


def worktree(machine: Machine) -> Iterator[Answer]:
    try:
        found = git.commit(machine.root)
    except Report as report:
        hint = "`git init`, commit: history, rollback and `plan --against REF` go by commits"
        yield doubt("AIF792", report.diagnostics[0].message, hint)
        return
    if found.dirty:
        hint = "commit first: what is applied from here could not be brought back by `aifctl rollback`"
        yield doubt("AIF792", f"the folder differs from commit {found.sha[:10]}", hint)
    else:
        yield good(f"clean at commit {found.sha[:10]}")
    if _git("rev-parse", "--is-shallow-repository", folder=machine.root).strip() == "true":
        hint = "`git fetch --unshallow`; in CI, fetch the whole history"
        yield doubt("AIF792", "the clone is shallow: former revisions can't be compiled", hint)


def large_files(machine: Machine) -> Iterator[Answer]:
    """A pointer where data should be would be hashed, and trained on, as if it were the data."""
    try:
        listed = _git("ls-files", "-z", "--", ":(attr:filter=lfs)", folder=machine.root)
    except subprocess.CalledProcessError:
        return  # no repository, which `worktree` says
    files = [name for name in listed.split("\0") if name]
    pointers = [name for name in files if _is_pointer(machine.root / name)]
    if pointers:
        several = len(pointers) > 1
        what = "files are Git LFS pointers without their" if several else "file is a Git LFS pointer without its"
        message = f"{len(pointers)} {what} content: {_some(pointers)}"
        yield wrong("AIF792", message, "`git lfs install && git lfs pull`")
    elif files:
        yield good(f"{len(files)} files of Git LFS are here with their content")


def _is_pointer(path: Path) -> bool:
    try:
        if path.stat().st_size >= POINTER_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(LFS)) == LFS
    except FileNotFoundError:
        return False  # deleted, or left out of a sparse checkout


def _extras(repository: Repository, environment: Environment | None) -> dict[str, set[str]]:
    """Extra → models that need it here."""
    local = environment or next(each for each in load.environments(repository.platform) if each.local)
    found: dict[str, set[str]] = {}
    for unit in load.units(repository, local)[0]:
        spec = unit.spec
        wanted = {FRAMEWORKS.get(spec.training.framework, "data")}
        wanted |= {"onnx" for export in spec.export if export.format == "onnx"}
        wanted |= {"serve"} if spec.serving is not None else set()
        for extra in wanted:
            found.setdefault(extra, set()).add(unit.name)
    if found and repository.platform is not None and repository.platform.spec.tracking.mlflow:
        found["mlflow"] = set().union(*found.values())
    return found


def _tested() -> list[tuple[int, int]]:
    """Versions of Python that our metadata names."""
    named = metadata.metadata(packages.OURSELVES).get_all("Classifier") or []
    versions = [each.rpartition(" :: ")[2].split(".") for each in named if each.startswith("Programming Language :: P")]
    return [(int(parts[0]), int(parts[1])) for parts in versions if len(parts) == 2 and "".join(parts).isdigit()]


def _git(*arguments: str, program: str = "git", folder: Path | None = None) -> str:
    """Raises OSError, subprocess.CalledProcessError."""
    where = ["-C", str(folder)] if folder is not None else []
    kept = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    done = subprocess.run(
        [program, *where, *arguments], env={**kept, "LC_ALL": "C"}, capture_output=True, encoding="utf-8",
        errors="replace", check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


CHECKS: tuple[tuple[str, str, Check], ...] = (
    (MACHINE, "aifctl", python),
    (MACHINE, "packages", base),
    (MACHINE, "extras", extras),
    (MACHINE, "git", git_program),
    (MACHINE, "disk", disk),
    (MACHINE, "accelerators", devices),
    (REPOSITORY, "specs", specs),
    (REPOSITORY, "commit", worktree),
    (REPOSITORY, "large files", large_files),
)
