"""Kinds of objects that aifctl renders, and what applying and watching them takes: one table for every RBAC rule.

A test holds it against all templates and all that the examples are rendered to: a kind that is missing here could not
be applied by a tenant's account.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Rule = dict[str, list[str]]
"""A PolicyRule: apiGroups, resources, verbs."""


class Kind(NamedTuple):
    group: str
    kind: str
    resource: str


MODELS = (
    Kind("", "ConfigMap", "configmaps"),
    Kind("", "Secret", "secrets"),
    Kind("", "Service", "services"),
    Kind("", "ServiceAccount", "serviceaccounts"),
    Kind("apps", "Deployment", "deployments"),
    Kind("argoproj.io", "CronWorkflow", "cronworkflows"),
    Kind("argoproj.io", "Workflow", "workflows"),
    Kind("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Kind("batch", "CronJob", "cronjobs"),
    Kind("batch", "Job", "jobs"),
    Kind("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    Kind("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("rbac.authorization.k8s.io", "Role", "roles"),
    Kind("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
)
"""Of models, in their tenant's namespace."""

PLATFORM = (
    Kind("", "LimitRange", "limitranges"),
    Kind("", "Namespace", "namespaces"),
    Kind("", "ResourceQuota", "resourcequotas"),
    Kind("", "ServiceAccount", "serviceaccounts"),
    Kind("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    Kind("rbac.authorization.k8s.io", "Role", "roles"),
    Kind("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
)
"""Of the platform: the namespaces of its tenants, and what is in them before any model is."""

LOOKED_AT = (
    Kind("", "Event", "events"),
    Kind("", "Pod", "pods"),
    Kind("", "Pod", "pods/log"),
    Kind("apps", "ReplicaSet", "replicasets"),
)
"""Made by the cluster: read to say why something is not healthy."""

READ = ("get", "list", "watch")
WRITE = (*READ, "create", "patch", "update", "delete")

HANDED_ON: tuple[Rule, ...] = (
    {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
)
"""What models' own Roles grant. Who makes a Role must hold all that it grants, or the API server takes it for an
attempt to gain rights (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention).
"""


def deployer() -> list[Rule]:
    """What a tenant's account needs in its namespace to apply models, and nothing else."""
    return [*rules(MODELS, WRITE), *HANDED_ON, *rules(LOOKED_AT, READ)]


def rules(kinds: Iterable[Kind], verbs: Iterable[str]) -> list[Rule]:
    """A rule a group, in order."""
    found: dict[str, set[str]] = {}
    for each in kinds:
        found.setdefault(each.group, set()).add(each.resource)
    return [{"apiGroups": [group], "resources": sorted(found[group]), "verbs": list(verbs)} for group in sorted(found)]
