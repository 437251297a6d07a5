"""A tenant's namespace: the Namespace itself, its quota, who may do what there, and that nobody gets in unasked.

Models' own objects come later and by another identity; nothing here has a model's label. Core kinds only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aifctl import ir
from aifctl.diagnostics import Diagnostic, Report
from aifctl.render import kinds, ownership, pods

RBAC = "rbac.authorization.k8s.io"
QUOTA = "aifctl-quota"
DEFAULTS = "aifctl-defaults"
DENY = "aifctl-deny-ingress"
SCIENTISTS = "aifctl-scientists"
OPERATORS = "aifctl-operators"
KEPT = {
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
"""Nobody deletes a namespace because its tenant left a file: all that is in it would go along. What keeps others out
stays with it."""
DEFAULT_REQUESTS = {"cpu": "50m", "memory": "64Mi"}
"""Of containers that ask for nothing. Where a quota counts requests, a pod with such a container is refused, and
engines add containers of their own to every step (Argo's `init` and `wait`)."""


def objects(tenancy: ir.Tenancy) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Template names and what they are filled with. Raises Report (AIF513) for a namespace that no tenant may have."""
    if ir.is_system(tenancy.namespace):
        message = f"namespace `{tenancy.namespace}` belongs to no tenant"
        hint = "choose another name for the tenant, or another pattern: `namespace: ml-{tenant}`"
        raise Report(Diagnostic("AIF513", message, hint))
    annotations = {ownership.SOURCE: tenancy.source}
    labels = _labels(tenancy)
    inside = {"namespace": tenancy.namespace, "labels": labels, "annotations": annotations}
    kept = {**inside, "annotations": {**annotations, **KEPT}}
    yield "tenancy/namespace.yaml.j2", {**kept, "labels": {**labels, **_pod_security(tenancy)}}
    if quota := _quota(tenancy):
        yield "tenancy/resourcequota.yaml.j2", {**inside, "name": QUOTA, "hard": quota}
    if requests := _default_requests(tenancy):
        yield "tenancy/limitrange.yaml.j2", {**inside, "name": DEFAULTS, "requests": requests}
    yield "tenancy/networkpolicy.yaml.j2", {**kept, "name": DENY}
    yield "tenancy/serviceaccount.yaml.j2", {**inside, "name": tenancy.account}
    yield "tenancy/role.yaml.j2", {**inside, "name": tenancy.account, "rules": kinds.deployer()}
    for name, role, subjects in _bindings(tenancy):
        yield "tenancy/rolebinding.yaml.j2", {**inside, "name": name, "role": role, "subjects": subjects}


def _labels(tenancy: ir.Tenancy) -> dict[str, str]:
    """A namespace of several tenants is labelled with none."""
    shared = {"app.kubernetes.io/managed-by": ownership.MANAGER, ownership.ENVIRONMENT: tenancy.environment}
    return {**shared, ownership.TENANT: tenancy.tenants[0]} if len(tenancy.tenants) == 1 else shared


def _pod_security(tenancy: ir.Tenancy) -> dict[str, str]:
    return {f"pod-security.kubernetes.io/{mode}": tenancy.pod_security for mode in ("enforce", "audit", "warn")}


def _quota(tenancy: ir.Tenancy) -> dict[str, str]:
    found = {} if tenancy.cpu is None else {"requests.cpu": pods.cpu(tenancy.cpu)}
    if tenancy.memory is not None:
        found["requests.memory"] = pods.memory(tenancy.memory)
    return found | {f"requests.{resource}": str(count) for resource, count in sorted(tenancy.devices.items())}


def _default_requests(tenancy: ir.Tenancy) -> dict[str, str]:
    counted = {"cpu": tenancy.cpu is not None, "memory": tenancy.memory is not None}
    return {name: amount for name, amount in DEFAULT_REQUESTS.items() if counted[name]}


def _bindings(tenancy: ir.Tenancy) -> Iterator[tuple[str, dict[str, str], list[dict[str, str]]]]:
    """(name, roleRef without its group, subjects). Scientists see all but secrets; operators act on what is there."""
    account = {"kind": "ServiceAccount", "name": tenancy.account, "namespace": tenancy.namespace}
    yield tenancy.account, {"kind": "Role", "name": tenancy.account}, [account]
    for name, role, groups in (
        (SCIENTISTS, "view", tenancy.scientists),
        (OPERATORS, "edit", tenancy.operators),
    ):
        if groups:
            subjects = [{"apiGroup": RBAC, "kind": "Group", "name": group} for group in groups]
            yield name, {"kind": "ClusterRole", "name": role}, subjects
