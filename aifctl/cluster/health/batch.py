"""Job and CronJob. A running Job is under way, and not current as kstatus has it; how it ended is in its conditions."""

from __future__ import annotations

from aifctl.cluster.health import kueue, model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen, count

BY_RULE = "PodFailurePolicy"
"""That the Job's own rule gave it up, which says nothing of the cause: the message has the exit code."""


def job(seen: Seen) -> Health:
    done, broken = seen.is_true("Complete"), seen.is_true("Failed", "FailureTarget")
    succeeded, failed = count(seen.status.get("succeeded")), count(seen.status.get("failed"))
    wanted = count(seen.spec.get("completions"), count(seen.spec.get("parallelism"), 1))
    if broken:
        phase = "Failed" if broken.reason in ("", BY_RULE) else broken.reason
        return model.failed(phase, reading.fold(broken.message, f"{failed} pods failed"))
    if done:
        return model.healthy("Complete", reading.fold(f"{succeeded} of {wanted} pods succeeded", _goes(seen)))
    if seen.is_true("Suspended") and seen.spec.get("suspend") is not False:
        return kueue.held(seen)
    if not seen.status.get("startTime"):
        return model.pending("NotStarted", "the Job controller has not started it")
    active, ready = count(seen.status.get("active")), count(seen.status.get("ready"))
    numbers = f"{ready} of {active} pods ready, {succeeded} of {wanted} succeeded"
    troubles = f"{failed} failed" if failed else ""
    return model.progressing("Running" if ready else "Starting", ", ".join(filter(None, (numbers, troubles))))


def job_ended(seen: Seen) -> bool:
    return seen.is_true("Complete", "Failed") is not None


def cron_job(seen: Seen) -> Health:
    if seen.spec.get("suspend") is True:
        return model.suspended("Suspended")
    active = len(reading.mappings(seen.status.get("active")))
    last = reading.text(seen.status.get("lastScheduleTime"))
    said = f"last run at {last}" if last else "has not run yet"
    return model.healthy("Running" if active else "Scheduled", said)


def _goes(seen: Seen) -> str:
    """When a finished Job is removed by its TTL: afterwards it is missing, and nothing is wrong."""
    ttl = reading.integer(seen.spec.get("ttlSecondsAfterFinished"))
    age = reading.seconds_since(seen.status.get("completionTime"), seen.now)
    return "" if ttl is None or age is None else f"is removed in {reading.span(ttl - age)}"
