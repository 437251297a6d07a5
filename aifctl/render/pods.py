"""What pods of steps and of servers have in common: quantities, devices, environment variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aifctl import ir

UNITS = (("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))
Variable = dict[str, Any]


def memory(size: int) -> str:
    """Bytes in the largest unit that has no remainder: 4294967296 is 4Gi."""
    return next((f"{size // unit}{name}" for name, unit in UNITS if size and size % unit == 0), str(size))


def cpu(cores: float) -> str:
    """Cores as Kubernetes writes them: 2, 500m. Never 0: the least it knows is 1m."""
    thousandths = max(1, round(cores * 1000))
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def devices(accelerator: ir.Accelerator | None) -> dict[str, str]:
    """As a limit; for extended resources the request is always the same."""
    return {} if accelerator is None else {accelerator.resource: str(accelerator.per_node)}


def placement(target: ir.Target, accelerator: ir.Accelerator | None = None) -> dict[str, Any]:
    """nodeSelector and tolerations, each only where there is something to say. An accelerator's selector wins."""
    selector: Mapping[str, str] = {} if accelerator is None else accelerator.node_selector
    own = () if accelerator is None else accelerator.tolerations
    tolerations = [dict(each) for each in (*target.pods.tolerations, *own)]
    return {
        "node_selector": dict(sorted({**target.pods.node_selector, **selector}.items())) or None,
        "tolerations": [each for index, each in enumerate(tolerations) if each not in tolerations[:index]] or None,
    }


def defaults(target: ir.Target) -> dict[str, Any]:
    """What a pod's template needs of the environment; None or an empty list where there is nothing to say."""
    secrets = (*((target.store_secret,) if target.store_secret else ()), *target.pods.secrets)
    return {
        "store_secret": target.store_secret,
        "environment_sources": [{"secretRef": {"name": name}} for name in dict.fromkeys(secrets)],
        "pull_policy": target.pods.pull_policy,
        "pull_secrets": [{"name": name} for name in target.pods.pull_secrets],
        "pod_annotations": dict(target.pods.annotations),
        "default_volumes": [dict(each) for each in target.pods.volumes],
        "default_mounts": [dict(each) for each in target.pods.mounts],
    }


def environment(
    fixed: Iterable[Variable], variables: Iterable[ir.Variable], secrets: Iterable[ir.SecretVariable] = ()
) -> list[Variable]:
    """Environment of a container; a later variable of one name replaces an earlier one in its place.

    The API server takes a name once only. Values must have been through `literal` or the like: see there.
    """
    own: list[Variable] = [{"name": each.name, "value": each.value} for each in variables]
    own += [{"name": each.name, "valueFrom": _secret(each)} for each in secrets]
    return list({each["name"]: each for each in (*fixed, *own)}.values())


def literal(text: str) -> str:
    """Text for args and env that the kubelet must not expand: it reads `$(NAME)` as a variable and `$$` as one `$`."""
    return text.replace("$", "$$")


def _secret(variable: ir.SecretVariable) -> Mapping[str, Any]:
    return {"secretKeyRef": {"name": variable.secret, "key": variable.key}}
