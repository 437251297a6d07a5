"""Argo Workflows and Argo CD. A Workflow has neither conditions nor `observedGeneration` to go by, but a phase and its
nodes; those can be compressed or kept in a database, and then only the phase and the progress are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aifctl.cluster.health import model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen, text

ENDED = frozenset({"Succeeded", "Failed", "Error"})
COMPLETED = "workflows.argoproj.io/completed"
"""Label by which the controller says the same as by the phase, for those who see the metadata only."""
_WORK = frozenset({"Pod", "Container", "HTTP", "Plugin"})
"""Types of nodes that do something themselves."""


def workflow(seen: Seen) -> Health:
    phase, message = text(seen.status.get("phase")), text(seen.status.get("message"))
    if phase in ("Failed", "Error"):
        return model.failed(phase, reading.fold(_progress(seen), _failure(seen) or message))
    if phase == "Succeeded":
        return model.healthy(phase, _progress(seen))
    if _waits(seen, message):
        return model.queued("Synchronization" if "lock" in message.lower() else "Queued", message)
    if not phase:
        return model.pending()
    if seen.spec.get("suspend") is True:
        return model.suspended("Suspended", _progress(seen))
    return _under_way(seen, phase, message)


def workflow_ended(seen: Seen) -> bool:
    labels = reading.mapping(seen.metadata.get("labels"))
    return text(seen.status.get("phase")) in ENDED or labels.get(COMPLETED) == "true"


def cron_workflow(seen: Seen) -> Health:
    wrong = seen.is_true("SpecError", "SubmissionError")
    if wrong:
        return model.failed(wrong.type, wrong.message)
    if seen.spec.get("suspend") is True:
        return model.suspended("Suspended")
    if seen.status.get("phase") == "Stopped":
        return model.suspended("Stopped", "its stop strategy ended it")
    active = len(reading.mappings(seen.status.get("active")))
    last, failed = text(seen.status.get("lastScheduledTime")), reading.count(seen.status.get("failed"))
    said = f"last run at {last}" if last else "has not run yet"
    return model.healthy("Running" if active else "Scheduled", reading.fold(said, f"{failed} failed" if failed else ""))


def application(seen: Seen) -> Health:
    """Argo CD's own word: health of what it applied, and whether that is what Git holds."""
    health, sync = text(reading.at(seen.status, "health", "status")), text(reading.at(seen.status, "sync", "status"))
    message = text(reading.at(seen.status, "health", "message")) or text(
        reading.at(seen.status, "operationState", "message")
    )
    if reading.at(seen.status, "operationState", "phase") in ("Failed", "Error"):
        return model.failed("SyncFailed", message)
    if health == "Degraded":
        return model.failed(health, message)
    if health == "Suspended":
        return model.suspended(health, message)
    if health == "Healthy" and sync == "Synced":
        return model.healthy("Synced")
    if not health and not sync:
        return model.pending()
    return model.progressing(sync if health == "Healthy" else health or sync, message)


def _under_way(seen: Seen, phase: str, message: str) -> Health:
    """What a Workflow does now: it works, tries again, waits for a person, or its pods do not start."""
    every = _nodes(seen)
    locked = [each for each in every if _is(each, "Pending") and _lock(each)]
    nodes = [each for each in every if each not in locked]
    held = [each for each in nodes if _is(each, "Pending") and _type(each) in _WORK and text(each.get("message"))]
    waiting = [each for each in nodes if _is(each, "Running") and _type(each) == "Suspend"]
    working = [each for each in nodes if _is(each, "Running", "Pending") and _type(each) in _WORK]
    progress = _progress(seen)
    if locked and not working:
        names = ", ".join(f"{_name(each)} waits for lock {_lock(each)}" for each in locked)
        return model.queued("Synchronization", reading.fold(progress, names))
    if held:
        reason, _, said = text(held[0].get("message")).partition(":")
        return model.progressing(reason, reading.fold(progress, f"{_name(held[0])}: {said.strip() or reason}"))
    if waiting and not working:
        names = ", ".join(sorted(map(_name, waiting)))
        if _timed(seen, waiting):
            return model.progressing("Paused", reading.fold(progress, f"pauses at {names}"))
        return model.suspended("Suspended", reading.fold(progress, f"waits for a person at {names}"))
    retrying = [each for each in nodes if _is(each, "Running") and _type(each) == "Retry" and _attempts(each) > 1]
    if retrying:
        names = ", ".join(f"{_name(each)}, attempt {_attempts(each)}" for each in retrying)
        return model.progressing("Retrying", reading.fold(progress, names))
    names = ", ".join(sorted(map(_name, working))[:3])
    return model.progressing(phase, reading.fold(progress, names or message))


def _waits(seen: Seen, message: str) -> bool:
    """Held back by the controller's limit of running workflows, or by a lock that another run has."""
    if text(seen.status.get("phase")) not in ("", "Pending"):
        return False
    locks = [reading.at(seen.status, "synchronization", each, "waiting") for each in ("semaphore", "mutex")]
    return any(map(reading.mappings, locks)) or message.startswith(
        ("Waiting for", "Workflow processing has been postponed")
    )


def _progress(seen: Seen) -> str:
    """`3/5` as `3 of 5 steps done`."""
    done, slash, all_of_them = text(seen.status.get("progress")).partition("/")
    return f"{done} of {all_of_them} steps done" if slash else ""


def _failure(seen: Seen) -> str:
    """The step that failed first, with its message: the Workflow's own only names a child by number."""
    nodes = _nodes(seen)
    of_no_interest = set().union(*map(_former_tries, nodes))
    broken = [each for each in nodes if _is(each, "Failed", "Error") and _type(each) in _WORK]
    broken = [each for each in broken if text(each.get("id")) not in of_no_interest]
    if not broken:
        return ""
    first = min(broken, key=lambda each: (text(each.get("finishedAt")), _name(each)))
    return f"{_name(first)}: {text(first.get('message')) or text(first.get('phase'))}"


def _former_tries(node: Mapping[str, Any]) -> set[str]:
    """Ids of a step's tries, but for the last one where that was no better: all of them have `nodeFlag.retried`."""
    children = node.get("children")
    if _type(node) != "Retry" or not isinstance(children, list):
        return set()
    tries = [each for each in children if isinstance(each, str)]
    return set(tries[:-1] if _is(node, "Failed", "Error") else tries)


def _lock(node: Mapping[str, Any]) -> str:
    """The lock that a step waits for, if it does."""
    return text(reading.at(node, "synchronizationStatus", "waiting"))


def _nodes(seen: Seen) -> list[Mapping[str, Any]]:
    return reading.mappings(list(reading.mapping(seen.status.get("nodes")).values()))


def _is(node: Mapping[str, Any], *phases: str) -> bool:
    return node.get("phase") in phases


def _type(node: Mapping[str, Any]) -> str:
    return text(node.get("type"))


def _name(node: Mapping[str, Any]) -> str:
    return text(node.get("displayName")) or text(node.get("name"))


def _attempts(node: Mapping[str, Any]) -> int:
    children = node.get("children")
    return len(children) if isinstance(children, list) else 0


def _timed(seen: Seen, waiting: list[Mapping[str, Any]]) -> bool:
    """Whether each of these suspended steps goes on by itself after a time."""
    timed = {
        text(each.get("name"))
        for each in reading.mappings(seen.spec.get("templates"))
        if reading.at(each, "suspend", "duration") is not None
    }
    return all(text(each.get("templateName")) in timed for each in waiting)
