"""Katib's Experiment and Trial: conditions whose last true one tells, and counts of trials. It has no schema."""

from __future__ import annotations

from aifctl.cluster.health import model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen, count, text

_ENDS = ("Succeeded", "Failed", "Killed", "EarlyStopped", "MetricsUnavailable")


def experiment(seen: Seen) -> Health:
    broken = seen.is_true("Failed")
    if broken:
        return model.failed(broken.reason or "Failed", reading.fold(broken.message, _trials(seen)))
    done = seen.is_true("Succeeded")
    if done:
        return model.healthy("Succeeded", reading.fold(_trials(seen), _best(seen)))
    for phase in ("Restarting", "Running"):
        if seen.is_true(phase):
            return model.progressing(phase, reading.fold(_trials(seen), _best(seen)))
    return model.progressing("Created") if seen.conditions else model.pending()


def trial(seen: Seen) -> Health:
    broken = seen.is_true("Failed", "Killed", "MetricsUnavailable")
    if broken:
        return model.failed(broken.reason or broken.type, broken.message)
    done = seen.is_true("Succeeded", "EarlyStopped")
    if done:
        return model.healthy(done.type, done.message)
    return (
        model.progressing("Running" if seen.is_true("Running") else "Created") if seen.conditions else model.pending()
    )


def ended(seen: Seen) -> bool:
    return seen.is_true(*_ENDS) is not None


def _trials(seen: Seen) -> str:
    wanted = reading.integer(seen.spec.get("maxTrialCount"))
    failed, running = count(seen.status.get("trialsFailed")), count(seen.status.get("trialsRunning"))
    done = f"{count(seen.status.get('trialsSucceeded'))}" + (f" of {wanted}" if wanted is not None else "")
    more = [f"{number} {word}" for number, word in ((running, "running"), (failed, "failed")) if number]
    return ", ".join([f"{done} trials succeeded", *more])


def _best(seen: Seen) -> str:
    """The best objective so far: `best accuracy 0.97`."""
    goal = reading.at(seen.spec, "objective", "objectiveMetricName")
    for metric in reading.mappings(reading.at(seen.status, "currentOptimalTrial", "observation", "metrics")):
        if metric.get("name") == goal and text(metric.get("latest")):
            value = text(metric.get("max" if reading.at(seen.spec, "objective", "type") == "maximize" else "min"))
            return f"best {text(goal)} {value or text(metric.get('latest'))}"
    return ""
