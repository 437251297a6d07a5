"""KubeRay: RayJob tells by `jobDeploymentStatus` (the objects) and `jobStatus` (what runs on them), RayService by its
applications, RayCluster by conditions, and by `state` in old versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aifctl.cluster.health import kueue, model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen, count, text

_BROKEN = frozenset({"Failed", "ValidationFailed"})
_ENDS = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


def job(seen: Seen) -> Health:
    place, inner = text(seen.status.get("jobDeploymentStatus")), text(seen.status.get("jobStatus"))
    reason, message = text(seen.status.get("reason")), text(seen.status.get("message"))
    failed, limit = count(seen.status.get("failed")), count(seen.spec.get("backoffLimit"))
    if place in _BROKEN or (inner in ("FAILED", "STOPPED") and not _tries_again(seen)):
        return model.failed(reason or (place if place in _BROKEN else inner.capitalize()), message)
    if place == "Complete":
        return model.healthy("Complete", message)
    if place == "Suspended":
        return kueue.held(seen)
    if place == "Retrying" or inner == "FAILED":
        return model.progressing("Retrying", f"attempt {failed + 1} of {limit + 1}; {message}".rstrip("; "))
    if not place and not inner:
        return model.progressing("New", "the operator has not started it") if seen.status else model.pending()
    said = f"job is {inner}" if inner else ""
    return model.progressing(place or inner, reading.fold(said, _workers(reading.at(seen.status, "rayClusterStatus"))))


def job_ended(seen: Seen) -> bool:
    """`jobDeploymentStatus` can stay Running after the job on it has ended, as long as its submitter hangs."""
    place, inner = text(seen.status.get("jobDeploymentStatus")), text(seen.status.get("jobStatus"))
    if place in _BROKEN or place == "Complete":
        return True
    return inner in _ENDS and bool(seen.status.get("endTime")) and not _tries_again(seen)


def service(seen: Seen) -> Health:
    now, next_one = seen.status.get("activeServiceStatus"), seen.status.get("pendingServiceStatus")
    apps = _applications(next_one) or _applications(now)
    bad = [each for each in apps if each[1] in ("DEPLOY_FAILED", "UNHEALTHY")]
    if bad:
        name, state, message = bad[0]
        return model.failed("DeployFailed" if state == "DEPLOY_FAILED" else "Unhealthy", f"{name}: {message}")
    wrong = seen.is_false("Ready")
    if wrong and wrong.reason == "ValidationFailed":
        return model.failed(wrong.reason, wrong.message)
    upgrade = seen.is_true("UpgradeInProgress")
    if upgrade:
        return model.progressing("Upgrading", reading.fold(upgrade.message, _states(apps)))
    endpoints = count(seen.status.get("numServeEndpoints"))
    if seen.is_true("Ready") or (not seen.conditions and seen.status.get("serviceStatus") == "Running"):
        return model.healthy("Running", reading.fold(f"{endpoints} serve endpoints", _states(apps)))
    cluster = reading.at(next_one, "rayClusterStatus") or reading.at(now, "rayClusterStatus")
    phase = (wrong and wrong.reason) or "Initializing"
    return model.progressing(phase, reading.fold(wrong.message if wrong else "", _states(apps), _workers(cluster)))


def cluster(seen: Seen) -> Health:
    lacking, state = seen.is_true("ReplicaFailure"), text(seen.status.get("state"))
    if seen.is_true("RayClusterSuspended") or state == "suspended":
        return kueue.held(seen)
    if lacking or state == "failed":
        told = lacking.message if lacking else text(seen.status.get("reason"))
        return model.failed((lacking and lacking.reason) or "Failed", told)
    workers, head = _workers(seen.status), seen.conditions.get("HeadPodReady")
    if head and head.status != "True":
        return model.progressing(head.reason or "HeadPodNotReady", reading.fold(head.message, workers))
    if state == "ready" or seen.is_true("RayClusterProvisioned"):
        return model.healthy("Ready", workers)
    return model.progressing("Provisioning", workers)


def _tries_again(seen: Seen) -> bool:
    return count(seen.status.get("failed")) < count(seen.spec.get("backoffLimit"))


def _workers(status: Any) -> str:
    told = reading.mapping(status)
    wanted = count(told.get("desiredWorkerReplicas"))
    ready = count(told.get("readyWorkerReplicas"), count(told.get("availableWorkerReplicas")))
    return f"{ready} of {wanted} workers ready" if wanted else ""


def _applications(status: Any) -> list[tuple[str, str, str]]:
    """Name, status and message of each Serve application."""
    apps = reading.mapping(reading.at(status, "applicationStatuses"))
    return [
        (name, text(each.get("status")), text(each.get("message")))
        for name, each in apps.items()
        if isinstance(name, str) and isinstance(each, Mapping)
    ]


def _states(apps: list[tuple[str, str, str]]) -> str:
    return ", ".join(f"{name} {state}" for name, state, _ in apps)
