"""What ails the pods of a workload, and how they are found.

A workload's status counts its pods; why one does not start is written in the pods alone.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aifctl.cluster.health import kinds, model, reading
from aifctl.cluster.health.model import Health, State
from aifctl.cluster.health.reading import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The worst that holds up a workload's pods."""

    pod: str
    container: str = ""
    """Empty where the whole pod is concerned."""
    phase: str
    """Unschedulable, ImagePullBackOff, CrashLoopBackOff, OOMKilled, Evicted, NotReady …"""
    message: str = ""
    exit_code: int | None = None
    """Of the container's last end."""
    restarts: int = 0
    crashes: int = 0
    """How often the container has ended although it should run on."""
    running: bool = False
    """The container runs now."""
    lived: float = 0.0
    """Seconds that it ran when it ended last."""
    init: bool = False
    """The container is one of those that run before the others."""
    pods: int = 1
    """How many pods are in the same trouble."""

    def __str__(self) -> str:
        where = f"pod {self.pod}" + (
            f", {'init ' if self.init else ''}container {self.container}" if self.container else ""
        )
        parts = [self.phase, *self._numbers(), f"{self.pods} pods" if self.pods > 1 else ""]
        said = ", ".join(part for part in parts if part)
        return reading.one_line(f"{where}: {said}" + (f": {self.message}" if self.message else ""))

    def _numbers(self) -> Iterator[str]:
        if self.exit_code is not None:
            yield f"exit code {self.exit_code}{_signal(self.exit_code)}"
        if self.restarts:
            yield f"{self.restarts} restart{'s' if self.restarts > 1 else ''}"


def stuck(pods: Iterable[Mapping[str, Any]]) -> Trouble | None:
    """The worst trouble among the pods, None where all run, have succeeded or are going away. Never raises."""
    found = [trouble for each in pods if isinstance(each, Mapping) for trouble in _troubles(reading.open_object(each))]
    if not found:
        return None
    worst = min(found, key=lambda each: (_rank(each.phase), -each.restarts, each.pod, each.container))
    same = {each.pod for each in found if each.phase == worst.phase}
    return replace(worst, pods=len(same))


def blame(health: Health, trouble: Trouble | None) -> Health:
    """A verdict that names what its pods suffer.

    Only where a workload is under way or says that it is well (KServe keeps `Ready=True` while a pod crashes): a
    queued, suspended or ended one has no use for its pods.
    """
    if trouble is None or health.state not in (State.PROGRESSING, State.HEALTHY, State.FAILED):
        return health
    if health.state is State.HEALTHY:
        if _rank(trouble.phase) > _GRAVE:
            return health
        health = replace(health, state=State.PROGRESSING)
    message = reading.one_line(reading.fold(health.message, str(trouble)))
    return replace(health, phase=trouble.phase, message=message)


def selector(found: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The labels by which the pods of this workload are listed; None where it has none of its own.

    `matchExpressions` are not told, so the labels may find more than the workload's own pods.
    """
    found = reading.mapping(found)
    kind = kinds.of(*reading.group_kind(found))
    labels = reading.at(found, "spec", "selector", "matchLabels")
    if kind.pods == "selector":
        pairs = {key: value for key, value in reading.mapping(labels).items() if isinstance(value, str)}
        return pairs or None
    value = reading.text(reading.at(found, *kind.pods_of))
    return {kind.pods: value} if kind.pods and value else None


def pod(seen: Seen) -> Health:
    """A pod by itself."""
    phase = reading.text(seen.status.get("phase"))
    trouble = stuck([seen.found])
    if phase == "Succeeded":
        return model.healthy("Succeeded")
    if trouble and (phase == "Failed" or trouble.phase in _DEADLY):
        return model.failed(trouble.phase, str(trouble))
    if trouble and trouble.phase == "SchedulingGated":
        return model.queued(trouble.phase, trouble.message)
    if trouble:
        return model.progressing(trouble.phase, str(trouble))
    if seen.is_true("Ready"):
        return model.healthy("Running")
    return model.progressing(phase or "NotReady", "not ready yet") if phase else model.pending()


def _troubles(seen: Seen) -> Iterator[Trouble]:
    phase = reading.text(seen.status.get("phase"))
    if phase == "Succeeded" or seen.metadata.get("deletionTimestamp"):
        return
    own = list(_container_troubles(seen, phase))
    yield from own
    reason, message = reading.text(seen.status.get("reason")), reading.text(seen.status.get("message"))
    if phase == "Failed":
        if reason or not own:
            yield _of_pod(seen, reason or "Failed", message)
        return
    held = seen.is_false("PodScheduled")
    if held:
        yield _of_pod(seen, held.reason or "Unscheduled", held.message)
    elif phase in ("", "Pending") and not own:
        yield _of_pod(seen, "Pending", message or "no container has been started")
    elif not own:
        unready = seen.is_false("Ready")
        if unready:
            yield _of_pod(seen, "NotReady", unready.message or unready.reason)


def _container_troubles(seen: Seen, phase: str) -> Iterator[Trouble]:
    always = reading.text(seen.spec.get("restartPolicy")) == "Always"
    for key in ("initContainerStatuses", "containerStatuses"):
        init = key == "initContainerStatuses"
        for status in reading.mappings(seen.status.get(key)):
            trouble = _container_trouble(status, phase, init) or (None if init or not always else _left(status))
            if trouble:
                yield replace(trouble, pod=seen.name)


def _container_trouble(status: Mapping[str, Any], phase: str, init: bool) -> Trouble | None:
    state, last = reading.mapping(status.get("state")), reading.at(status, "lastState", "terminated")
    waiting, ended = reading.mapping(state.get("waiting")), reading.mapping(state.get("terminated"))
    made, reason = _opened(status, init), reading.text(waiting.get("reason"))
    if waiting or (not state and phase in ("Pending", "")):
        if reason in ("PodInitializing", ""):
            return None
        said = reading.text(waiting.get("message")) or reading.text(reading.at(last, "message"))
        return _said(made, _ended_as(last, reason) if reason == "CrashLoopBackOff" else reason, said)
    if ended:
        return (
            _said(made, _ended_as(ended, "Error"), reading.text(ended.get("message"))) if made.exit_code != 0 else None
        )
    if status.get("ready") is True:
        return None
    return _said(replace(made, exit_code=None), "Initializing", "still runs") if init else _unready(made, status, last)


def _opened(status: Mapping[str, Any], init: bool) -> Trouble:
    """What a container's status says of its lives, whatever its trouble is."""
    state, last = reading.mapping(status.get("state")), reading.at(status, "lastState", "terminated")
    ended, running = reading.mapping(state.get("terminated")) or last, "running" in state
    restarts = reading.count(status.get("restartCount"))
    return Trouble(
        pod="",
        container=reading.text(status.get("name")),
        phase="",
        exit_code=_exit_code(ended),
        restarts=restarts,
        crashes=restarts + (1 if ended and not running else 0),
        running=running,
        lived=_lived(ended),
        init=init,
    )


def _left(status: Mapping[str, Any]) -> Trouble | None:
    """A container that ended well, and is to run for ever: it comes again and ends again."""
    ended = reading.mapping(reading.at(status, "state", "terminated"))
    return _said(_opened(status, init=False), "Completed", "it ended, and is to run on") if ended else None


def _unready(made: Trouble, status: Mapping[str, Any], last: Any) -> Trouble:
    """A container that runs and is not ready: it starts, or its probe fails, or it has just crashed."""
    if status.get("started") is False:
        return _said(replace(made, exit_code=None), "Starting", "its startup probe has not passed yet")
    if made.restarts and _ended_as(last, "") == "OOMKilled":
        return _said(made, "OOMKilled", "runs again, and is not ready")
    return _said(replace(made, exit_code=None), "NotReady", "its readiness probe does not pass")


def _said(made: Trouble, phase: str, message: str) -> Trouble:
    return replace(made, phase=reading.word(phase), message=reading.one_line(message))


def _of_pod(seen: Seen, phase: str, message: str) -> Trouble:
    return _said(Trouble(pod=seen.name, phase=""), phase, message)


def _ended_as(ended: Any, otherwise: str) -> str:
    """How a container ended, where that says more than that it did: OOMKilled, StartError."""
    reason = reading.text(reading.at(ended, "reason"))
    return otherwise if reason in ("", "Error", "Completed") else reason


def _exit_code(ended: Any) -> int | None:
    return reading.integer(reading.at(ended, "exitCode"))


def _lived(ended: Any) -> float:
    """Seconds from start to end, by the node's own clock; 0 where it does not say."""
    until = reading.moment(reading.at(ended, "finishedAt"))
    return max(0.0, reading.seconds_since(reading.at(ended, "startedAt"), until) or 0.0)


def _signal(code: int) -> str:
    """` (SIGKILL)` for 137: shells and container runtimes add 128 to a signal's number."""
    try:
        return f" ({signal.Signals(code - 128).name})" if code > 128 else ""
    except ValueError:
        return ""


_RANKS = {
    phase: rank
    for rank, phases in enumerate(
        (
            ("CreateContainerConfigError", "InvalidImageName", "ErrImageNeverPull", "CreateContainerError"),
            ("ImagePullBackOff", "ErrImagePull", "ImageInspectError", "RegistryUnavailable"),
            ("OOMKilled",),
            ("CrashLoopBackOff", "RunContainerError", "StartError", "ContainerCannotRun", "Error", "Completed"),
            ("Evicted", "DeadlineExceeded", "UnexpectedAdmissionError", "Failed"),
            ("Unschedulable",),
            ("NotReady",),
            ("Starting",),
            ("Initializing",),
            ("ContainerCreating",),
            ("Pending",),
            ("SchedulingGated",),
        )
    )
    for phase in phases
}
_UNKNOWN = _RANKS["Evicted"]
_GRAVE = _RANKS["Error"]
"""Up to this rank a pod contradicts a workload that says it is well."""
_DEADLY = frozenset({"CreateContainerConfigError", "InvalidImageName", "ErrImageNeverPull"})


def _rank(phase: str) -> int:
    return _RANKS.get(phase, _UNKNOWN)
