"""The environment, as far as manifests depend on it."""

from __future__ import annotations

from aifctl import ir
from aifctl.spec.load import Unit
from aifctl.spec.models.platform import Platform


def lower(unit: Unit, platform: Platform | None) -> ir.Target:
    environment = unit.environment
    store = environment.store
    return ir.Target(
        environment=environment.name,
        namespace=environment.namespace.replace("{tenant}", unit.model.metadata.tenant),
        deliverer=environment.deliverer,
        pod_security=environment.pod_security,
        capabilities={str(name): version for name, version in environment.capabilities.items()},
        store=store.uri if store is not None else None,
        store_secret=store.credentials if store is not None else None,
        tracking=platform.spec.tracking.mlflow if platform is not None else None,
    )
