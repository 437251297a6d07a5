"""Kueue: jobs that it holds back, its Workload objects, and the queues. Waiting for quota is no failure."""

from __future__ import annotations

from aifctl.cluster.health import generic, model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Seen

QUEUE = "kueue.x-k8s.io/queue-name"
"""Label of a job: the LocalQueue that it waits in."""


def held(seen: Seen) -> Health:
    """A job that its controller reports as suspended: queued if it has a queue, else suspended by a person."""
    queue = reading.text(reading.at(seen.metadata, "labels", QUEUE))
    if queue:
        return model.queued("Queued", f"waits for quota in queue {queue}")
    told = seen.is_true("Suspended")
    return model.suspended("Suspended", told.message if told else "")


def workload(seen: Seen) -> Health:
    finished, evicted = seen.is_true("Finished"), seen.is_true("Evicted")
    if finished:
        make = model.failed if generic.is_bad(finished.reason) else model.healthy
        return make(finished.reason or "Finished", finished.message)
    if seen.spec.get("active") is False:
        return model.suspended("Deactivated", evicted.message if evicted else "")
    if seen.is_true("Admitted"):
        waits = seen.is_false("PodsReady")
        return model.progressing("Admitted", waits.message) if waits else model.healthy("Admitted", _where(seen))
    if seen.is_true("QuotaReserved"):
        return model.queued("QuotaReserved", reading.fold(_where(seen), _checks(seen)))
    short = seen.is_false("QuotaReserved")
    if short and short.reason == "Inadmissible":
        return model.failed(short.reason, short.message)
    if short or evicted:
        told = short or evicted
        return model.queued((evicted or short or told).reason if told else "", told.message if told else "")
    return model.queued("Pending", "waits for quota")


def active(seen: Seen) -> Health:
    """Queues and admission checks."""
    told = seen.conditions.get("Active")
    if told is None:
        return model.pending()
    if told.status != "True":
        return model.failed(told.reason or "Inactive", told.message)
    waiting, admitted = seen.status.get("pendingWorkloads"), seen.status.get("admittedWorkloads")
    numbers = f"{reading.count(admitted)} workloads admitted, {reading.count(waiting)} waiting"
    return model.healthy("Active", "" if waiting is None and admitted is None else numbers)


def _where(seen: Seen) -> str:
    queue = reading.text(reading.at(seen.status, "admission", "clusterQueue"))
    return f"in cluster queue {queue}" if queue else ""


def _checks(seen: Seen) -> str:
    open_checks = [
        f"{reading.text(each.get('name'))} is {reading.text(each.get('state'))}"
        for each in reading.mappings(seen.status.get("admissionChecks"))
        if each.get("state") != "Ready"
    ]
    return "check " + ", ".join(open_checks) if open_checks else ""
