"""Metrics by name: known, of the task's kind, computed where a gate looks at them, with bounds a value can meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aifctl.checks.subject import Subject, listed
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.diagnostics.model import KeyPath
from aifctl.spec.models.serving import Bound
from aifctl.spec.schema import did_you_mean


@dataclass(frozen=True, slots=True)
class Metric:
    """`of` is class or value, `goal` maximize or minimize, both as the runtime computes it; (least, most) it can be."""

    of: str
    goal: str
    least: float = float("-inf")
    most: float = float("inf")


METRICS = {
    **{name: Metric("class", "maximize", 0, 1) for name in ("accuracy", "f1_macro", "precision_macro", "recall_macro")},
    "log_loss": Metric("class", "minimize", 0),
    "roc_auc": Metric("class", "maximize", 0, 1),
    "mse": Metric("value", "minimize", 0),
    "rmse": Metric("value", "minimize", 0),
    "mae": Metric("value", "minimize", 0),
    "r2": Metric("value", "maximize", most=1),
}
OF_TASK = {"classification": "class", "sequence-classification": "class", "regression": "value"}
DEFAULTS = {"classification": ("accuracy", "f1_macro", "log_loss"), "regression": ("rmse", "mae", "r2")}
"""What is measured where the spec does not say; as lowering has it."""
LOGGED = ("train_loss", "val_loss", "val_accuracy")
"""What training logs by itself; an own loop or program logs what it likes."""


def check(subject: Subject) -> Iterator[Diagnostic]:
    evaluation = subject.spec.evaluation
    for index, name in enumerate(evaluation.metrics or ()):
        yield from _known(subject, name, ("evaluation", "metrics", index), on_key=False)
    for name, bound in evaluation.gate.items():
        yield from _gate(subject, name, bound)
    yield from _objective(subject)
    yield from _best_checkpoint(subject)
    yield from _gate_demanded(subject)


def of_task(task: str) -> list[str]:
    """Names of the metrics that fit a task; all where the task does not say."""
    return [name for name, metric in METRICS.items() if OF_TASK.get(task, metric.of) == metric.of]


def _known(subject: Subject, name: str, path: KeyPath, on_key: bool) -> Iterator[Diagnostic]:
    task, where = subject.spec.task, subject.at(*path, on_key=on_key)
    fitting = of_task(task)
    if name not in METRICS:
        yield Diagnostic("AIF330", f"unknown metric `{name}`", did_you_mean(name, fitting), where)
    elif name not in fitting:
        kind = "classes" if METRICS[name].of == "class" else "numbers"
        message = f"`{name}` measures predicted {kind}; it is no metric of `task: {task}`"
        yield Diagnostic("AIF331", message, f"metrics here are {listed(fitting)}", where)


def _gate(subject: Subject, name: str, bound: Bound) -> Iterator[Diagnostic]:
    findings = list(_known(subject, name, ("evaluation", "gate", name), on_key=True))
    yield from findings
    if findings:
        return
    given = subject.spec.evaluation.metrics
    computed = given if given is not None else DEFAULTS.get(subject.spec.task, ())
    if name not in computed:
        hint = f"add it to `metrics`: `[{', '.join([*computed, name])}]`"
        where = subject.at("evaluation", "gate", name, on_key=True)
        yield Diagnostic("AIF332", f"the gate looks at `{name}`, which is not computed", hint, where)
    yield from _bounds(subject, name, bound)


def _bounds(subject: Subject, name: str, bound: Bound) -> Iterator[Diagnostic]:
    where, metric = subject.at("evaluation", "gate", name), METRICS[name]
    least, most = bound.min, bound.max
    if least is None and most is None:
        hint = f"write `{name}: {{{'min' if metric.goal == 'maximize' else 'max'}: …}}`"
        yield Diagnostic("AIF333", f"the gate of `{name}` has no bound, so it lets everything pass", hint, where)
    elif least is not None and most is not None and least > most:
        hint = "swap them, or drop one"
        yield Diagnostic("AIF333", f"no value is at least {least:g} and at most {most:g}", hint, where)
    elif (least is not None and least > metric.most) or (most is not None and most < metric.least):
        limits = f"at least {metric.least:g}" if metric.most == float("inf") else f"at most {metric.most:g}"
        hint = "write shares, not per cent: 0.95 for 95 %" if metric.most == 1 else "give a bound that can be met"
        message = f"no model passes this gate: `{name}` is {limits}"
        side = "min" if least is not None and least > metric.most else "max"
        yield Diagnostic("AIF333", message, hint, subject.at("evaluation", "gate", name, side))


def _objective(subject: Subject) -> Iterator[Diagnostic]:
    tuning = subject.spec.tuning
    if tuning is None:
        return
    name, goal = tuning.objective.metric, tuning.objective.goal
    yield from _known(subject, name, ("tuning", "objective", "metric"), on_key=False)
    if name in METRICS and METRICS[name].goal != goal:
        yield _against(name, goal, METRICS[name].goal, subject, ("tuning", "objective", "goal"))


def _best_checkpoint(subject: Subject) -> Iterator[Diagnostic]:
    training = subject.spec.training
    select, path = training.checkpoint.select, ("training", "checkpoint", "select")
    if select is None:
        return
    own = training.loop is not None or training.framework == "custom"
    if not own and select.best not in LOGGED:
        hint = did_you_mean(select.best, LOGGED, "training logs")
        yield Diagnostic("AIF330", f"training logs no metric `{select.best}`", hint, subject.at(*path, "best"))
    own_goal = "minimize" if select.best.endswith("loss") else "maximize"
    if select.best in LOGGED and select.goal is not None and select.goal != own_goal:
        yield _against(select.best, select.goal, own_goal, subject, (*path, "goal"))


def _against(name: str, goal: str, usual: str, subject: Subject, path: KeyPath) -> Diagnostic:
    message = f"`goal: {goal}` looks for the worst `{name}`"
    return Diagnostic("AIF335", message, f"use `goal: {usual}`", subject.at(*path), severity=Severity.WARNING)


def _gate_demanded(subject: Subject) -> Iterator[Diagnostic]:
    level = subject.policy("gate-required")
    if level is not None and subject.trains and not subject.spec.evaluation.gate:
        names = of_task(subject.spec.task)
        bound = "min" if METRICS[names[0]].goal == "maximize" else "max"
        hint = f"add one: `evaluation: {{gate: {{{names[0]}: {{{bound}: …}}}}}}`"
        where = subject.at("evaluation", on_key=True)
        yield Diagnostic("AIF334", "the platform demands a gate, this model has none", hint, where, severity=level)
