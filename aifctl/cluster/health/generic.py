"""Kinds without a rule of their own: by the conditions that Kubernetes' API conventions and kstatus know.

kstatus takes every unknown object for current and never lets `Ready=False` fail. Here a reason that speaks of an error
fails, and a young object without any status waits for its controller.
"""

from __future__ import annotations

import re

from aifctl.cluster.health import model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Condition, Seen

YOUNG = 5.0
"""Seconds that an object without a status may wait for a controller, if its kind has one."""


def there(seen: Seen) -> Health:
    """Kinds that nothing reports on."""
    return model.healthy("Exists")


def never(seen: Seen) -> bool:
    return False


def conditions(seen: Seen) -> Health:
    alarm = seen.is_true("Stalled", "Failed", "Degraded")
    if alarm:
        return model.failed(alarm.reason or alarm.type, alarm.message)
    busy = seen.is_true("Reconciling")
    if busy:
        return model.progressing(busy.reason or "Reconciling", busy.message)
    told = next((seen.conditions[each] for each in GOOD if each in seen.conditions), None)
    if told:
        return judge(seen, told)
    return _by_word(seen) or _silent(seen)


def ready(seen: Seen) -> Health:
    """Kinds whose controller sums everything up in a condition `Ready`."""
    alarm = seen.is_true("Stalled")
    if alarm:
        return model.failed(alarm.reason or alarm.type, alarm.message)
    issuing = seen.conditions.get("Issuing")
    if issuing and issuing.status == "True":
        return model.progressing("Issuing", issuing.message)
    if issuing and issuing.status == "False" and issuing.reason == "Failed":
        return model.failed("IssuingFailed", issuing.message)
    told = seen.conditions.get("Ready")
    return judge(seen, told) if told else model.pending("NoCondition", "no controller has said whether it is ready")


def judge(seen: Seen, told: Condition) -> Health:
    """By one condition that should be True."""
    if told.observed is not None and seen.generation is not None and told.observed < seen.generation:
        message = f"generation {seen.generation} is not looked at yet, {told.type} speaks of {told.observed}"
        return model.progressing("OldStatus", message)
    if told.status == "True":
        return model.healthy(told.type, told.message)
    if told.status == "False" and is_bad(told.reason):
        return model.failed(told.reason, told.message)
    return model.progressing(
        told.reason or f"Not{told.type}", told.message or f"{told.type} is {told.status or 'unset'}"
    )


def is_bad(reason: str) -> bool:
    """Whether a condition's reason speaks of an error, and not of something under way."""
    return _BAD.search(reason) is not None


GOOD = (
    "Ready",
    "Healthy",
    "Available",
    "Established",
    "Programmed",
    "Accepted",
    "Active",
    "Synced",
    "ResourceSynced",
    "ACK.ResourceSynced",
    "Complete",
    "Completed",
    "Succeeded",
)
"""Conditions that should be True; the first that an object has speaks for it."""

_BAD = re.compile(
    r"fail|err|invalid|notfound|denied|reject|forbidden|unsupported|exceeded|conflict|misconfig", re.IGNORECASE
)


def _by_word(seen: Seen) -> Health | None:
    for key in ("phase", "state"):
        word = reading.text(seen.status.get(key))
        if word:
            make = _WORDS.get(word.lower())
            message = reading.text(seen.status.get("message"))
            return make(word, message) if make else model.healthy(word, message)
    return None


_WORDS = {
    **dict.fromkeys(("failed", "error", "degraded", "unhealthy", "lost"), model.failed),
    **dict.fromkeys(("suspended", "paused", "stopped"), model.suspended),
    **dict.fromkeys(
        ("pending", "creating", "progressing", "initializing", "provisioning", "updating", "starting", "unknown"),
        model.progressing,
    ),
}


def _silent(seen: Seen) -> Health:
    age = reading.seconds_since(seen.metadata.get("creationTimestamp"), seen.now)
    if not seen.status and age is not None and age < YOUNG:
        return model.pending()
    return model.healthy("Exists", "its status names no condition that is known" if seen.status else "")
