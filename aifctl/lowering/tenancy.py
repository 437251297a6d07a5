"""The platform's tenants → `ir.Tenancy`: their namespaces in one environment, before any model is in them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aifctl import ir
from aifctl.spec.models.platform import Environment, Platform, Tenant


def lower(platform: Platform | None, environment: Environment, source: str) -> tuple[ir.Tenancy, ...]:
    """In the order of the namespaces' names. `source` is the platform file's path in the repository.

    Only tenants that the platform lists have one, and none on this machine. Where environments share a cluster and a
    namespace, the first of them makes it: two would fight over its objects.
    """
    if platform is None or environment.local:
        return ()
    sharing: dict[str, list[Tenant]] = {}
    for tenant in platform.spec.tenants:
        sharing.setdefault(environment.namespace_of(tenant.name), []).append(tenant)
    before = platform.spec.neighbours(environment)
    taken = {other.namespace_of(tenant.name) for other in before for tenant in platform.spec.tenants}
    return tuple(
        _tenancy(platform, environment, namespace, sharing[namespace], source)
        for namespace in sorted(sharing.keys() - taken)
    )


def _tenancy(
    platform: Platform, environment: Environment, namespace: str, tenants: list[Tenant], source: str
) -> ir.Tenancy:
    cpu, memory = (_total(tenants, [name]) for name in ("cpu", "memory"))
    return ir.Tenancy(
        environment=environment.name,
        namespace=namespace,
        tenants=tuple(tenant.name for tenant in tenants),
        source=source,
        pod_security=environment.pod_security,
        account=environment.apply.account,
        cpu=cpu,
        memory=None if memory is None else int(memory),
        devices=_devices(platform, tenants),
        scientists=_groups(tenants, lambda tenant: tenant.groups.scientists),
        operators=_groups(tenants, lambda tenant: tenant.groups.operators),
    )


def _devices(platform: Platform, tenants: list[Tenant]) -> dict[str, int]:
    """Resource → devices. A cluster counts by resource, so flavours that share one are limited together, and only if
    each of them has a limit: else the limit of one would hold the others back."""
    flavours: dict[str, list[str]] = {}
    for flavour in platform.spec.hardware:
        flavours.setdefault(flavour.resource, []).append(flavour.name)
    totals = {resource: _total(tenants, names) for resource, names in sorted(flavours.items())}
    return {resource: int(total) for resource, total in totals.items() if total is not None}


def _total(tenants: list[Tenant], names: Iterable[str]) -> float | None:
    """What all tenants of a namespace may take of all these together; None as soon as one is without a limit."""
    limits = [tenant.quota.get(name) for name in names for tenant in tenants]
    known = [float(limit) for limit in limits if limit is not None]
    return sum(known) if len(known) == len(limits) else None


def _groups(tenants: list[Tenant], choose: Callable[[Tenant], tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({group for tenant in tenants for group in choose(tenant)}))
