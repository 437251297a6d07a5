"""What is released against what the spec wants to serve: the release's facts decide."""

from __future__ import annotations

from collections.abc import Iterator

from aifctl.checks.compatibility import READS
from aifctl.checks.subject import Subject, listed
from aifctl.diagnostics import Diagnostic
from aifctl.spec.models.release import ReleaseEntry

LAPTOP = "local-"
"""How names of runs on a laptop begin."""


def check(subject: Subject) -> Iterator[Diagnostic]:
    release = subject.unit.release
    if release is None or not subject.serves:
        return
    for role in ("stable", "candidate"):
        entry: ReleaseEntry | None = getattr(release, role)
        if entry is not None:
            yield from _entry(subject, entry)


def _entry(subject: Subject, entry: ReleaseEntry) -> Iterator[Diagnostic]:
    environment, serving = subject.environment, subject.spec.serving
    if entry.run.startswith(LAPTOP) and not environment.local:
        message = f"`{environment.name}` would serve `{entry.run}`, a run made on a laptop"
        hint = "release a run of a training environment; laptop runs are for `local`"
        yield Diagnostic("AIF346", message, hint, subject.unit.at("metadata", "name"))
    if serving is None:
        return
    released = entry.exports.get(serving.export)
    if released is None:
        message = f"the released run `{entry.run}` has no export `{serving.export}`"
        hint = f"it has {listed(entry.exports)}; release a run that has it"
        yield Diagnostic("AIF345", message, hint, subject.at("serving", "export"))
    elif released.format not in READS[serving.runtime]:
        message = f"`{serving.runtime}` can't read the released export `{serving.export}`, which is `{released.format}`"
        hint = f"it reads {listed(READS[serving.runtime])}"
        yield Diagnostic("AIF341", message, hint, subject.at("serving", "export"))
