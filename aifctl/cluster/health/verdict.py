"""One object's verdict: what holds for every kind, then its own rule from the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from typing import Any

from aifctl.cluster.health import kinds, reading
from aifctl.cluster.health.kinds import Kind
from aifctl.cluster.health.model import Health, State
from aifctl.cluster.health.reading import Seen

LONGEST_WAIT = 86400.0
"""Seconds: what an object asks for is not believed beyond a day."""


def assess(found: Mapping[str, Any] | None, now: datetime | None = None) -> Health:
    """The health of a live object; None is one that is not there.

    `now` adds ages to messages and lets young objects of unknown kinds wait for their controller. Never raises.
    """
    if found is None:
        return Health(state=State.MISSING, phase="Missing", message="not in the cluster")
    found = reading.mapping(found)
    if not reading.group_kind(found)[1]:
        return Health(state=State.PENDING, phase="Unreadable", message="it can't be judged: no kind is written in it")
    seen = reading.open_object(found, now)
    health = _verdict(seen, kinds.of(*reading.group_kind(found)))
    return replace(health, phase=reading.word(health.phase), message=reading.one_line(health.message))


def settled(found: Mapping[str, Any] | None, health: Health) -> bool:
    """Whether a wait for this object is over, and well. What has failed never settles.

    A run is settled when it was accepted: something has looked at it, and it runs, waits in a queue or has succeeded.
    """
    if health.state in (State.HEALTHY, State.SUSPENDED):
        return True
    run = is_run(*reading.group_kind(reading.mapping(found)))
    return run and health.state in (State.PROGRESSING, State.QUEUED)


def is_run(group: str, kind: str) -> bool:
    """Whether objects of this kind run to an end."""
    return kinds.of(group, kind).run


def ended(found: Mapping[str, Any] | None) -> bool:
    """Whether a run has ended, well or badly. An object that is not there has not."""
    found = reading.mapping(found)
    kind = kinds.of(*reading.group_kind(found))
    return kind.run and bool(_function(kind.ended)(reading.open_object(found)))


def timeout(group: str, kind: str) -> float:
    """Seconds that an object of this kind may take to settle."""
    return kinds.of(group, kind).seconds


def timeout_of(found: Mapping[str, Any]) -> float:
    """As `timeout`, with the time that the object itself asks for: its progress deadline, its canary's pauses."""
    found = reading.mapping(found)
    kind = kinds.of(*reading.group_kind(found))
    asked = _function(kind.asks)(reading.open_object(found)) if kind.asks else 0.0
    return max(kind.seconds, min(float(asked), LONGEST_WAIT))


def grace(group: str, kind: str) -> float:
    """Seconds that FAILED should last before a wait gives up: kinds that look for others fail while those come."""
    return kinds.of(group, kind).grace


def _verdict(seen: Seen, kind: Kind) -> Health:
    if seen.metadata.get("deletionTimestamp"):
        return _terminating(seen)
    generation, observed = seen.generation, seen.observed
    if kind.observes and generation is not None and observed is not None and observed < generation:
        message = f"generation {generation} is not looked at yet, the status speaks of {observed}"
        return Health(state=State.PROGRESSING, phase="OldStatus", message=message)
    if kind.reports and not seen.status:
        return Health(state=State.PENDING, phase="NoStatus", message="no controller has looked at it yet")
    verdict: Health = _function(kind.rule)(seen)
    return verdict


def _terminating(seen: Seen) -> Health:
    finalizers = seen.metadata.get("finalizers")
    names = [each for each in finalizers if isinstance(each, str)] if isinstance(finalizers, list) else []
    age = reading.seconds_since(seen.metadata.get("deletionTimestamp"), seen.now)
    since = f"since {reading.span(age)}" if age is not None and age > 0 else ""
    held = "waits for finalizer" + ("s " if len(names) > 1 else " ") + ", ".join(names) if names else ""
    message = reading.fold(f"being deleted {since}".strip(), held, *_remains(seen))
    return Health(state=State.TERMINATING, phase="Terminating", message=message)


def _remains(seen: Seen) -> list[str]:
    """What a Namespace or a definition says that keeps it."""
    return [each.message for each in seen.conditions.values() if each.status == "True" and each.type in _KEEPS]


_KEEPS = frozenset(
    {"NamespaceContentRemaining", "NamespaceFinalizersRemaining", "NamespaceDeletionContentFailure", "Terminating"}
)


def _function(path: str) -> Any:
    """A function of a rule module, by `module.function`."""
    module, _, name = path.partition(".")
    return getattr(import_module(f"aifctl.cluster.health.{module}"), name)
