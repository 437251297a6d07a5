"""A commit → what each unit of an environment should be. Compiled in a process of its own.

So its memory goes back, and a compile that crashes or hangs is a finding. Models are compiled one after the other and
handed over at once, as compact bytes: neither process ever holds all manifests as objects. The two speak JSON, a line a
unit; nothing that the other process says is run.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl.cluster.inventory import Unit
from aifctl.cluster.wanted import Object, Wanted, wanted
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.diagnostics.model import errors
from aifctl.manifest import Identity, Manifest
from aifctl.reconcile import memory
from aifctl.spec.models.platform import Environment

if TYPE_CHECKING:
    from aifctl.pipeline import CompiledModel
    from aifctl.spec.load import Repository
    from aifctl.spec.load import Unit as Source

MODEL_LIMIT = 60.0
"""Seconds that one model may take to compile."""
TOO_OFTEN = 3
"""Times that a model may end the process before the commit is compiled without it."""
LINE = 1 << 28
"""Bytes that one unit may need."""
OF_INTEREST = {"name", "roles", "cluster", "namespace", "deliverer", "apply"}


@dataclass(frozen=True)
class Packed:
    """A unit as it was compiled: its manifests as compressed JSON."""

    unit: Unit
    tree: str
    objects: tuple[Object, ...]
    data: bytes = field(repr=False)

    @cached_property
    def by_identity(self) -> Mapping[Identity, Object]:
        return {each.identity: each for each in self.objects}

    def unpacked(self) -> Wanted:
        """Unpacks when its manifests are asked for, and keeps them: for one look at the cluster only."""

        def make() -> tuple[Manifest, ...]:
            return tuple(map(Manifest, json.loads(zlib.decompress(self.data))))

        return Wanted(unit=self.unit, tree=self.tree, objects=self.objects, make=make)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """`frozen` says of each model that does not compile why, by its name; the empty name is the environment's ground.
    `complete`: what is neither here nor frozen is gone from Git; but not the model of an `idle` file, a YAML file that
    holds no spec. `passing` are those of the frozen that may compile the next time: they took too long, or more memory
    than there was."""

    commit: str
    environment: Environment
    platform: str
    units: Mapping[Unit, Packed]
    frozen: Mapping[str, Diagnostic]
    complete: bool
    idle: frozenset[str] = frozenset()
    findings: tuple[Diagnostic, ...] = ()
    passing: frozenset[str] = frozenset()


class Lost(Report):
    """AIF771: the process ended without a result. `model` is the one that it compiled just then; empty for none, and
    where the whole took too long."""

    def __init__(self, found: Diagnostic, model: str = "") -> None:
        super().__init__(found)
        self.model = model


async def compiled(
    mirror: Path, commit: str, environment: str, limit: float, without: Iterable[str] = ()
) -> Compilation:
    """`without` names models that are left out, and frozen.

    Raises Lost for a process that ends without a result or takes too long, Report with what it reports itself.
    """
    try:
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="tree-", dir=mirror.parent))
    except OSError as error:
        raise _lost(commit, f"can't write {mirror.parent}: {error.strerror}") from None
    try:
        return await _asked((str(mirror), commit, environment, str(folder), *sorted(without)), limit)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _asked(arguments: tuple[str, ...], limit: float) -> Compilation:
    commit = arguments[1]
    # -P: what lies in the commit is no module of ours.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "aifctl.reconcile.compiling", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=LINE, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(limit):
            lines = await _lines(process)
    except TimeoutError:
        raise _lost(commit, f"it took longer than {limit:.0f} s") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return _read(commit, lines, process.returncode)


async def _lines(process: asyncio.subprocess.Process) -> list[dict[str, Any] | Packed]:
    """Units are read into their compact form as they come."""
    assert process.stdout is not None
    found: list[dict[str, Any] | Packed] = []
    while line := await process.stdout.readline():
        try:
            told = json.loads(line)
        except ValueError:
            continue  # cut off in the middle: there is no last line then
        found.append(_packed(told) if told["what"] == "unit" else told)
    await process.wait()
    return found


def _read(commit: str, lines: Iterable[dict[str, Any] | Packed], code: int | None) -> Compilation:
    units: dict[Unit, Packed] = {}
    told: dict[str, Any] = {}
    for line in lines:
        if isinstance(line, Packed):
            units[line.unit] = line
        else:
            told = line
    if told.get("what") == "failed":
        raise Report(*map(_diagnostic, told["findings"]))
    if told.get("what") != "end":
        raise _died(commit, code, told.get("model", ""))
    return Compilation(
        commit=commit,
        environment=Environment.model_validate(told["environment"]),
        platform=told["platform"],
        units=units,
        frozen={name: _diagnostic(found) for name, found in told["frozen"].items()},
        complete=told["complete"],
        idle=frozenset(told["idle"]),
        findings=tuple(map(_diagnostic, told["findings"])),
        passing=frozenset(told["passing"]),
    )


def _packed(told: Mapping[str, Any]) -> Packed:
    objects = tuple(Object(Identity(*each[:4]), *each[4:]) for each in told["objects"])
    return Packed(Unit(*told["unit"]), told["tree"], objects, base64.b64decode(told["data"]))


def _diagnostic(told: Mapping[str, Any]) -> Diagnostic:
    return Diagnostic(told["code"], told["message"], told["hint"], severity=Severity(told["severity"]),
                      notes=tuple(told["notes"]))  # fmt: skip


def _died(commit: str, code: int | None, model: str) -> Lost:
    how = f"with code {code}"
    if code is not None and code < 0:
        how = f"by signal {-code}" + (" (SIGKILL: out of memory?)" if code == -signal.SIGKILL else "")
    return _lost(commit, f"the process ended {how}" + (f" while it compiled model `{model}`" if model else ""), model)


def _lost(commit: str, why: str, model: str = "") -> Lost:
    hint = "it is tried again; the last commit that compiled is kept up meanwhile"
    return Lost(Diagnostic("AIF771", f"commit {commit[:10]} can't be compiled: {why}", hint), model)


# The other process


def main(arguments: list[str]) -> None:
    mirror, commit, environment, folder, *without = arguments
    # Line by line: when this process is killed, the other must know what it was at.
    out = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what anybody prints is no answer
    try:
        memory.keep_within()
        for line in _told(Path(mirror), commit, environment, Path(folder), frozenset(without)):
            out.write(json.dumps(line, separators=(",", ":")) + "\n")
    except Report as report:
        out.write(json.dumps({"what": "failed", "findings": [_said(d) for d in report.diagnostics]}) + "\n")
    except OSError as error:  # a full disk
        found = Diagnostic("AIF771", f"commit {commit[:10]} can't be compiled: {error.strerror or error}")
        out.write(json.dumps({"what": "failed", "findings": [_said(found)]}) + "\n")
    out.close()


def _told(mirror: Path, commit: str, name: str, folder: Path, without: frozenset[str]) -> Iterator[dict[str, Any]]:
    from aifctl import pipeline
    from aifctl.delivery import environments, tree
    from aifctl.spec import git, load

    git.export_ref(mirror, commit, folder)
    os.chdir(folder)  # findings name files as they are in the commit
    repository = load.load([Path()])
    environment = repository.environment(name)
    if environment.local:
        raise Report(Diagnostic("AIF620", f"environment `{name}` has no cluster", "name one that has"))
    environments.refuse_others(environments.address(environment))
    units, found = load.units(repository, environment)
    kept, passing = set(), set()
    for unit in units:
        yield {"what": "begin", "model": unit.name}
        model, problems, again = _model(repository, unit) if unit.name not in without else _left_out(unit)
        found += problems
        if again:
            passing.add(unit.name)
        if model is not None:
            kept.add(unit.document.key)
            bundle = model.bundle
            yield _row(wanted(Unit(name, bundle.tenant, bundle.model), model.manifests))
    yield {"what": "begin", "model": ""}
    ground, problems = pipeline.compile_ground(repository, environment)
    found += problems
    if ground:
        yield _row(wanted(Unit(name), ground))
    findings = pipeline.finish(repository, found)
    is_idle = environments.idle(repository.root, environments.specs(repository))
    broken = [document for document in repository.documents if document.key not in kept]
    names = {(name, document.model_name) for document in broken}
    frozen = {
        d.model_name: _frozen(f"{name}/{d.model_name}", _of_file(findings, d.file)) for d in broken if d.model_name
    }
    if ground is None:
        frozen[""] = _frozen(f"{name} (platform)", errors(problems))
    yield {
        "what": "end",
        "environment": environment.model_dump(mode="json", exclude_unset=True, include=OF_INTEREST),
        "platform": repository.platform.metadata.name if repository.platform is not None else "",
        "frozen": {model: _said(found) for model, found in frozen.items()},
        "complete": tree.is_known(names, repository.diagnostics),
        "idle": [path for path in _yaml_files() if is_idle(path)],
        "findings": [_said(each) for each in findings if each.severity is Severity.ERROR],
        "passing": sorted(passing),
    }


def _yaml_files() -> list[str]:
    from aifctl.spec import files

    return [path.as_posix() for path, _ in files.files([Path()])[0]]


def _model(repository: Repository, unit: Source) -> tuple[CompiledModel | None, list[Diagnostic], bool]:
    """As `compile_unit`, where a fault of ours or a compile without end is a finding of that model alone; and whether
    it may go well the next time."""
    from aifctl import pipeline

    try:
        with _limited(MODEL_LIMIT):
            model, problems = pipeline.compile_unit(repository, unit)
            return model, list(problems), False
    except Report as report:
        return None, list(report.diagnostics), False
    except (MemoryError, OSError) as error:  # TimeoutError is one
        return None, [_of_model(unit, f"can't be compiled now: {str(error) or 'out of memory'}")], True
    except Exception as error:  # noqa: BLE001 - one model must not hold up the others; the log has the whole
        traceback.print_exc()
        return None, [_of_model(unit, f"can't be compiled: {error!r}")], False


def _left_out(unit: Source) -> tuple[None, list[Diagnostic], bool]:
    message = f"is left out: compiling it has ended the process {TOO_OFTEN} times"
    return None, [_of_model(unit, message, "give the reconciler more memory, or change the model")], False


def _of_model(unit: Source, message: str, hint: str | None = None) -> Diagnostic:
    return Diagnostic("AIF771", f"model `{unit.name}` {message}", hint, unit.at("metadata", "name"))


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"it took longer than {seconds:.0f} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _row(unit: Wanted) -> dict[str, Any]:
    objects = [[*identity, *rest] for identity, *rest in unit.objects]
    text = json.dumps([m.object for m in unit.manifests], separators=(",", ":")).encode()
    data = base64.b64encode(zlib.compress(text)).decode()
    return {"what": "unit", "unit": list(unit.unit), "tree": unit.tree, "objects": objects, "data": data}


def _of_file(findings: Iterable[Diagnostic], file: str) -> list[Diagnostic]:
    return [d for d in errors(findings) if d.position is not None and d.position.file == file]


def _frozen(what: str, why: list[Diagnostic]) -> Diagnostic:
    more = f" and {len(why) - 1} more" if len(why) > 1 else ""
    told = f" ({why[0].code}{more})" if why else ""
    notes = tuple(_line(each) for each in why[:5])
    hint = "what is in the cluster stays as it is; correct the spec"
    return Diagnostic("AIF772", f"{what} is frozen: its spec does not compile{told}", hint, notes=notes)


def _line(found: Diagnostic) -> str:
    at = found.position
    return f"{at.file}:{at.line}:{at.column}: {found.message}" if at is not None else found.message


def _said(found: Diagnostic) -> dict[str, Any]:
    told = replace(found, message=_line(found)) if found.position is not None else found
    return {"code": told.code, "message": told.message, "hint": told.hint, "severity": str(told.severity),
            "notes": list(told.notes)}  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
