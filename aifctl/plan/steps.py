"""What the ML steps of a run do under a plan: which run again and why, which are kept.

Read from the annotation `aif.dev/identity` of the old and the new run (a Workflow, a Job …): a JSON object {step:
{"digest": 64 hex digits, or null below data that is not pinned, "parts": {field path: short hash}}}, where a step's
own identity is made of the parts. What a step reads is in "inputs" ({step or `data:` name: digest}) if it is there,
else in the `--step=` argument of a container. A step runs again if and only if its digest moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Any

from aifctl.contract import Kind
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.digest import SHORT
from aifctl.manifest import Manifest
from aifctl.plan.change import Op
from aifctl.plan.diff import environment_of, is_run, model_of
from aifctl.plan.quoting import bare, printable

IDENTITY = "aif.dev/identity"
DATA = "data:"
ARGUMENT = "--step="
SCHEDULED = frozenset({("argoproj.io", "CronWorkflow"), ("batch", "CronJob")})
"""(group, kind) of objects that start a run again and again."""
NAMED = 3
"""Fields and inputs that a reason names before it counts the rest."""


class Status(StrEnum):
    AGAIN = "runs again"
    KEPT = "kept"
    NEW = "new"
    GONE = "gone"
    UNKNOWN = "unknown"
    """Below data that is not pinned, or the run before does not tell."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a step's own identity that moved: a field's path, or a file of the code."""

    path: str
    op: Op


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChange:
    name: str
    kind: str
    """A `contract.Kind`, or empty where the run does not say it."""
    status: Status
    digest: str | None
    """In the new run; of a step that is gone, in the old one."""
    parts: tuple[Part, ...] = ()
    inputs: tuple[str, ...] = ()
    """What it reads that moved or may move: names of steps, or `data:` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChange:
    """The steps of one model's run, in an order in which each comes after what it reads."""

    environment: str
    model: str
    run: str
    """Name of the new object; empty if the model has none any more."""
    before: str
    """Name of the old one; empty if this is the model's first."""
    steps: tuple[StepChange, ...]

    def named(self, *statuses: Status) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps if step.status in statuses)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the steps that surely run."""
        return self.named(Status.AGAIN, Status.NEW)

    @property
    def trains(self) -> bool:
        """Whether a training step surely runs."""
        return any(step.kind == Kind.TRAIN and step.name in self.runs for step in self.steps)

    @property
    def moves(self) -> bool:
        """Whether any step is other than kept."""
        return any(step.status is not Status.KEPT for step in self.steps)


@dataclass(frozen=True, slots=True)
class StepPlan:
    runs: tuple[RunChange, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    """Warnings (AIF605) about runs whose identity could not be read."""


def plan_steps(before: Iterable[Manifest], after: Iterable[Manifest], environment: str = "") -> StepPlan:
    """The steps of every model that has a run on either side, ordered by environment and model."""
    found: list[Diagnostic] = []
    old = _by_model(before, environment, found)
    new = _by_model(after, environment, found)
    runs = [_run(key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())]
    return StepPlan(tuple(runs), tuple(found))


def plan_steps_of_environments(
    before: Mapping[str, Iterable[Manifest]], after: Mapping[str, Iterable[Manifest]]
) -> StepPlan:
    """`plan_steps` of each environment, by its name."""
    plans = [plan_steps(before.get(name, ()), after.get(name, ()), name) for name in sorted({*before, *after})]
    return StepPlan(
        tuple(run for plan in plans for run in plan.runs),
        tuple(diagnostic for plan in plans for diagnostic in plan.diagnostics),
    )


def why(step: StepChange) -> str:
    """One line: `runs again: training.epochs changed`, `kept (3f9a1c20b7)`."""
    if step.status is Status.KEPT:
        return f"kept ({step.digest[:SHORT]})" if step.digest else "kept"
    if step.status is Status.UNKNOWN:
        return _unknown(step)
    reasons = [reason for reason in (_moved_parts(step.parts), _moved_inputs(step.inputs)) if reason]
    if step.status is Status.AGAIN and not reasons:
        reasons = ["its identity is computed anew"]
    return f"{step.status}: {'; '.join(reasons)}" if reasons else str(step.status)


@dataclass(frozen=True, slots=True)
class _Step:
    digest: str | None
    parts: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    """What it waits for: this moves no digest, and is here for the order alone."""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class _Run:
    name: str
    steps: Mapping[str, _Step] | None
    """None if the identity can't be read."""


def _by_model(manifests: Iterable[Manifest], environment: str, found: list[Diagnostic]) -> dict[tuple[str, str], _Run]:
    """Each model's run; the one that goes at once if it has a scheduled one too, the last by name of several."""
    runs: dict[tuple[str, str], tuple[tuple[bool, str], Manifest]] = {}
    for manifest in manifests:
        if not (is_run(manifest) or _is_scheduled(manifest)):
            continue
        key = (environment_of(manifest, environment), model_of(manifest) or manifest.name)
        rank = (is_run(manifest), manifest.name)
        if key not in runs or runs[key][0] < rank:
            runs[key] = (rank, manifest)
    return {key: _read(manifest, found) for key, (_, manifest) in runs.items()}


def _is_scheduled(manifest: Manifest) -> bool:
    return (manifest.group, manifest.kind) in SCHEDULED


def _read(manifest: Manifest, found: list[Diagnostic]) -> _Run:
    try:
        identity = json.loads(manifest.annotations[IDENTITY])
        specs = _specs(manifest.object, set(identity))
        steps = {name: _step(entry, specs.get(name, {})) for name, entry in identity.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = "it has none" if isinstance(error, KeyError) else "it does not have the form that aifctl writes"
        message = f"can't read the identity of {printable(str(manifest.identity))}: {reason}"
        found.append(Diagnostic("AIF605", message, "write it again with `aifctl render`", severity=Severity.WARNING))
        return _Run(manifest.name, None)
    return _Run(manifest.name, steps)


def _step(entry: Any, spec: Mapping[str, Any]) -> _Step:
    """Raises AttributeError or TypeError for what is no entry of the annotation."""
    digest, parts = entry.get("digest"), entry.get("parts") or {}
    if not isinstance(digest, str | None) or not isinstance(parts, Mapping):
        raise TypeError("not a step's identity")
    inputs = entry.get("inputs", spec.get("inputs")) or {}
    hashes = {str(path): str(value) for path, value in parts.items()}
    return _Step(digest, hashes, dict(inputs), frozenset(spec.get("needs") or ()), str(spec.get("kind", "")))


def _specs(found: Mapping[str, Any], names: set[str]) -> dict[str, Mapping[str, Any]]:
    """The steps' arguments in a run's object, by the step's name; those of another contract version are read too."""
    specs: dict[str, Mapping[str, Any]] = {}
    for text in _arguments(found.get("spec")):
        try:
            spec = json.loads(text.removeprefix(ARGUMENT))
        except ValueError:
            continue
        if isinstance(spec, Mapping) and spec.get("name") in names and isinstance(spec.get("inputs"), Mapping):
            specs[str(spec["name"])] = spec
    return specs


def _arguments(value: Any) -> Iterator[str]:
    """Without recursion: a fleet's runs are walked in every plan."""
    left = [value]
    while left:
        item = left.pop()
        for inside in item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ():
            if type(inside) is not str:
                left.append(inside)
            elif inside.startswith(ARGUMENT):
                yield inside


def _run(key: tuple[str, str], old: _Run | None, new: _Run | None) -> RunChange:
    return RunChange(
        environment=key[0],
        model=key[1],
        run=new.name if new else "",
        before=old.name if old else "",
        steps=tuple(_step_changes(old.steps if old else {}, new.steps if new else {})),
    )


def _step_changes(old: Mapping[str, _Step] | None, new: Mapping[str, _Step] | None) -> Iterator[StepChange]:
    if new is None:
        return
    moved: dict[str, Status] = {}
    for name in _in_order(new):
        change = _step_change(name, None if old is None else old.get(name), new[name], moved, known=old is not None)
        moved[name] = change.status
        yield change
    for name in _in_order(old or {}):
        if name not in new:
            step = (old or {})[name]
            yield StepChange(name=name, kind=_kind(name, step), status=Status.GONE, digest=step.digest)


def _step_change(name: str, old: _Step | None, new: _Step, moved: Mapping[str, Status], *, known: bool) -> StepChange:
    kind = _kind(name, new)
    if old is None:
        return StepChange(name=name, kind=kind, status=Status.NEW if known else Status.UNKNOWN, digest=new.digest)
    parts = tuple(_parts(old.parts, new.parts))
    inputs = tuple(_moved(old.inputs, new.inputs, moved))
    surely = bool(parts) or any(moved.get(name) in (Status.AGAIN, Status.NEW) for name in inputs)
    if new.digest is not None and new.digest == old.digest:
        return StepChange(name=name, kind=kind, status=Status.KEPT, digest=new.digest)
    unknown = (new.digest is None or old.digest is None) and not surely
    status = Status.UNKNOWN if unknown else Status.AGAIN
    return StepChange(name=name, kind=kind, status=status, digest=new.digest, parts=parts, inputs=inputs)


def _kind(name: str, step: _Step) -> str:
    return step.kind or (name if name in Kind._value2member_map_ else "")


def _parts(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Part]:
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            yield Part(path, Op.REMOVE)
        elif path not in old:
            yield Part(path, Op.ADD)
        elif old[path] != new[path]:
            yield Part(path, Op.CHANGE)


def _moved(old: Mapping[str, str | None], new: Mapping[str, str | None], moved: Mapping[str, Status]) -> Iterator[str]:
    """Inputs whose digest is another one or not known, or that are new or gone."""
    for name in sorted(old.keys() | new.keys()):
        if name in moved:
            differs = moved[name] is not Status.KEPT
        else:
            differs = new.get(name) is None or old.get(name) != new[name]
        if differs or name not in old or name not in new:
            yield name


def _in_order(steps: Mapping[str, _Step]) -> list[str]:
    """Names, each after what it reads or waits for, else in the order of the alphabet."""
    graph: TopologicalSorter[str] = TopologicalSorter()
    for name, step in sorted(steps.items()):
        graph.add(name, *(source for source in sorted({*step.inputs, *step.needs}) if source in steps))
    try:
        return list(graph.static_order())
    except CycleError:
        return sorted(steps)


def _unknown(step: StepChange) -> str:
    if step.digest is not None and not step.inputs:
        return "unknown: the run before does not say what it was made of"
    data = [name.removeprefix(DATA) for name in step.inputs if name.startswith(DATA)]
    return f"unknown until data is read: {_some(data)} is not pinned" if data else "unknown until data is read"


def _moved_parts(parts: tuple[Part, ...]) -> str:
    """`a, b changed; c added`, the first few by name."""
    verbs = {Op.CHANGE: "changed", Op.ADD: "added", Op.REMOVE: "removed"}
    texts = []
    for op, verb in verbs.items():
        if paths := [part.path for part in parts if part.op is op]:
            texts.append(f"{_some(paths)} {verb}")
    return "; ".join(texts)


def _moved_inputs(inputs: tuple[str, ...]) -> str:
    data = [name.removeprefix(DATA) for name in inputs if name.startswith(DATA)]
    steps = [name for name in inputs if not name.startswith(DATA)]
    texts = []
    if data:
        texts.append(f"its data {_some(data)} moved")
    if steps:
        texts.append(f"its input{'s' if len(steps) > 1 else ''} {_some(steps)} moved")
    return "; ".join(texts)


def _some(names: list[str]) -> str:
    shown = ", ".join(bare(name) for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
