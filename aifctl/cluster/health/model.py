"""What a verdict is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    PENDING = "pending"
    """No controller has looked at it yet."""
    QUEUED = "queued"
    """Waits for quota or a lock: no failure, however long it takes."""
    SUSPENDED = "suspended"
    TERMINATING = "terminating"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`phase` is one short word for where the object is (`Running`, `ImagePullBackOff`, `WaitForFirstConsumer`).

    `message` is one printable line for people, with numbers: `1 of 3 replicas available`.
    """

    state: State
    phase: str = ""
    message: str = ""


def healthy(phase: str, message: str = "") -> Health:
    return Health(state=State.HEALTHY, phase=phase, message=message)


def progressing(phase: str, message: str = "") -> Health:
    return Health(state=State.PROGRESSING, phase=phase, message=message)


def pending(phase: str = "NoStatus", message: str = "no controller has looked at it yet") -> Health:
    return Health(state=State.PENDING, phase=phase, message=message)


def queued(phase: str, message: str = "") -> Health:
    return Health(state=State.QUEUED, phase=phase, message=message)


def suspended(phase: str, message: str = "") -> Health:
    return Health(state=State.SUSPENDED, phase=phase, message=message)


def failed(phase: str, message: str = "") -> Health:
    return Health(state=State.FAILED, phase=phase, message=message)
