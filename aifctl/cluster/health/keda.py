"""KEDA's ScaledObject and ScaledJob: Ready says that it was understood, Active that there is load."""

from __future__ import annotations

from aifctl.cluster.health import model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen, count, text


def scaled(seen: Seen) -> Health:
    ready, active = seen.conditions.get("Ready"), seen.conditions.get("Active")
    paused = seen.is_true("Paused")
    if paused:
        replicas = reading.integer(seen.status.get("pausedReplicaCount"))
        return model.suspended("Paused", f"held at {replicas} replicas" if replicas is not None else paused.message)
    if ready is None:
        return model.pending()
    if ready.status == "False":
        return model.failed(ready.reason or "NotReady", ready.message)
    if ready.status != "True":
        return model.progressing("Checking", ready.message)
    idle = active is not None and active.status == "False"
    fallback = seen.is_true("Fallback")
    if fallback and not idle:
        # An idle object keeps an old Fallback: KEDA does not reset it when it scales to zero (kedacore/keda#7488).
        return model.failed("Fallback", reading.fold(fallback.message, _failing(seen), _replicas(seen)))
    return model.healthy("Idle" if idle else "Active", active.message if active else ready.message)


def _failing(seen: Seen) -> str:
    """The triggers that can't be read: `s0-prometheus failed 5 times`."""
    health = reading.mapping(seen.status.get("health"))
    return ", ".join(
        f"{name} failed {count(reading.at(each, 'numberOfFailures'))} times"
        for name, each in health.items()
        if isinstance(name, str) and text(reading.at(each, "status")) == "Failing"
    )


def _replicas(seen: Seen) -> str:
    replicas = reading.integer(reading.at(seen.spec, "fallback", "replicas"))
    return f"runs {replicas} replicas instead" if replicas is not None else ""
