"""What stages ask for against what the platform's catalogue and the tenant's quota offer."""

from __future__ import annotations

from collections.abc import Iterator

from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic
from aifctl.diagnostics.model import KeyPath
from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.platform import AcceleratorFlavour, Platform, Tenant
from aifctl.spec.schema import did_you_mean

GIB = 1024**3


def check(subject: Subject) -> Iterator[Diagnostic]:
    """Nothing of it concerns this machine, which has the devices it has."""
    platform = subject.platform
    if platform is None or subject.environment.local:
        return
    yield from _tenant(subject, platform)
    yield from _quota_names(subject, platform)
    if subject.trains:
        for path, hardware in subject.stages():
            yield from _accelerator(subject, platform, hardware, path)
            yield from _stage_quota(subject, platform, hardware, path)
        yield from _spot(subject)
        yield from _limits(subject)
    if subject.serves:
        yield from _serving(subject, platform)


def _accelerator(subject: Subject, platform: Platform, hardware: Hardware, path: KeyPath) -> Iterator[Diagnostic]:
    if hardware.accelerator is None:
        return
    flavour = _flavour(platform, hardware.accelerator)
    if flavour is None:
        yield _unknown(subject, platform, hardware.accelerator, (*path, "accelerator"))
        return
    if hardware.per_node not in flavour.per_node:
        message = f"accelerator `{flavour.name}` has no flavour with {_count(hardware.per_node, 'device')} a node"
        hint = _other_layout(flavour, hardware.world_size)
        yield Diagnostic("AIF301", message, hint, subject.at(*path, "per_node"))
    elif flavour.nodes is not None and hardware.nodes > flavour.nodes:
        message = f"the catalogue has at most {_count(flavour.nodes, 'node')} of `{flavour.name}`, not {hardware.nodes}"
        most = flavour.nodes * max(flavour.per_node)
        hint = f"that is {_count(most, 'device')} at most"
        yield Diagnostic("AIF303", message, hint, subject.at(*path, "nodes"))


def _flavour(platform: Platform, name: str) -> AcceleratorFlavour | None:
    return next((flavour for flavour in platform.spec.hardware if flavour.name == name), None)


def _unknown(subject: Subject, platform: Platform, name: str, path: KeyPath) -> Diagnostic:
    known = [flavour.name for flavour in platform.spec.hardware]
    hint = did_you_mean(name, known, "the catalogue has") if known else "the platform's catalogue has no accelerators"
    return Diagnostic("AIF302", f"unknown accelerator `{name}`", hint, subject.at(*path))


def _other_layout(flavour: AcceleratorFlavour, devices: int) -> str:
    """The counts there are, and how to have as many devices all the same."""
    offers = sorted(flavour.per_node)
    *most, last = map(str, offers)
    offered = f"the catalogue offers {', '.join(most)} or {last}" if most else f"the catalogue offers {last} only"
    for per_node in reversed(offers):
        nodes, rest = divmod(devices, per_node)
        if rest == 0 and nodes >= 1 and (flavour.nodes is None or nodes <= flavour.nodes):
            return f"{offered}; use `per_node: {per_node}, nodes: {nodes}`"
    return offered


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _tenant(subject: Subject, platform: Platform) -> Iterator[Diagnostic]:
    tenants, name = [tenant.name for tenant in platform.spec.tenants], subject.unit.model.metadata.tenant
    if tenants and name not in tenants:
        given = "tenant" in subject.unit.document.value.get("metadata", {})
        where = subject.unit.at("metadata", "tenant") if given else subject.unit.at("metadata", on_key=True)
        message = f"the platform has no tenant `{name}`" + ("" if given else ", to which a model goes that names none")
        hint = did_you_mean(name, tenants, "tenants are") if given else f"name one: `tenant: {min(tenants)}`"
        yield Diagnostic("AIF305", message, hint, where)


def _own_tenant(subject: Subject, platform: Platform) -> Tenant | None:
    name = subject.unit.model.metadata.tenant
    return next((tenant for tenant in platform.spec.tenants if tenant.name == name), None)


def _quota_names(subject: Subject, platform: Platform) -> Iterator[Diagnostic]:
    """A limit of what nobody counts limits nothing."""
    tenant = _own_tenant(subject, platform)
    known = {"cpu", "memory", *(flavour.name for flavour in platform.spec.hardware)}
    for name in tenant.quota if tenant is not None else ():
        if tenant is not None and name not in known:
            index = platform.spec.tenants.index(tenant)
            where = subject.at_platform("tenants", index, "quota", name, on_key=True)
            message = f"the quota of tenant `{tenant.name}` limits `{name}`, which is no accelerator of the catalogue"
            yield Diagnostic("AIF302", message, did_you_mean(name, known, "it may limit"), where)


def _stage_quota(subject: Subject, platform: Platform, hardware: Hardware, path: KeyPath) -> Iterator[Diagnostic]:
    asked: list[tuple[str, float, KeyPath]] = []
    if hardware.accelerator is not None:
        asked.append((hardware.accelerator, hardware.world_size, (*path, "accelerator")))
    if hardware.cpu is not None:
        asked.append(("cpu", hardware.cpu * hardware.nodes, (*path, "cpu")))
    if hardware.memory is not None:
        asked.append(("memory", hardware.memory * hardware.nodes, (*path, "memory")))
    yield from _quota(subject, platform, asked)


def _serving(subject: Subject, platform: Platform) -> Iterator[Diagnostic]:
    serving = subject.spec.serving
    if serving is None:
        return
    path: KeyPath = ("serving", "resources")
    resources = serving.resources
    replicas = serving.autoscaling.max if serving.autoscaling is not None else serving.replicas
    asked: list[tuple[str, float, KeyPath]] = [
        ("cpu", resources.cpu * replicas, (*path, "cpu")),
        ("memory", resources.memory * replicas, (*path, "memory")),
    ]
    if resources.accelerator is not None:
        flavour = _flavour(platform, resources.accelerator)
        if flavour is None:
            yield _unknown(subject, platform, resources.accelerator, (*path, "accelerator"))
        elif resources.devices not in flavour.per_node:
            message = f"accelerator `{flavour.name}` has no flavour with {_count(resources.devices, 'device')} a node"
            where = subject.at(*path, "devices")
            yield Diagnostic("AIF301", message, _other_layout(flavour, 0), where)
        asked.append((resources.accelerator, resources.devices * replicas, (*path, "accelerator")))
    yield from _quota(subject, platform, asked)


def _quota(subject: Subject, platform: Platform, asked: list[tuple[str, float, KeyPath]]) -> Iterator[Diagnostic]:
    tenant = _own_tenant(subject, platform)
    for name, amount, path in asked:
        limit = tenant.quota.get(name) if tenant is not None else None
        if tenant is not None and limit is not None and amount > limit:
            shown, most = (_amount(name, value) for value in (amount, limit))
            what = {"cpu": "CPU cores", "memory": "of memory"}.get(name, f"of `{name}`")
            message = f"this takes {shown} {what}; the quota of tenant `{tenant.name}` is {most}"
            hint = "ask for less, or have the quota raised"
            yield Diagnostic("AIF304", message, hint, subject.at(*path))


def _amount(name: str, value: float) -> str:
    if name != "memory":
        return f"{value:g}"
    return f"{value / (1024 * GIB):g}Ti" if value % (1024 * GIB) == 0 else f"{value / GIB:g}Gi"


def _spot(subject: Subject) -> Iterator[Diagnostic]:
    training = subject.spec.training
    if training.hardware.spot and training.checkpoint.every is None:
        message = "machines on the spot market are taken away, and checkpoints are written at the end of epochs only"
        hint = "write one now and then: `checkpoint: {every: 10m}`"
        yield Diagnostic("AIF306", message, hint, subject.at("training", "hardware", "spot"))


def _limits(subject: Subject) -> Iterator[Diagnostic]:
    level, hardware = subject.policy("resource-limits"), subject.spec.training.hardware
    missing = [name for name in ("cpu", "memory") if getattr(hardware, name) is None]
    if level is not None and missing:
        message = f"the platform demands that training says its {' and '.join(f'`{name}`' for name in missing)}"
        hint = "write, say, `hardware: {cpu: 4, memory: 16Gi}`"
        yield Diagnostic("AIF307", message, hint, subject.at("training", "hardware", on_key=True), severity=level)
