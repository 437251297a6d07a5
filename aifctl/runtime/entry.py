"""Runs one step: `python -m aifctl.runtime.entry --step=JSON --store=… --run=…` (`contract.to_arguments` writes them).

decode → complete the digest → end at once where the step is published → check the code → run → publish. Exit codes:
0 done, 1 (EXIT_FAILED) the step can't succeed as it is, 75 (EXIT_RETRY) the surroundings failed or it was told to stop.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from aifctl import digest as digests
from aifctl.contract import EXIT_FAILED, EXIT_RETRY, MESSAGE_LIMIT, Kind, Site, StepSpec, decode, step_digest
from aifctl.diagnostics import Diagnostic, Report
from aifctl.diagnostics.format import text
from aifctl.digest import SHORT
from aifctl.runtime import archives, turns
from aifctl.runtime.job import Events, Job, Stopped, forget_code, user_failure, user_frames
from aifctl.runtime.store import Fault, Published, Store

STEPS: Mapping[Kind, str] = {kind: f"aifctl.runtime.steps.{kind.value}" for kind in Kind}
"""Kind → module with `run(job) -> outputs`; imported on use, so that a gate needs no torch."""
EXTRAS = {"torch": "torch", "safetensors": "torch", "tensorflow": "tensorflow", "keras": "tensorflow"} | {
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript", "tf2onnx"), "onnx"),
    **dict.fromkeys(("numpy", "pandas", "pyarrow", "sklearn", "matplotlib", "fsspec"), "data"),
    "s3fs": "s3",
    "gcsfs": "gcs",
}
"""Module → the extra of aifctl that installs it."""
TEMPORARY = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.ENFILE, errno.EMFILE, errno.ENOMEM}
"""Errors that say nothing about the step itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What `--result` gets as JSON. `digest` is None where it was never learned."""

    digest: str | None
    skipped: bool = False
    seconds: float = 0.0
    outputs: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()

    def to_json(self) -> str:
        values = {name: getattr(self, name) for name in ("digest", "skipped", "seconds", "outputs")}
        findings = [_finding(each) for each in self.diagnostics]
        return json.dumps({**values, "diagnostics": findings}, indent=1, sort_keys=True, default=str)

    def brief(self, limit: int = MESSAGE_LIMIT) -> str:
        """JSON of at most `limit` bytes, which must hold the digest at least: no outputs, and findings as they fit."""
        values = {name: getattr(self, name) for name in ("digest", "skipped", "seconds")}
        told = [_finding(each) for each in self.diagnostics]
        for findings in _shorter(told):
            text = json.dumps({**values, "diagnostics": findings}, separators=(",", ":"))
            if len(text) <= limit:
                return text
        return json.dumps({"digest": self.digest})


def _finding(each: Diagnostic) -> dict[str, Any]:
    return {"code": each.code, "message": each.message, "hint": each.hint, "severity": each.severity,
            "notes": list(each.notes)}  # fmt: skip


def _shorter(findings: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The findings with less and less of what can be read in the log: notes, long texts, then the last ones."""
    yield findings
    for notes, length in ((5, 400), (1, 300), (0, 200)):
        yield [
            {
                **each,
                "message": each["message"][:length],
                "hint": each["hint"] and each["hint"][:length],
                "notes": [note[:length] for note in each["notes"][-notes:]] if notes else [],
            }
            for each in findings
        ]
    cut = [{"code": each["code"], "message": each["message"][:100], "severity": each["severity"]} for each in findings]
    for count in range(len(cut), -1, -1):
        yield cut[:count]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the step of these arguments and says how it went: as exit code, on stderr and in `--result`."""
    spec: StepSpec | None = None
    site: Site | None = None
    stop = threading.Event()
    try:
        spec, site = _parse(sys.argv[1:] if argv is None else argv)
        with _signals(stop, wait=spec.kind is Kind.TRAIN):
            result = execute(spec, site, stop=stop)
        if site.digest_file is not None:
            Path(site.digest_file).write_text(str(result.digest), encoding="ascii")
        code = 0
    except BaseException as error:
        # The boundary: whatever a step raises becomes an exit code.
        if isinstance(error, SystemExit) and error.code == 0:
            raise
        code, findings = explain(error, spec, site)
        result = Result(digest=None if spec is None else spec.digest, diagnostics=findings)
    _tell(result, spec, site, code)
    return code


def execute(
    spec: StepSpec,
    site: Site,
    *,
    stop: threading.Event | None = None,
    again: bool = False,
    store: Store | None = None,
) -> Result:
    """Runs the step in this process, or finds that it was published (with `again` it runs, and the result is dropped).

    `store` None opens that of the site.

    Raises Report for findings, Fault (a Report) for the surroundings, Stopped, and what user code raises as it is.
    """
    started = time.monotonic()
    store = Store(site.store) if store is None else store
    spec, material = _complete(spec, site, store)
    assert spec.digest is not None
    events = Events(spec.name, site.events)
    published = store.find(spec.digest)
    if published is not None and not again:
        _ = published.path  # a damaged result is said here, not by the step that reads it
        events.emit("skipped", digest=spec.digest)
        return Result(digest=spec.digest, skipped=True, outputs=published.outputs)
    archives.provide(spec.code, site, store)
    _check_code(spec, site)
    forget_code()
    inputs = _inputs(spec, store)
    work = _Work(spec, site, store, inputs, events, stop or threading.Event(), material)
    if again:
        outputs, warnings = _run(work, None, keep=False)
        return Result(digest=spec.digest, outputs=outputs, diagnostics=warnings)
    turn = _turn(work) if spec.kind is Kind.TRAIN else None
    if isinstance(turn, Published):
        events.emit("skipped", digest=spec.digest)
        return Result(digest=spec.digest, skipped=True, outputs=turn.outputs)
    with turn or nullcontext():
        outputs, warnings = _run(work, turn)
    seconds = round(time.monotonic() - started, 3)
    events.emit("finished", digest=spec.digest, seconds=seconds)
    return Result(digest=spec.digest, seconds=seconds, outputs=outputs, diagnostics=warnings)


@dataclass(frozen=True, slots=True)
class _Work:
    """A step that is to be run, with all it is given."""

    spec: StepSpec
    site: Site
    store: Store
    inputs: Mapping[str, Published]
    events: Events
    stop: threading.Event
    material: Any


def _turn(work: _Work) -> turns.Turn | Published:
    """The right to write checkpoints, or what another attempt has published while this one waited for it."""
    assert work.spec.digest is not None
    found = turns.take(
        turns.Request(
            store=work.store,
            digest=work.spec.digest,
            attempt=work.site.attempt,
            run=work.site.run,
            stop=work.stop,
            tell=lambda text: work.events.emit("note", text=text),
        )
    )
    if found is None:
        raise Stopped("told to stop while another attempt was at this step")
    return found


def _run(
    work: _Work, turn: turns.Turn | None, *, keep: bool = True
) -> tuple[Mapping[str, Any], tuple[Diagnostic, ...]]:
    """Outputs and warnings; what it made is published, or thrown away where it is not to be kept."""
    spec = work.spec
    assert spec.digest is not None
    run = importlib.import_module(STEPS[spec.kind]).run
    attempt = work.store.attempt(spec.digest, work.site.attempt)
    job = Job(
        spec=spec,
        site=work.site,
        store=work.store,
        inputs=work.inputs,
        attempt=attempt,
        events=work.events,
        stop=work.stop,
        turn=turn,
        material=work.material,
    )
    work.events.emit("started", digest=spec.digest)
    try:
        outputs = run(job)
        if keep:
            about = {"name": spec.name, "kind": spec.kind, "model": spec.model, "config": dict(spec.config)}
            outputs = attempt.publish(outputs, about).outputs
        else:
            attempt.discard()
    except BaseException:
        attempt.discard()
        raise
    return outputs, tuple(job.warnings)


def explain(error: BaseException, spec: StepSpec | None, site: Site | None) -> tuple[int, tuple[Diagnostic, ...]]:
    """Exit code and findings for whatever ended a step."""
    name = "the step" if spec is None else f"step `{spec.name}`"
    if isinstance(error, Fault):
        return EXIT_RETRY, error.diagnostics
    if isinstance(error, Report):
        return EXIT_FAILED, error.diagnostics
    if isinstance(error, Stopped | KeyboardInterrupt):
        return EXIT_RETRY, ()
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        top = error.name.partition(".")[0]
        if top in EXTRAS:
            hint = f"install `aifctl[{EXTRAS[top]}]`, or name an image that has it"
            return EXIT_FAILED, (Diagnostic("AIF808", f"{name} needs the package `{top}`", hint),)
    if isinstance(error, OSError) and _is_temporary(error):
        return EXIT_RETRY, (
            Diagnostic("AIF802", f"{name} failed: {error.strerror or error}", "free it, then run again"),
        )
    code = None if site is None or site.code is None else Path(site.code)
    if not user_frames(error, code):
        # Not the user's code: the whole story is what a report of this bug needs.
        traceback.print_exception(error)
    return EXIT_FAILED, (user_failure(error, code, name),)


def _complete(spec: StepSpec, site: Site, store: Store) -> tuple[StepSpec, Any]:
    """The step with its digest, chained on here where it depends on data that was not pinned."""
    spec, material = _with_known(spec, site), None
    inputs = dict(spec.inputs)
    if spec.kind is Kind.PREPARE:
        inputs, material = importlib.import_module(STEPS[Kind.PREPARE]).chain(spec, site, store)
    unknown = [name for name, value in (*inputs.items(), *spec.needs.items()) if value is None]
    if unknown:
        hint = "run it first; its digest is known when it has read its data"
        raise Report(
            Diagnostic("AIF801", f"the digest of `{unknown[0]}`, which `{spec.name}` reads, is not known", hint)
        )
    computed = step_digest(spec.kind, spec.own, inputs)
    if spec.digest is not None and spec.digest != computed:
        message = f"step `{spec.name}` says digest {spec.digest[:SHORT]}, its parts make {str(computed)[:SHORT]}"
        raise Report(Diagnostic("AIF800", message, "use the same version of aifctl to compile and to run"))
    return replace(spec, inputs=inputs, digest=computed), material


def _with_known(spec: StepSpec, site: Site) -> StepSpec:
    """The step with the digests that `--known` tells of inputs and needs whose own was unknown at compile time."""
    if not site.known:
        return spec
    known = dict(item.split("=", 1) for item in site.known.split(",") if "=" in item)
    bad = [name for name, value in known.items() if not re.fullmatch("[0-9a-f]{64}", value)]
    if bad:
        raise Report(Diagnostic("AIF800", f"--known has no digest for `{bad[0]}`", "write step=digest,…"))
    inputs, needs = (
        {name: known.get(name) if value is None else value for name, value in there.items()}
        for there in (spec.inputs, spec.needs)
    )
    return replace(spec, inputs=inputs, needs=needs)


def _check_code(spec: StepSpec, site: Site) -> None:
    if spec.code is None:
        return
    if site.code is None or not Path(site.code).is_dir():
        message = f"step `{spec.name}` needs code, and there is no folder `{site.code}`"
        raise Report(Diagnostic("AIF807", message, "give it with --code"))
    try:
        found = digests.of_tree(Path(site.code))
    except ValueError as error:
        raise Report(Diagnostic("AIF807", f"the code can't be hashed: {error}", "write a real file")) from error
    if found != spec.code:
        message = f"the code has digest {found[:SHORT]}, step `{spec.name}` was compiled for {spec.code[:SHORT]}"
        raise Report(Diagnostic("AIF807", message, "compile and run again; do not edit code while a run goes on"))


def _inputs(spec: StepSpec, store: Store) -> dict[str, Published]:
    found = {}
    for name, value in (*spec.inputs.items(), *spec.needs.items()):
        if name.startswith("data:"):
            continue
        published = store.find(str(value))
        if published is None:
            message = f"step `{name}` ({str(value)[:SHORT]}), which `{spec.name}` reads, is not in the store"
            raise Report(Diagnostic("AIF801", message, f"run it first; the store is {store.uri}"))
        found[name] = published
    return found


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Report(Diagnostic("AIF800", f"the arguments can't be read: {message}"))


def _parse(argv: Sequence[str]) -> tuple[StepSpec, Site]:
    parser = _Parser(prog="python -m aifctl.runtime.entry", description="Runs one step of a run.", allow_abbrev=False)
    parser.add_argument("--step", required=True, help="the step as JSON, or @file")
    for part in fields(Site):
        parser.add_argument(f"--{part.name}", required=part.name in ("store", "run"))
    values = vars(parser.parse_args(list(argv)))
    step = values.pop("step")
    try:
        spec = decode(Path(step[1:]).read_text(encoding="utf-8") if step.startswith("@") else step)
    except (ValueError, OSError) as error:
        raise Report(Diagnostic("AIF800", f"--step can't be read: {error}")) from error
    return spec, Site(**{name: value for name, value in values.items() if value is not None})


@contextmanager
def _signals(stop: threading.Event, *, wait: bool) -> Iterator[None]:
    """SIGTERM and SIGINT end the step: at once by Stopped, or with `wait` by `stop`, and at once the second time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if not wait or stop.is_set():
            raise Stopped(signal.Signals(number).name)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_temporary(error: OSError) -> bool:
    return isinstance(error, ConnectionError | TimeoutError) or error.errno in TEMPORARY


def _tell(result: Result, spec: StepSpec | None, site: Site | None, code: int) -> None:
    if result.diagnostics:
        print(text(result.diagnostics, {}), file=sys.stderr)
    if site is None:
        return
    if code and spec is not None:
        Events(spec.name, site.events).emit("stopped" if code == EXIT_RETRY else "failed", exit=code)
    if site.result is not None:
        _write_file(Path(site.result), result.to_json())
    if site.message is not None:
        _write_message(Path(site.message), result.brief())


def _write_file(path: Path, content: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        # The exit code says how it went; a full disk must not turn a finished step into a failed one.
        print(f"can't write {path}: {error.strerror}", file=sys.stderr)


def _write_message(path: Path, content: str) -> None:
    """In place: the kubelet has mounted this very file."""
    try:
        path.write_text(content, encoding="ascii")
    except OSError as error:
        print(f"can't write {path}: {error.strerror}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
