"""Nothing that moves is in an identity: what the lock file must hold, and where it no longer fits what is there."""

from __future__ import annotations

from collections.abc import Iterator

from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic, Severity, Where
from aifctl.spec.facts import HASHED_IN_PLACE
from aifctl.spec.load import lock_path
from aifctl.spec.models.dataset import Dataset
from aifctl.spec.models.lock import LockedDataset

MOVING = frozenset({"uri", "table", "sql"})
"""Kinds of sources whose content changes behind its name; a `call` is pinned by its code, a `step` by its digest."""


def check(subject: Subject) -> Iterator[Diagnostic]:
    for index, dataset in enumerate(subject.spec.datasets):
        yield from _own_pin(subject, index, dataset)
        locked = _locked(subject, dataset)
        if locked is not None:
            yield from _stale(subject, index, dataset, locked)
        elif subject.trains_on_cluster and dataset.pinned and not _pinned_by_hand(dataset):
            yield from _unlocked(subject, index, dataset)
    yield from _base_model(subject)
    yield from _requirements(subject)
    yield from _left_over(subject)
    yield from _schedule(subject)


def _pinned_by_hand(dataset: Dataset) -> bool:
    source = dataset.source
    return source.sha256 is not None or source.version is not None or source.snapshot is not None


def _locked(subject: Subject, dataset: Dataset) -> LockedDataset | None:
    return subject.unit.lock.datasets.get(dataset.name) if subject.unit.lock is not None else None


def _at_lock(subject: Subject, *path: str) -> Where:
    """A place in the lock file, by the name that the spec's own file goes by."""
    document = subject.unit.document
    folder, slash, _ = document.file.rpartition("/")
    return Where(f"{folder}{slash}{lock_path(document, subject.unit.name).name}", path, "key")


def _own_pin(subject: Subject, index: int, dataset: Dataset) -> Iterator[Diagnostic]:
    fact, pin = subject.unit.facts.data.get(dataset.name), dataset.source.sha256
    if fact is not None and fact.sha256 is not None and pin is not None and pin != fact.sha256:
        message = f"`{dataset.source.value}` is not what is pinned here: its SHA-256 is {fact.sha256}"
        hint = "restore the file, or pin what is there now"
        yield Diagnostic("AIF364", message, hint, subject.at("datasets", index, "source", "sha256"))


def _unlocked(subject: Subject, index: int, dataset: Dataset) -> Iterator[Diagnostic]:
    source, fact = dataset.source, subject.unit.facts.data.get(dataset.name)
    where = subject.at("datasets", index, "source", source.kind)
    if source.kind in MOVING:
        message = f"what `{source.value}` holds can change, and nothing pins it"
        hint = "run `aifctl lock`; or say `pinned: false` where every run is to read what is there then"
        yield Diagnostic("AIF360", message, hint, where)
    elif fact is not None and fact.problem is None and fact.sha256 is None:
        size, most = f"{fact.size / 1024**2:.0f} MiB", f"{HASHED_IN_PLACE // 1024**2} MiB"
        message = f"`{source.value}` has {size}; compiling hashes at most {most}"
        yield Diagnostic("AIF362", message, "run `aifctl lock`, which hashes it once", where)


def _stale(subject: Subject, index: int, dataset: Dataset, locked: LockedDataset) -> Iterator[Diagnostic]:
    source, fact = dataset.source, subject.unit.facts.data.get(dataset.name)
    where = subject.at("datasets", index, "source", source.kind)
    named = f"{source.kind}:{source.value}"
    if not dataset.pinned or _pinned_by_hand(dataset):
        reason = "pinned in the spec" if dataset.pinned else "not pinned"
        yield _unused(subject, dataset.name, f"the dataset is {reason}")
    elif locked.source != named:
        message = f"the lock knows `{dataset.name}` as `{locked.source}`, not as `{named}`"
        yield Diagnostic("AIF361", message, "run `aifctl lock`", where)
    elif fact is not None and locked.sha256 is not None and fact.sha256 not in (None, locked.sha256):
        message = f"`{source.value}` has changed since it was locked"
        yield Diagnostic("AIF361", message, "run `aifctl lock --update` to train on it as it is now", where)


def _base_model(subject: Subject) -> Iterator[Diagnostic]:
    start = subject.spec.training.start_from
    if start is not None and start.hf is not None and start.revision is None:
        message = f"`{start.hf}` can change behind its name, and nothing pins it"
        hint = "add its commit: `revision: …`, 40 hex digits"
        yield Diagnostic("AIF360", message, hint, subject.at("training", "start_from", "hf"))


def _requirements(subject: Subject) -> Iterator[Diagnostic]:
    lock, fact = subject.unit.lock, subject.unit.facts.requirements
    if lock is None or lock.requirements is None or fact is None or fact.sha256 is None:
        return
    if lock.requirements.source != fact.sha256:
        code = subject.spec.code
        message = f"`{code.requirements if code is not None else ''}` has changed since it was locked"
        yield Diagnostic("AIF361", message, "run `aifctl lock`", subject.at("code", "requirements"))


def _left_over(subject: Subject) -> Iterator[Diagnostic]:
    lock = subject.unit.lock
    names = {dataset.name for dataset in subject.spec.datasets}
    for name in lock.datasets if lock is not None else ():
        if name not in names:
            yield _unused(subject, name, "the spec has no such dataset")


def _unused(subject: Subject, name: str, reason: str) -> Diagnostic:
    message = f"nothing reads the lock of `{name}`: {reason}"
    where = _at_lock(subject, "datasets", name)
    return Diagnostic("AIF365", message, "run `aifctl lock` to drop it", where, severity=Severity.WARNING)


def _schedule(subject: Subject) -> Iterator[Diagnostic]:
    if subject.spec.schedule is not None and all(dataset.pinned for dataset in subject.spec.datasets):
        message = "every run of this schedule would be the same: all its data is pinned"
        hint = "say `pinned: false` at the dataset that is meant to change, or drop the schedule"
        yield Diagnostic("AIF363", message, hint, subject.at("schedule", "cron"))
