"""TrainJob, JobSet and the jobs of Kubeflow's first training operator. None has an `observedGeneration`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aifctl.cluster.health import kueue, model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen, count, text


def train_job(seen: Seen) -> Health:
    jobs = reading.mappings(seen.status.get("jobsStatus"))
    broken = seen.is_true("Failed")
    if broken:
        return model.failed(broken.reason or "Failed", broken.message)
    if seen.is_true("Complete"):
        return model.healthy("Complete", _jobs(jobs))
    if seen.is_true("Suspended") and seen.spec.get("suspend") is not False:
        return kueue.held(seen)
    return _child_jobs(jobs, _progress(seen))


def train_job_ended(seen: Seen) -> bool:
    return seen.is_true("Complete", "Failed") is not None


def job_set(seen: Seen) -> Health:
    jobs = reading.mappings(seen.status.get("replicatedJobsStatus"))
    restarts = count(seen.status.get("restarts"))
    again = (
        f"restarted {restarts} of {count(reading.at(seen.spec, 'failurePolicy', 'maxRestarts'))} times"
        if restarts
        else ""
    )
    broken, state = seen.is_true("Failed"), seen.status.get("terminalState")
    if broken or state == "Failed":
        return model.failed(
            (broken and broken.reason) or "Failed", reading.fold(broken.message if broken else "", again)
        )
    if seen.is_true("Completed") or state == "Completed":
        return model.healthy("Completed", reading.fold(_jobs(jobs), again))
    if seen.is_true("Suspended") and seen.spec.get("suspend") is not False:
        return kueue.held(seen)
    return _child_jobs(jobs, again)


def job_set_ended(seen: Seen) -> bool:
    return bool(seen.is_true("Completed", "Failed")) or seen.status.get("terminalState") in ("Completed", "Failed")


def training_v1(seen: Seen) -> Health:
    """PyTorchJob, TFJob and their like: the operator keeps old conditions and sets them to False."""
    replicas = _replicas(seen)
    broken = seen.is_true("Failed")
    if broken:
        return model.failed(broken.reason or "Failed", reading.fold(broken.message, replicas))
    if seen.is_true("Succeeded"):
        return model.healthy("Succeeded", replicas)
    if seen.is_true("Suspended") and reading.at(seen.spec, "runPolicy", "suspend") is not False:
        return kueue.held(seen)
    for phase in ("Restarting", "Running"):
        if seen.is_true(phase):
            return model.progressing(phase, replicas)
    return model.progressing("Created", replicas) if seen.is_true("Created") or replicas else model.pending()


def training_v1_ended(seen: Seen) -> bool:
    return seen.is_true("Succeeded", "Failed") is not None


def _child_jobs(jobs: list[Mapping[str, Any]], more: str) -> Health:
    """By the child jobs: `ready` counts those whose pods are all ready or done."""
    if not jobs:
        return model.progressing("Created", reading.fold("its jobs are not created yet", more))
    ready = sum(count(each.get("ready")) + count(each.get("succeeded")) for each in jobs)
    active = sum(count(each.get("active")) + count(each.get("succeeded")) for each in jobs)
    return model.progressing("Running" if ready and ready >= active else "Starting", reading.fold(_jobs(jobs), more))


def _jobs(jobs: list[Mapping[str, Any]]) -> str:
    """`initializer: 1 succeeded; node: 0 of 1 ready`."""
    return reading.fold(*(f"{text(each.get('name'))}: {_job(each)}" for each in jobs))


def _job(counts: Mapping[str, Any]) -> str:
    ready, active = count(counts.get("ready")), count(counts.get("active"))
    running = f"{ready} of {max(active, ready)} ready" if ready or active else ""
    return ", ".join(filter(None, (running, _numbers(counts, "succeeded", "failed", "suspended")))) or "none active"


def _numbers(counts: Mapping[str, Any], *names: str) -> str:
    """`3 active, 1 failed`, without the zeros."""
    return ", ".join(f"{count(counts.get(each))} {each}" for each in names if count(counts.get(each)))


def _progress(seen: Seen) -> str:
    """What the trainer itself reports, where it does: `42 % done, 12m to go`."""
    told = reading.mapping(seen.status.get("trainerStatus"))
    percent, left = (
        reading.integer(told.get("progressPercentage")),
        reading.integer(told.get("estimatedRemainingSeconds")),
    )
    if percent is None:
        return ""
    return f"{percent} % done" + (f", {reading.span(left)} to go" if left is not None else "")


def _replicas(seen: Seen) -> str:
    """`Master: 1 active; Worker: 3 active, 1 failed`."""
    statuses = reading.mapping(seen.status.get("replicaStatuses"))
    return reading.fold(
        *(
            f"{role}: {_numbers(each, 'active', 'succeeded', 'failed') or '0 active'}"
            for role, each in statuses.items()
            if isinstance(role, str) and isinstance(each, Mapping)
        )
    )
