"""Kubernetes' own kinds, as kstatus judges them (kubernetes-sigs/cli-utils, pkg/kstatus/status/core.go), except that a
claim that waits for its first consumer is fine, and that pods which can't be created are a failure."""

from __future__ import annotations

from aifctl.cluster.health import generic, model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen, count

DEADLINE = 600
"""Seconds: a Deployment's progress deadline where it names none."""


def deployment(seen: Seen) -> Health:
    wanted = count(seen.spec.get("replicas"), 1)
    available = count(seen.status.get("availableReplicas"))
    late = seen.is_false("Progressing")
    if late and late.reason == "ProgressDeadlineExceeded":
        deadline = count(seen.spec.get("progressDeadlineSeconds"), DEADLINE)
        return model.failed(
            late.reason, f"{available} of {wanted} replicas available after its deadline of {deadline} s"
        )
    if seen.spec.get("paused") is True:
        return model.suspended("Paused", f"{available} of {wanted} replicas available")
    return _refused(seen) or _rolling(seen, wanted, available) or _available(seen, wanted)


def deployment_asks(seen: Seen) -> float:
    """Half a minute more than its progress deadline, so that it is the Deployment that says it failed."""
    return count(seen.spec.get("progressDeadlineSeconds")) + 30.0


def replica_set(seen: Seen) -> Health:
    wanted = count(seen.spec.get("replicas"), 1)
    available = count(seen.status.get("availableReplicas"))
    return _refused(seen) or _rolling(seen, wanted, available, updates=False) or _available(seen, wanted)


def stateful_set(seen: Seen) -> Health:
    """Never fails by itself: it has no progress deadline."""
    wanted = count(seen.spec.get("replicas"), 1)
    ready, updated = count(seen.status.get("readyReplicas")), count(seen.status.get("updatedReplicas"))
    if ready < wanted:
        return model.progressing("Starting", f"{ready} of {wanted} replicas ready")
    if reading.at(seen.spec, "updateStrategy", "type") == "OnDelete":
        return model.healthy("Running", f"{_replicas(ready)} ready, new pods only when old ones are deleted")
    due = wanted - count(reading.at(seen.spec, "updateStrategy", "rollingUpdate", "partition"))
    current, update = seen.status.get("currentRevision"), seen.status.get("updateRevision")
    if current != update and updated < due:
        return model.progressing("Updating", f"{updated} of {due} replicas updated")
    return model.healthy("Running", f"{_replicas(ready)} ready")


def daemon_set(seen: Seen) -> Health:
    wanted = count(seen.status.get("desiredNumberScheduled"))
    updated = count(seen.status.get("updatedNumberScheduled"))
    available = count(seen.status.get("numberAvailable"))
    if updated < wanted and reading.at(seen.spec, "updateStrategy", "type") != "OnDelete":
        return model.progressing("Updating", f"{updated} of {wanted} nodes updated")
    if available < wanted:
        return model.progressing("Starting", f"{available} of {wanted} nodes available")
    return model.healthy("Running", f"{wanted} nodes available" if wanted else "no node is selected")


def claim(seen: Seen) -> Health:
    """A claim of a class that binds at first use stays pending until a pod asks for it, and nothing is wrong.

    The class is another object; that it binds late is told by what is missing: an immediate class puts the name of its
    provisioner on the claim at once, a late one when a pod has been scheduled.
    """
    phase, volume = reading.text(seen.status.get("phase")), reading.text(seen.spec.get("volumeName"))
    if phase == "Bound":
        return model.healthy(phase, reading.text(reading.at(seen.status, "capacity", "storage")))
    if phase == "Lost":
        return model.failed(phase, f"its volume {volume} is gone")
    if not phase:
        return model.pending()
    marks = reading.mapping(seen.metadata.get("annotations"))
    storage = reading.text(seen.spec.get("storageClassName"))
    provisioner = reading.text(marks.get("volume.kubernetes.io/storage-provisioner"))
    if provisioner:
        return model.progressing("Provisioning", f"waits for a volume of {provisioner}")
    age = reading.seconds_since(seen.metadata.get("creationTimestamp"), seen.now)
    if storage and not volume and age is not None and age < generic.YOUNG:
        return model.pending()
    if storage and not volume:
        return model.healthy("WaitForFirstConsumer", f"class {storage} binds it when a first pod uses it")
    return model.progressing("NotBound", f"no volume {volume}".rstrip() + " is bound to it")


def volume(seen: Seen) -> Health:
    phase = reading.text(seen.status.get("phase"))
    if phase == "Failed":
        return model.failed(phase, reading.text(seen.status.get("message")))
    return model.healthy(phase) if phase in ("Available", "Bound", "Released") else model.pending(phase or "NoStatus")


def service(seen: Seen) -> Health:
    if seen.spec.get("type") != "LoadBalancer":
        return model.healthy("Exists")
    given = reading.mappings(reading.at(seen.status, "loadBalancer", "ingress"))
    if not given:
        return model.progressing("NoAddress", "waits for the address of its load balancer")
    first = reading.text(given[0].get("ip")) or reading.text(given[0].get("hostname"))
    return model.healthy("Exists", f"load balancer at {first}")


def namespace(seen: Seen) -> Health:
    phase = reading.text(seen.status.get("phase"))
    if phase == "Terminating":
        return Health(state=model.State.TERMINATING, phase=phase, message="being deleted")
    return model.healthy(phase) if phase == "Active" else model.pending()


def disruption_budget(seen: Seen) -> Health:
    blind = seen.is_false("DisruptionAllowed")
    if blind and blind.reason == "SyncFailed":
        return model.progressing(blind.reason, blind.message)
    now, wanted = count(seen.status.get("currentHealthy")), count(seen.status.get("desiredHealthy"))
    allowed = count(seen.status.get("disruptionsAllowed"))
    return model.healthy("Guards", f"{now} pods healthy, {wanted} wanted, {allowed} may go")


def autoscaler(seen: Seen) -> Health:
    """Metrics come a while after the pods, so that only a target that can't be scaled is a failure."""
    able, active = seen.is_false("AbleToScale"), seen.is_false("ScalingActive")
    if able:
        return model.failed(able.reason or "UnableToScale", able.message)
    if active and active.reason != "ScalingDisabled":
        return model.progressing(active.reason or "NoMetrics", active.message)
    if not seen.conditions:
        return model.pending()
    least, most = count(seen.spec.get("minReplicas"), 1), count(seen.spec.get("maxReplicas"))
    now = count(seen.status.get("currentReplicas"))
    return model.healthy("Active" if not active else "Disabled", f"{_replicas(now)}, of {least} to {most}")


def definition(seen: Seen) -> Health:
    names = seen.is_false("NamesAccepted")
    if names:
        return model.failed(names.reason or "NamesNotAccepted", names.message)
    if seen.is_true("Established"):
        return model.healthy("Established")
    return model.progressing("Installing", "not established yet") if seen.conditions else model.pending()


def api_service(seen: Seen) -> Health:
    told = seen.conditions.get("Available")
    if told is None:
        return model.pending()
    if told.status == "True":
        return model.healthy("Available")
    return model.progressing(told.reason or "Unavailable", told.message)


def _refused(seen: Seen) -> Health | None:
    """Pods that the API server does not take: a quota, an admission rule, a missing account."""
    refused = seen.is_true("ReplicaFailure")
    return model.failed(refused.reason or "ReplicaFailure", refused.message) if refused else None


def _rolling(seen: Seen, wanted: int, available: int, *, updates: bool = True) -> Health | None:
    """Numbers that are not there yet, in the order in which they come."""
    made, ready = count(seen.status.get("replicas")), count(seen.status.get("readyReplicas"))
    updated = count(seen.status.get("updatedReplicas")) if updates else made
    if updated < wanted:
        return model.progressing("Updating", f"{updated} of {wanted} replicas updated")
    if made > wanted:
        return model.progressing("Updating", f"{made - wanted} old replicas still run")
    if ready < wanted:
        return model.progressing("Starting", f"{ready} of {wanted} replicas ready")
    if available < wanted:
        return model.progressing("Starting", f"{available} of {wanted} replicas available")
    return None


def _available(seen: Seen, wanted: int) -> Health:
    short = seen.is_false("Available")
    if short:
        return model.progressing(short.reason or "Unavailable", short.message)
    if not wanted:
        return model.healthy("ScaledToZero", "no replicas wanted")
    return model.healthy("Running", f"{_replicas(wanted)} available")


def _replicas(number: int) -> str:
    return f"{number} replica" + ("" if number == 1 else "s")
