"""The plan in one line, and its grouping by environment and model: the same words in every view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aifctl.plan.change import Action, Change, ChangeSet
from aifctl.plan.quoting import printable
from aifctl.plan.steps import RunChange, Status

VERBS = {
    Action.CREATE: "to create",
    Action.CHANGE: "to change",
    Action.REPLACE: "to replace",
    Action.DELETE: "to delete",
}
OPTIONAL = frozenset({Action.REPLACE})
"""Actions that are left out of the line when there are none."""
NAMED = 3


@dataclass(frozen=True, slots=True)
class Group:
    """What a plan holds for one model in one environment."""

    environment: str
    model: str
    changes: tuple[Change, ...]
    run: RunChange | None

    @property
    def title(self) -> str:
        return printable(self.model) or "(no model)"


def groups(changes: ChangeSet, runs: Iterable[RunChange]) -> list[Group]:
    """Groups with something to tell, by environment and model; runs only beside changes or moved steps."""
    by_key = {(run.environment, run.model): run for run in runs}
    notable: dict[tuple[str, str], list[Change]] = {}
    for change in changes.notable:
        notable.setdefault((change.environment, change.model), []).append(change)
    keys = sorted({*notable, *(key for key, run in by_key.items() if run.moves)})
    return [Group(*key, tuple(notable.get(key, ())), by_key.get(key)) for key in keys]


def summary(changes: ChangeSet, runs: Sequence[RunChange]) -> str:
    """`plan: 2 to create, 1 to change, 0 to delete; 1 model re-trains (train, export-onnx, …)`."""
    counts = changes.counts
    parts = [f"{counts[action]} {verb}" for action, verb in VERBS.items() if counts[action] or action not in OPTIONAL]
    head = ", ".join(parts) if changes.effective else f"no changes ({counted(len(changes), 'object')} compared)"
    return "; ".join([f"plan: {head}", *work(runs)])


def work(runs: Sequence[RunChange]) -> list[str]:
    """What the runs do, a clause for each sort of work."""
    first = [run for run in runs if run.run and not run.before and run.steps]
    later = [run for run in runs if run.run and run.before]
    again = [run for run in later if run.trains]
    partly = [run for run in later if run.runs and not run.trains]
    maybe = [run for run in later if not run.runs and run.named(Status.UNKNOWN)]
    clauses = (
        (first, "trains for the first time", "train for the first time"),
        (again, "re-trains", "re-train"),
        (partly, "runs steps again without training", "run steps again without training"),
        (maybe, "may run again, as its data is not pinned", "may run again, as their data is not pinned"),
    )
    return [
        f"{counted(len(found), 'model')} {one if len(found) == 1 else many} ({_named(found)})"
        for found, one, many in clauses
        if found
    ]


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _named(runs: Sequence[RunChange]) -> str:
    """The steps of one model, the names of several."""
    alone = runs[0].runs or runs[0].named(Status.UNKNOWN)
    names = alone if len(runs) == 1 and runs[0].before else tuple(dict.fromkeys(run.model for run in runs))
    return ", ".join([*map(printable, names[:NAMED]), *(["…"] if len(names) > NAMED else [])])
