"""Garbage collection of a store folder: what no release, no kept run and no running run reaches.

`plan_gc` only looks; `collect` looks again under the store's gc lock, moves what is still garbage and was planned into
`trash/`, lets go of the lock, and only then deletes: a run that starts meanwhile waits for moments, and finds a step
whole or not at all. Symbolic links are never followed, and nothing outside the store folder is touched.

    steps/<digest>                       reached by nobody, or not finished and no longer worked on
    steps/<digest>/attempts/<attempt>    all but the published one, and those that a cluster may be working on
    steps/<digest>/{checkpoints,turns}   of a finished training
    trash/…, .<name>.<hex>               left by a collection or a write that was killed
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aifctl.diagnostics.model import Diagnostic, Report, Severity
from aifctl.runtime import locks, runs
from aifctl.runtime.runs import RunRecord

UNDECIDED = frozenset({"waiting", "running"})
LEFTOVER_AGE = 3600.0
"""Seconds after which a temporary file was left by a writer that was killed, whatever the rule says."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Garbage:
    """`path` lies below the store; `bytes` is what deleting it frees."""

    path: Path
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What stays. `now` and `older_than` are seconds (since 1970, and of age): younger things are left alone."""

    digests: Set[str]
    runs: Set[str]
    now: float
    older_than: float


@dataclass(frozen=True, slots=True)
class Plan:
    store: Path
    rule: Rule
    garbage: tuple[Garbage, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.garbage)


@dataclass(frozen=True, slots=True)
class Collected:
    freed: tuple[Garbage, ...]
    diagnostics: tuple[Diagnostic, ...]


def plan_gc(store: Path, keep_digests: Set[str], keep_runs: Set[str], now: float, older_than: float) -> Plan:
    """What could be freed, in the order of paths. Raises Report (AIF850) where it can't be known what a run reaches."""
    store = store.resolve()
    rule = Rule(keep_digests, keep_runs, now, older_than)
    try:
        reach = _reached(store, rule)
        diagnostics = list(reach.postponed)
        found = list(_leftovers(store, rule))
        if not reach.postponed:
            for folder in _folders(store / "steps", diagnostics):
                if not locks.is_held(locks.step_path(store, folder.name)):
                    found += _of_step(folder, rule, reach)
    except OSError as error:
        raise Report(_unreadable(store, error)) from error
    return Plan(store, rule, tuple(sorted(found, key=lambda item: item.path)), tuple(diagnostics))


def collect(plan: Plan) -> Collected:
    """Frees what was planned and is still garbage. Raises Report as `plan_gc`, and where the store is locked."""
    try:
        lock = locks.take(locks.gc_path(plan.store), wait=locks.GC_WAIT)
    except OSError as error:
        raise Report(_unreadable(plan.store, error)) from error
    if lock is None:
        message = f"the store {plan.store} is being read by others all the time"
        raise Report(Diagnostic("AIF850", message, hint="try again when fewer runs are starting"))
    try:
        moved, diagnostics = _move_away(plan)
    except OSError as error:
        raise Report(_unreadable(plan.store, error)) from error
    finally:
        lock.release()
    freed = []
    for item, trash in moved:
        try:
            _delete(trash)
        except OSError as error:
            diagnostics.append(_not_freed(item.path, error))
        else:
            freed.append(item)
    return Collected(tuple(freed), tuple(diagnostics))


def _move_away(plan: Plan) -> tuple[list[tuple[Garbage, Path]], list[Diagnostic]]:
    """Looks again, step by step, each under its lock: whoever works on it holds that."""
    moved: list[tuple[Garbage, Path]] = []
    reach = _reached(plan.store, plan.rule)
    diagnostics = list(reach.postponed)
    agreed = {item.path for item in plan.garbage}
    looked_at = () if reach.postponed else agreed
    steps = {path.relative_to(plan.store).parts[1]: None for path in looked_at if _is_step(plan, path)}
    _rename([i for i in _leftovers(plan.store, plan.rule) if i.path in agreed], plan.store, moved, diagnostics)
    for digest in steps:
        lock = locks.take(locks.step_path(plan.store, digest))
        if lock is None:
            continue
        try:
            folders = [folder for folder in _folders(plan.store / "steps") if folder.name == digest]
            fresh = [item for folder in folders for item in _of_step(folder, plan.rule, reach) if item.path in agreed]
            _rename(fresh, plan.store, moved, diagnostics)
        finally:
            locks.discard(lock)
    return moved, diagnostics


def _is_step(plan: Plan, path: Path) -> bool:
    return path.relative_to(plan.store).parts[0] == "steps"


def _rename(
    items: list[Garbage], store: Path, moved: list[tuple[Garbage, Path]], diagnostics: list[Diagnostic]
) -> None:
    for item in items:
        if item.path.parent == store / "trash":
            moved.append((item, item.path))
            continue
        target = store / "trash" / secrets.token_hex(8)
        try:
            target.parent.mkdir(exist_ok=True)
            item.path.rename(target)
        except OSError as error:
            diagnostics.append(_not_freed(item.path, error))
        else:
            moved.append((item, target))


def _delete(path: Path) -> None:
    """rmtree works with open folders, so a link that somebody swaps in meanwhile is not followed."""
    if stat.S_ISDIR(path.lstat().st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()


@dataclass(frozen=True, slots=True)
class _Reach:
    """Digests that stay; those a cluster works on, which holds no lock; findings of runs that don't know all yet."""

    kept: Set[str]
    elsewhere: Set[str]
    postponed: tuple[Diagnostic, ...]


def _reached(store: Path, rule: Rule) -> _Reach:
    kept, elsewhere, postponed = set(rule.digests), set[str](), []
    for name in _run_names(store):
        running = locks.is_running(store, name)
        if name not in rule.runs and not running and not runs.is_elsewhere(name):
            continue
        record = _record(store, name)
        going = running or (runs.is_elsewhere(name) and record.state == "running")
        if name not in rule.runs and not going:
            continue
        digests = {step.digest for step in record.steps.values() if step.digest is not None}
        kept |= digests
        if going and not running:
            elsewhere |= digests
        if going and any(step.digest is None and step.state in UNDECIDED for step in record.steps.values()):
            postponed.append(_postponed(name))
    return _Reach(kept, elsewhere, tuple(postponed))


def _run_names(store: Path) -> set[str]:
    """Runs that have a manifest, and those that hold a lock and are about to write one."""
    manifests = {
        entry.name.removesuffix(".json") for entry in _entries(store / runs.FOLDER) if entry.name.endswith(".json")
    }
    held = {entry.name.removeprefix("run-") for entry in _entries(store / "locks") if entry.name.startswith("run-")}
    return manifests | {name for name in held if locks.is_running(store, name)}


def _record(store: Path, name: str) -> RunRecord:
    path = store / runs.FOLDER / f"{name}.json"
    try:
        if path.is_symlink():
            raise ValueError("it is a symbolic link")
        return runs.parse(name, path.read_bytes())
    except FileNotFoundError:
        # It holds the lock and has looked nothing up yet: `looking_up` makes it wait for us.
        return RunRecord(run=name, model="", state="running", created="", started="")
    except ValueError as error:
        message = f"can't tell which steps run `{name}` reaches: {error}"
        hint = f"repair or remove {runs.FOLDER}/{name}.json; nothing was freed"
        raise Report(Diagnostic("AIF850", message, hint=hint)) from None


def _of_step(folder: Path, rule: Rule, reach: _Reach) -> Iterator[Garbage]:
    if not _DIGEST.fullmatch(folder.name):
        return
    if folder.name not in reach.kept:
        yield from _if_old(folder, "no release and no kept or running run reaches it", rule)
        return
    marker = _marker(folder)
    if marker is None:
        return  # broken: whatever lies here may be needed to understand why
    if not marker and folder.name in reach.elsewhere:
        return  # an attempt may be at work, whose folder is empty, and as old as its start, until its end
    for attempt in _folders(folder / "attempts"):
        if attempt.name != marker.get("attempt"):
            yield from _if_old(attempt, "an attempt that did not publish", rule)
    for name in ("checkpoints", "turns"):
        if marker and (folder / name) in _folders(folder):
            yield from _if_old(folder / name, f"{name} of a finished training", rule)


def _marker(folder: Path) -> dict[str, Any] | None:
    """The success marker; {} where the step is not finished, None where it is broken."""
    path = folder / "manifest.json"
    if path.is_symlink():
        return None
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("attempt"), str) else None


def _leftovers(store: Path, rule: Rule) -> Iterator[Garbage]:
    for entry in _entries(store / "trash"):
        yield Garbage(Path(entry.path), _measure(Path(entry.path))[0], "left by a collection that was killed")
    patient = replace(rule, older_than=max(rule.older_than, LEFTOVER_AGE))
    for folder in (store / runs.FOLDER, *_folders(store / "steps")):
        for entry in _entries(folder):
            if entry.is_file(follow_symlinks=False) and _TEMPORARY.fullmatch(entry.name):
                yield from _if_old(Path(entry.path), "left by a write that was killed", patient)


def _if_old(path: Path, reason: str, rule: Rule) -> Iterator[Garbage]:
    size, newest = _measure(path)
    if rule.now - newest >= rule.older_than:
        yield Garbage(path, size, reason)


def _measure(path: Path) -> tuple[int, float]:
    """Bytes of all files at and below a path, and the newest change; links count as themselves.

    What has gone in the meantime is empty and as new as can be, so that nobody frees it.
    """
    try:
        own = path.lstat()
    except FileNotFoundError:
        return 0, math.inf
    size, newest = (0 if stat.S_ISDIR(own.st_mode) else own.st_size), own.st_mtime
    for folder, folders, files in os.walk(path, followlinks=False):
        for name in (*folders, *files):
            try:
                found = Path(folder, name).lstat()
            except FileNotFoundError:
                continue  # a running step removed it meanwhile
            size += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
            newest = max(newest, found.st_mtime)
    return size, newest


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder; nothing where it is missing or a symbolic link."""
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folders(folder: Path, diagnostics: list[Diagnostic] | None = None) -> list[Path]:
    """Real folders in a folder. A symbolic link is left alone, with a warning where somebody listens."""
    links = [folder] if folder.is_symlink() else [Path(e.path) for e in _entries(folder) if e.is_symlink()]
    if diagnostics is not None:
        diagnostics += [_not_freed(link, OSError("it is a symbolic link")) for link in links]
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]


def _unreadable(store: Path, error: OSError) -> Diagnostic:
    place = "" if error.filename is None else f" ({error.filename})"
    return Diagnostic(
        "AIF850",
        f"can't read the store {store}: {error.strerror or error}{place}",
        hint="nothing was freed; check the rights of the folder",
    )


def _not_freed(path: Path, error: OSError) -> Diagnostic:
    message = f"{path} was left alone: {error.strerror or error}"
    return Diagnostic("AIF852", message, hint="remove it by hand if it is not needed", severity=Severity.WARNING)


def _postponed(run: str) -> Diagnostic:
    message = f"run `{run}` is still reading its data, and what it will reach is not known yet"
    hint = "no step was looked at; try again in a moment"
    if runs.is_elsewhere(run):
        hint = (
            f"no step was looked at; try again later, or remove {runs.FOLDER}/{run}.json if no cluster runs it any more"
        )
    return Diagnostic("AIF853", message, hint=hint, severity=Severity.WARNING)
