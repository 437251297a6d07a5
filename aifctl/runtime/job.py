"""What a step is given to work with (`Job`), and the one door to user code (`import_attribute`)."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from aifctl.contract import Site, StepSpec
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.store import Attempt, Published, Store
from aifctl.runtime.turns import Turn

C = TypeVar("C")
STANDARD_OUTPUT = "-"
PACKAGE = Path(__file__).parents[1]
"""Folder of aifctl itself: its frames say nothing to the author of a step's code."""
_FOLDERS: set[Path] = set()
"""Code folders on sys.path: one at a time, so that two runs of one process do not see each other's modules."""


class Stopped(BaseException):
    """A step was told to stop and has saved what it can go on from. The entry exits with EXIT_RETRY.

    Like KeyboardInterrupt no Exception: a signal may raise it anywhere, and nobody's `except Exception` may keep it.
    """


class Events:
    """Appends progress to `path`, a JSON object a line: {step, event, time (seconds since 1970), …fields}.

    `path` None drops it, `-` prints it.
    """

    def __init__(self, step: str, path: str | Path | None) -> None:
        self.step, self.path = step, None if path is None else Path(path)
        self._lock = threading.Lock()

    def emit(self, event: str, **fields: Any) -> None:
        if self.path is None:
            return
        line = json.dumps({"step": self.step, "event": event, "time": round(time.time(), 3), **fields}, default=str)
        if str(self.path) == STANDARD_OUTPUT:
            print(line, flush=True)
            return
        try:
            with self._lock, self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            # Progress is for people: a full disk must end the step where it matters, not here.
            self.path = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One execution of one step. Steps write below `attempt.path` and return small JSON outputs."""

    spec: StepSpec
    """With all digests known."""
    site: Site
    store: Store
    inputs: Mapping[str, Published]
    """Inputs and needs that are steps, by step name."""
    attempt: Attempt
    events: Events
    stop: threading.Event = field(default_factory=threading.Event)
    """Set on SIGTERM; who sees it saves and raises Stopped."""
    turn: Turn | None = None
    """To write checkpoints: a training has one, but for one whose result is thrown away."""
    warnings: list[Diagnostic] = field(default_factory=list)
    """Findings that do not end the step."""
    material: Any = None
    """What `entry` had to read to learn the step's digest (prepare of unpinned data), so that it is not read twice."""

    @property
    def path(self) -> Path:
        return self.attempt.path

    @property
    def digest(self) -> str:
        return self.attempt.digest

    @property
    def code(self) -> Path | None:
        return None if self.site.code is None else Path(self.site.code)

    def config(self, kind: type[C]) -> C:
        return parse_config(self.spec, kind)

    def input(self, name: str) -> Published:
        """A step this one reads. Raises Report where it is not among inputs and needs."""
        if name not in self.inputs:
            known = ", ".join(sorted(self.inputs)) or "no steps"
            raise Report(Diagnostic("AIF801", f"step `{self.spec.name}` does not read `{name}`", f"it reads {known}"))
        return self.inputs[name]

    def dataset(self, name: str) -> Published:
        """The prepared dataset: the input `prepare-<name>`, or `prepare`, which is the one that is trained on."""
        return self.input(f"prepare-{name}" if f"prepare-{name}" in self.inputs else "prepare")

    def log(self, **fields: Any) -> None:
        """Progress for people: an event, and a line of the step's log."""
        self.events.emit("log", **fields)
        print(" ".join(f"{name}={_short(value)}" for name, value in fields.items()), flush=True)

    def warn(self, diagnostic: Diagnostic) -> None:
        self.warnings.append(diagnostic)


def parse_config(spec: StepSpec, kind: type[C]) -> C:
    """The step's `config` as one of contract's dataclasses. Raises Report for what does not fit."""
    try:
        return pydantic.TypeAdapter(kind).validate_python(dict(spec.config))
    except pydantic.ValidationError as error:
        lines = tuple(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        message = f"the arguments of step `{spec.name}` are no {kind.__name__}"
        raise Report(
            Diagnostic("AIF800", message, "use the same version of aifctl to compile and to run", notes=lines)
        ) from error


def import_attribute(reference: str, code: Path | None) -> Any:
    """`module:name` (dots in the name reach into classes), with the code folder first on sys.path.

    Raises Report: AIF805 where it can't be imported, with the user's frames as notes.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise Report(Diagnostic("AIF805", f"`{reference}` names no function", "write `module:function`"))
    _put_first(code, module_name.partition(".")[0])
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder may be a published bundle's
    try:
        # User code may raise anything while it is imported.
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise Report(_import_failed(reference, module_name, code, error)) from error
    finally:
        sys.dont_write_bytecode = before
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = (
                ", ".join(sorted(n for n in vars(found) if not n.startswith("_"))[:12])
                if hasattr(found, "__dict__")
                else ""
            )
            hint = f"it has {names}" if names else None
            raise Report(Diagnostic("AIF805", f"`{module_name}` has no `{attribute}`", hint))
        found = getattr(found, part)
    return found


def forget_code() -> None:
    """Lets the next import read user code anew: in a notebook it was edited since."""
    for folder in set(_FOLDERS):
        _forget(folder)


def user_failure(error: BaseException, code: Path | None, doing: str) -> Diagnostic:
    """AIF806: what user code raised, with its frames and none of aifctl's."""
    frames = user_frames(error, code)
    place = f" at {frames[-1].split(' in ')[0]}" if frames else ""
    message = f"{doing} failed{place}: {_describe(error)}"
    return Diagnostic("AIF806", message, notes=frames)


def user_frames(error: BaseException, code: Path | None) -> tuple[str, ...]:
    """`file.py:12 in fit: loss.backward()` for each frame outside aifctl, outermost first.

    Files below the code folder are named relative to it; of other libraries only the innermost frame is kept.
    """
    stack = [f for f in traceback.extract_tb(error.__traceback__) if not _is_ours(f.filename)]
    own = [f for f in stack if _below(f.filename, code)]
    kept = [*own, *([stack[-1]] if stack and stack[-1] not in own else [])] if own else stack[-1:]
    return tuple(f"{_named(f.filename, code)}:{f.lineno} in {f.name}: {f.line or ''}".rstrip(": ") for f in kept)


def _import_failed(reference: str, module_name: str, code: Path | None, error: BaseException) -> Diagnostic:
    top = module_name.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and error.name in {module_name, top}:
        where = f"in {code}" if code is not None else "on sys.path"
        return Diagnostic(
            "AIF805", f"there is no module `{error.name}` {where} (for `{reference}`)", "check `code.path`"
        )
    frames = user_frames(error, code)
    if isinstance(error, SyntaxError) and error.filename:
        frames = (f"{_named(error.filename, code)}:{error.lineno}: {(error.text or '').strip()}",)
    hint = f"add `{error.name}` to the requirements" if isinstance(error, ModuleNotFoundError) else None
    return Diagnostic("AIF805", f"can't import `{reference}`: {_describe(error)}", hint, notes=frames)


def _put_first(code: Path | None, top: str) -> None:
    """The code folder goes first on sys.path, in place of another run's."""
    if code is None:
        return
    if top in sys.stdlib_module_names and ((code / top).is_dir() or (code / f"{top}.py").is_file()):
        hint = "rename it: other libraries import the standard one"
        raise Report(Diagnostic("AIF805", f"`{top}` is also a module of Python's standard library", hint))
    folder = code.resolve()
    for other in _FOLDERS - {folder}:
        _forget(other)
    if folder not in _FOLDERS:
        _FOLDERS.add(folder)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _forget(folder: Path) -> None:
    _FOLDERS.discard(folder)
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    gone = [name for name, module in list(sys.modules.items()) if _is_of(module, folder) and name != "__main__"]
    for name in gone:
        # With its packages: one without __init__.py has no file of its own, and finds its folder anew.
        for package in (name, *(name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1))):
            sys.modules.pop(package, None)
    importlib.invalidate_caches()


def _is_of(module: Any, folder: Path) -> bool:
    """A module of the code itself; an environment that lies in the same folder is not."""
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).is_relative_to(folder) and "site-packages" not in Path(file).parts


def _describe(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(PACKAGE) or filename.startswith("<frozen importlib")


def _below(filename: str, code: Path | None) -> bool:
    return code is not None and bool(filename) and Path(filename).resolve().is_relative_to(code.resolve())


def _named(filename: str, code: Path | None) -> str:
    if code is not None and _below(filename, code):
        return Path(filename).resolve().relative_to(code.resolve()).as_posix()
    return Path(filename).name


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
