"""The environment, as far as manifests depend on it."""

from __future__ import annotations

from aifctl import ir
from aifctl.spec.load import Unit
from aifctl.spec.models.platform import Platform
from aifctl.spec.models.pods import PodDefaults


def lower(unit: Unit, platform: Platform | None) -> ir.Target:
    environment = unit.environment
    store = environment.store
    return ir.Target(
        environment=environment.name,
        namespace=environment.namespace_of(unit.model.metadata.tenant),
        deliverer=environment.deliverer,
        pod_security=environment.pod_security,
        capabilities={str(name): version for name, version in environment.capabilities.items()},
        store=store.uri if store is not None else None,
        store_secret=store.credentials if store is not None else None,
        tracking=platform.spec.tracking.mlflow if platform is not None else None,
        pods=pods(environment.pod_defaults),
    )


def pods(given: PodDefaults) -> ir.PodDefaults:
    """What every pod of an environment gets."""
    return ir.PodDefaults(
        volumes=given.volumes,
        mounts=given.volume_mounts,
        variables=tuple(ir.Variable(name=name, value=value) for name, value in sorted(given.env.items())),
        secrets=given.env_from_secrets,
        node_selector=given.node_selector,
        tolerations=given.tolerations,
        pull_secrets=given.image_pull_secrets,
        pull_policy=given.image_pull_policy,
        annotations=given.annotations,
    )
