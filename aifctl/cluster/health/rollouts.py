"""Argo Rollouts. Its `observedGeneration` is a string; a pause without a duration waits for a person."""

from __future__ import annotations

import re
from typing import Any

from aifctl.cluster.health import model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen, count, text


def rollout(seen: Seen) -> Health:
    wrong = seen.is_true("InvalidSpec")
    if wrong:
        return model.failed(wrong.reason or "InvalidSpec", wrong.message)
    phase, message = text(seen.status.get("phase")), text(seen.status.get("message"))
    numbers = reading.fold(message, _step(seen), _replicas(seen))
    if phase == "Degraded":
        aborted = seen.status.get("abort") is True or message.startswith("RolloutAborted")
        return model.failed("Aborted" if aborted else _cause(seen), numbers)
    if phase == "Healthy":
        return model.healthy("Running", _replicas(seen))
    if phase == "Paused":
        by_itself = isinstance(_pause(seen), int | float)
        return model.progressing("Paused", numbers) if by_itself else model.suspended("Paused", numbers)
    return model.progressing(phase or "Progressing", numbers) if phase else model.pending()


def rollout_asks(seen: Seen) -> float:
    """Its progress deadline, and all pauses of its canary."""
    pauses = sum(_seconds(reading.at(each, "pause", "duration")) or 0.0 for each in _steps(seen))
    return count(seen.spec.get("progressDeadlineSeconds"), 600) + 30.0 + pauses


def analysis_run(seen: Seen) -> Health:
    phase, message = text(seen.status.get("phase")), text(seen.status.get("message"))
    if phase == "Successful":
        return model.healthy(phase, message)
    if phase in ("Failed", "Error", "Inconclusive"):
        return model.failed(phase, message)
    return model.progressing(phase, message) if phase else model.pending()


def _steps(seen: Seen) -> list[Any]:
    return list(reading.mappings(reading.at(seen.spec, "strategy", "canary", "steps")))


def _step(seen: Seen) -> str:
    """Where the canary is: `step 2 of 4, weight 10 %`."""
    steps, index = _steps(seen), reading.integer(seen.status.get("currentStepIndex"))
    if index is None or not 0 <= index < len(steps):
        return ""
    weights = [
        each for each in (reading.integer(step.get("setWeight")) for step in steps[: index + 1]) if each is not None
    ]
    live = reading.integer(reading.at(seen.status, "canary", "weights", "canary", "weight"))
    weight = live if live is not None else (weights[-1] if weights else None)
    return f"step {index + 1} of {len(steps)}" + (f", weight {weight} %" if weight is not None else "")


def _pause(seen: Seen) -> float | None:
    """Seconds of the pause that the canary is in; None where a person has to end it."""
    steps, index = _steps(seen), reading.integer(seen.status.get("currentStepIndex"))
    if seen.spec.get("paused") is True or index is None or not 0 <= index < len(steps):
        return None
    return _seconds(reading.at(steps[index], "pause", "duration"))


def _seconds(duration: Any) -> float | None:
    """A pause's duration: a number of seconds, or `30s`, `5m`, `1h`."""
    number = reading.integer(duration)
    if number is not None:
        return float(number)
    found = re.fullmatch(r"([0-9]{1,9})(s|m|h)", text(duration), re.ASCII)
    return int(found[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[found[2]] if found else None


def _cause(seen: Seen) -> str:
    late = seen.is_false("Progressing")
    return late.reason if late and late.reason else "Degraded"


def _replicas(seen: Seen) -> str:
    wanted = count(seen.spec.get("replicas"), count(seen.status.get("replicas")))
    available = count(seen.status.get("availableReplicas"))
    if available > wanted:
        return f"{available} replicas available, {wanted} wanted"
    return f"{available} of {wanted} replicas available"
