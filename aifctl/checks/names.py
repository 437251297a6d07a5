"""Names: none that the tenant's own objects have, none twice where a list goes by names, none that a step of aifctl's
own has, no variable set twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic

STEPS = frozenset({"prepare", "train", "evaluate", "gate", "register", "custom", "export", "verify", "serve", "data"})
"""Steps of every run and kinds of steps, which `env` and `secrets` name; `data` begins the key of a pin."""
STEP_PREFIXES = ("prepare-", "export-", "verify-")
OWN = "aifctl-"
"""Begins the names of a tenant's own objects."""
VARIABLE_PREFIXES = ("AIF_", "MLFLOW_RUN_ID")
"""Environment variables that a step gets from aifctl."""


def check(subject: Subject) -> Iterator[Diagnostic]:
    yield from _reserved_models(subject)
    yield from _twice(subject, "datasets", [dataset.name for dataset in subject.spec.datasets])
    yield from _twice(subject, "steps", [step.name for step in subject.spec.steps])
    yield from _twice(subject, "export", [export.name for export in subject.spec.export])
    yield from _reserved_steps(subject)
    yield from _variables(subject)


def _reserved_models(subject: Subject) -> Iterator[Diagnostic]:
    """A model's objects go by its name (those of its runs by `<name>-run`), and share a namespace with its tenant's."""
    name, environment = subject.unit.name, subject.environment
    is_taken = name.startswith(OWN) or environment.apply.account in (name, f"{name}-run")
    if is_taken and not environment.local:
        message = f"objects of the tenant's namespace go by the name `{name}`"
        hint = f"choose a name that does not begin with `{OWN}`, nor is that of `apply.account`"
        yield Diagnostic("AIF312", message, hint, subject.unit.at("metadata", "name"))


def _twice(subject: Subject, section: str, names: Iterable[str]) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            where = subject.at(section, index, "name")
            yield Diagnostic("AIF311", f"the name `{name}` stands twice in `{section}`", "rename one of them", where)
        seen.add(name)


def _reserved_steps(subject: Subject) -> Iterator[Diagnostic]:
    for index, step in enumerate(subject.spec.steps):
        if step.name in STEPS or step.name.startswith(STEP_PREFIXES):
            where = subject.at("steps", index, "name")
            hint = f"rename it, for example to `own-{step.name}`"
            yield Diagnostic("AIF312", f"a step of aifctl's own is called `{step.name}`", hint, where)


def _variables(subject: Subject) -> Iterator[Diagnostic]:
    spec = subject.spec
    plain = [(name, subject.at("env", name, on_key=True)) for name in spec.env]
    secret = [(each.env, subject.at("secrets", index, "env")) for index, each in enumerate(spec.secrets)]
    for name, where in [*plain, *secret]:
        if name.startswith(VARIABLE_PREFIXES):
            yield Diagnostic("AIF312", f"aifctl sets the variable `{name}` itself", "choose another name", where)
    for index, each in enumerate(spec.secrets):
        same = [other for other in spec.secrets[:index] if other.env == each.env and _meet(other.steps, each.steps)]
        if same or (each.env in spec.env and _meet(spec.env[each.env].steps, each.steps)):
            where = subject.at("secrets", index, "env")
            hint = "keep one of them, or give them different `steps`"
            yield Diagnostic("AIF311", f"the variable `{each.env}` is set twice", hint, where)


def _meet(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> bool:
    """Whether a step gets both; None means every step."""
    return one is None or other is None or bool(set(one) & set(other))
