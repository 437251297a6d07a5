"""Services as Deployment, Service, ServiceAccount, NetworkPolicy, autoscaler and disruption budget. Core kinds only."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aifctl import ir
from aifctl.diagnostics import Diagnostic, Report
from aifctl.render import ownership, pods

PORT = 8080
WORK = "/aif/work"
DRAIN_DELAY = 5
"""Seconds a server goes on serving after SIGTERM: load balancers need a moment to notice that it is not ready."""
GRACE = 25
"""Seconds that requests may then take to end."""
PROBE_PERIOD = 5
LOAD_RATE = 20 << 20
"""Bytes a second at which a bundle is fetched and loaded at the least; a slower start is a failure."""
START_SECONDS = 120
SCHEDULE_SECONDS = 600
"""To find a node and pull the image, before a rollout counts as stuck."""
SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}
IN_FLIGHT = "aif_requests_in_flight"
"""The gauge that `concurrency` scales by, as the server exports it (a metrics adapter must offer it)."""


def objects(bundle: ir.Bundle) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Raises Report (AIF507) when the service has no image."""
    service = bundle.service
    if service is None:
        return
    if not service.image:
        hint = "give the platform file `images: {serve: …}`"
        raise Report(Diagnostic("AIF507", f"service `{service.name}` has no image", hint))
    context = _context(bundle, service)
    for name in ("serviceaccount", "networkpolicy", "service", "deployment"):
        yield f"kubernetes/{name}.yaml.j2", context
    if service.autoscaling is not None:
        yield "kubernetes/autoscaler.yaml.j2", context
    if _least(service) >= 2:  # with one replica a budget would stop every drain of its node
        yield "kubernetes/disruptionbudget.yaml.j2", context


def _context(bundle: ir.Bundle, service: ir.Service) -> dict[str, Any]:
    release = {"aif.dev/run": service.bundle.run, "aif.dev/bundle-sha256": service.bundle.sha256}
    start_failures = math.ceil((START_SECONDS + service.bundle.size / LOAD_RATE) / PROBE_PERIOD)
    return {
        "name": service.name,
        "namespace": bundle.target.namespace,
        "labels": ownership.labels(bundle, "serve"),
        "annotations": ownership.provenance(bundle),
        "release": release,
        "selector": {ownership.MODEL: bundle.model, ownership.COMPONENT: "serve"},
        "port": PORT,
        "work": WORK,
        "image": service.image,
        "arguments": [pods.literal(each) for each in _arguments(service)],
        "variables": _variables(service, bundle.target),
        **pods.defaults(bundle.target),
        "pod_annotations": {**release, **SCRAPED, **bundle.target.pods.annotations, **release},
        "resources": _resources(service),
        **pods.placement(bundle.target, service.accelerator),
        "replicas": None if service.autoscaling is not None else service.replicas,
        "scaling": _scaling(service.autoscaling),
        "probe_period": PROBE_PERIOD,
        "start_failures": start_failures,
        "progress_seconds": start_failures * PROBE_PERIOD + SCHEDULE_SECONDS,
        "grace": DRAIN_DELAY + GRACE + 10,
        "egress_ports": _egress_ports(bundle, service),
    }


def _arguments(service: ir.Service) -> list[str]:
    flags = {
        "bundle": service.bundle.uri,
        "sha256": service.bundle.sha256,
        "name": service.name,
        "host": "0.0.0.0",  # noqa: S104 - inside the pod; the NetworkPolicy says who gets there
        "port": PORT,
        "max-batch": service.max_batch,
        "batch-delay": _number(service.batch_delay),
        "low-confidence": None if service.low_confidence is None else _number(service.low_confidence),
        "log-sample": _number(service.log_sample),
        "drain-delay": DRAIN_DELAY,
        "grace": GRACE,
    }
    return [f"--{name}={value}" for name, value in flags.items() if value is not None]


def _variables(service: ir.Service, target: ir.Target) -> list[pods.Variable]:
    fixed: list[pods.Variable] = [
        # The root file system is read-only, and the user has no entry in /etc/passwd.
        {"name": "HOME", "value": WORK},
        {"name": "TMPDIR", "value": WORK},
        {"name": "USER", "value": "aif"},
        {"name": "PYTHONUNBUFFERED", "value": "1"},
    ]
    variables = (*target.pods.variables, *service.variables)
    given = [ir.Variable(name=each.name, value=pods.literal(each.value)) for each in variables]
    return pods.environment(fixed, given, service.secrets)


def _resources(service: ir.Service) -> dict[str, dict[str, str]]:
    """No limit of CPU: a server that is throttled answers late while its node idles."""
    memory = pods.memory(service.resources.memory)
    return {
        "requests": {"cpu": pods.cpu(service.resources.cpu), "memory": memory},
        "limits": {"memory": memory, **pods.devices(service.accelerator)},
    }


def _least(service: ir.Service) -> int:
    return service.replicas if service.autoscaling is None else service.autoscaling.min


def _scaling(scaling: ir.Autoscaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    if scaling.metric == "cpu":
        target = {"type": "Utilization", "averageUtilization": max(1, round(scaling.target))}
        metric: dict[str, Any] = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    else:
        name = IN_FLIGHT if scaling.metric == "concurrency" else scaling.metric
        target = {"type": "AverageValue", "averageValue": pods.cpu(scaling.target)}
        metric = {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}
    return {"min": scaling.min, "max": scaling.max, "metric": metric}


def _egress_ports(bundle: ir.Bundle, service: ir.Service) -> list[int]:
    """443, and the ports that the store's address and the variables (an endpoint of one's own, say) name."""
    addresses = (bundle.target.store or "", service.bundle.uri, *(each.value for each in service.variables))
    found = (re.match(r"(https?)://[^/?#]*?(?::(\d{1,5}))?(?:[/?#]|$)", address) for address in addresses)
    named = {int(each[2] or ("443" if each[1] == "https" else "80")) for each in found if each is not None}
    return sorted({443, *(port for port in named if 0 < port < 65536)})


def _number(value: float) -> str:
    """The shortest text that reads back as the value, without a fraction where it has none."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
