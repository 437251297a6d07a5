"""What is sent before what. Pure."""

from __future__ import annotations

EARLY = ("Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "ClusterRole")
LEANT_ON = frozenset({"Namespace", "CustomResourceDefinition"})
"""Waited for before anything else of the unit is sent."""
LATE = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "HTTPRoute", "ScaledObject",
        "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService")  # fmt: skip
ACCOUNTS = ("ServiceAccount", "Role")
"""Before Secrets: a token Secret whose account is not there yet is deleted by Kubernetes at once. Before bindings: who
is no administrator of the cluster may only bind a role that is there (RBAC's check against escalation)."""
SETTINGS = ("ResourceQuota", "LimitRange", "NetworkPolicy", "RoleBinding", "ClusterRoleBinding", "Secret",
            "ExternalSecret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim", "Service")  # fmt: skip
STAGES = {kind: stage for stage, kinds in enumerate((EARLY, ACCOUNTS, SETTINGS, (), LATE)) for kind in kinds}
WORKLOADS = 3
"""Stage of every kind that is not in `STAGES`."""


def stage(kind: str) -> int:
    return STAGES.get(kind, WORKLOADS)
