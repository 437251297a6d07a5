"""The one table: how each kind is judged, how long it may take, and which label its pods carry.

Functions are named `module.function` and imported on use. A kind that is not here is judged by its conditions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    rule: str = "generic.conditions"
    """`Seen -> Health`."""
    observes: bool = True
    """Its `observedGeneration`, where there is one, is its own: KServe copies the one of a child."""
    reports: bool = False
    """Its controller always writes a status: an object without one was not looked at."""
    run: bool = False
    """It runs to an end."""
    ended: str = "generic.never"
    """`Seen -> bool`: whether a run has ended."""
    seconds: float = 300.0
    """A wait gives up after this time; for a run: to be accepted."""
    asks: str = ""
    """`Seen -> float`: the seconds an object asks for itself."""
    grace: float = 0.0
    """Seconds that FAILED should last before it counts."""
    pods: str = ""
    """The label of its pods that holds a name; `selector` where the object has a selector of its own."""
    pods_of: tuple[str, ...] = ("metadata", "name")
    """Where the object holds that name."""


def of(group: str, kind: str) -> Kind:
    return KINDS.get((group, kind), UNKNOWN)


def _there(group: str, *kinds: str) -> dict[tuple[str, str], Kind]:
    """Kinds whose objects are all right once they are there: nothing reports on them."""
    return {(group, kind): Kind(rule="generic.there", seconds=60.0) for kind in kinds}


UNKNOWN = Kind(grace=30.0)

_JOB_LABEL = "training.kubeflow.org/job-name"
_TRAINING_V1 = Kind(
    rule="kubeflow.training_v1",
    ended="kubeflow.training_v1_ended",
    reports=True,
    run=True,
    seconds=120.0,
    pods=_JOB_LABEL,
)
_KUEUE = Kind(rule="kueue.active", reports=True, seconds=60.0, grace=30.0)
_READY = Kind(rule="generic.ready", reports=True, seconds=300.0, grace=60.0)
_RUNTIME = ("TrainingRuntime", "ClusterTrainingRuntime")

KINDS: dict[tuple[str, str], Kind] = {
    # core
    ("apps", "Deployment"): Kind(
        rule="core.deployment", reports=True, seconds=630.0, grace=30.0, asks="core.deployment_asks", pods="selector"
    ),
    ("apps", "ReplicaSet"): Kind(rule="core.replica_set", reports=True, seconds=600.0, pods="selector"),
    ("", "ReplicationController"): Kind(rule="core.replica_set", reports=True, seconds=600.0),
    ("apps", "StatefulSet"): Kind(rule="core.stateful_set", reports=True, seconds=900.0, pods="selector"),
    ("apps", "DaemonSet"): Kind(rule="core.daemon_set", reports=True, seconds=600.0, pods="selector"),
    ("batch", "Job"): Kind(
        reports=True,
        rule="batch.job",
        ended="batch.job_ended",
        run=True,
        seconds=120.0,
        pods="batch.kubernetes.io/job-name",
    ),
    ("batch", "CronJob"): Kind(rule="batch.cron_job", seconds=60.0),
    ("", "Pod"): Kind(rule="pods.pod", seconds=600.0),
    ("", "PersistentVolumeClaim"): Kind(rule="core.claim", seconds=300.0),
    ("", "PersistentVolume"): Kind(rule="core.volume", seconds=120.0),
    ("", "Service"): Kind(rule="core.service", seconds=300.0),
    ("", "Namespace"): Kind(rule="core.namespace", seconds=60.0),
    ("networking.k8s.io", "Ingress"): Kind(rule="generic.there", seconds=300.0),
    ("policy", "PodDisruptionBudget"): Kind(rule="core.disruption_budget", reports=True, seconds=120.0),
    ("autoscaling", "HorizontalPodAutoscaler"): Kind(rule="core.autoscaler", seconds=180.0, grace=120.0),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Kind(rule="core.definition", seconds=60.0, grace=10.0),
    ("apiregistration.k8s.io", "APIService"): Kind(rule="core.api_service", seconds=120.0, grace=60.0),
    **_there("", "ConfigMap", "Secret", "ServiceAccount", "ResourceQuota", "LimitRange", "Endpoints", "Event"),
    **_there("rbac.authorization.k8s.io", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    **_there("networking.k8s.io", "NetworkPolicy", "IngressClass"),
    **_there("scheduling.k8s.io", "PriorityClass"),
    **_there("storage.k8s.io", "StorageClass", "CSIDriver"),
    **_there("node.k8s.io", "RuntimeClass"),
    **_there("coordination.k8s.io", "Lease"),
    **_there("discovery.k8s.io", "EndpointSlice"),
    **_there(
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ),
    # Argo
    ("argoproj.io", "Workflow"): Kind(
        reports=True,
        rule="argo.workflow",
        ended="argo.workflow_ended",
        run=True,
        seconds=120.0,
        pods="workflows.argoproj.io/workflow",
    ),
    ("argoproj.io", "CronWorkflow"): Kind(rule="argo.cron_workflow", seconds=60.0),
    ("argoproj.io", "Rollout"): Kind(
        rule="rollouts.rollout", reports=True, seconds=900.0, asks="rollouts.rollout_asks", pods="selector"
    ),
    ("argoproj.io", "AnalysisRun"): Kind(rule="rollouts.analysis_run", seconds=900.0),
    ("argoproj.io", "Application"): Kind(rule="argo.application", seconds=900.0, grace=60.0),
    **_there("argoproj.io", "WorkflowTemplate", "ClusterWorkflowTemplate", "AppProject"),
    **_there("argoproj.io", "AnalysisTemplate", "ClusterAnalysisTemplate"),
    # Kubeflow and JobSet
    ("trainer.kubeflow.org", "TrainJob"): Kind(
        rule="kubeflow.train_job",
        ended="kubeflow.train_job_ended",
        reports=True,
        run=True,
        seconds=120.0,
        pods="jobset.sigs.k8s.io/jobset-name",
    ),
    ("jobset.x-k8s.io", "JobSet"): Kind(
        rule="kubeflow.job_set",
        ended="kubeflow.job_set_ended",
        reports=True,
        run=True,
        seconds=120.0,
        pods="jobset.sigs.k8s.io/jobset-name",
    ),
    **{("kubeflow.org", f"{each}Job"): _TRAINING_V1 for each in ("PyTorch", "TF", "MPI", "XGBoost", "JAX", "Paddle")},
    ("kubeflow.org", "Experiment"): Kind(
        rule="katib.experiment",
        ended="katib.ended",
        reports=True,
        run=True,
        seconds=300.0,
        pods="katib.kubeflow.org/experiment",
    ),
    ("kubeflow.org", "Trial"): Kind(
        rule="katib.trial", ended="katib.ended", reports=True, run=True, seconds=300.0, pods="katib.kubeflow.org/trial"
    ),
    **_there("trainer.kubeflow.org", *_RUNTIME),
    # KServe
    ("serving.kserve.io", "InferenceService"): Kind(
        rule="kserve.inference_service",
        observes=False,
        reports=True,
        seconds=1800.0,
        pods="serving.kserve.io/inferenceservice",
    ),
    ("serving.kserve.io", "InferenceGraph"): Kind(rule="generic.ready", reports=True, seconds=900.0, grace=120.0),
    ("serving.kserve.io", "LLMInferenceService"): Kind(rule="generic.ready", reports=True, seconds=3600.0, grace=600.0),
    **_there("serving.kserve.io", "ServingRuntime", "ClusterServingRuntime", "ClusterStorageContainer"),
    # Ray
    ("ray.io", "RayJob"): Kind(
        rule="ray.job",
        ended="ray.job_ended",
        reports=True,
        run=True,
        seconds=120.0,
        pods="ray.io/cluster",
        pods_of=("status", "rayClusterName"),
    ),
    ("ray.io", "RayService"): Kind(
        rule="ray.service",
        reports=True,
        seconds=1800.0,
        grace=120.0,
        pods="ray.io/cluster",
        pods_of=("status", "activeServiceStatus", "rayClusterName"),
    ),
    ("ray.io", "RayCluster"): Kind(rule="ray.cluster", reports=True, seconds=900.0, pods="ray.io/cluster"),
    # KEDA
    ("keda.sh", "ScaledObject"): Kind(rule="keda.scaled", reports=True, seconds=180.0, grace=60.0),
    ("keda.sh", "ScaledJob"): Kind(rule="keda.scaled", reports=True, seconds=180.0, grace=60.0),
    **_there("keda.sh", "TriggerAuthentication", "ClusterTriggerAuthentication"),
    ("http.keda.sh", "InterceptorRoute"): _READY,
    ("http.keda.sh", "HTTPScaledObject"): _READY,
    # Kueue
    ("kueue.x-k8s.io", "Workload"): Kind(rule="kueue.workload", reports=True, seconds=120.0),
    ("kueue.x-k8s.io", "ClusterQueue"): _KUEUE,
    ("kueue.x-k8s.io", "LocalQueue"): _KUEUE,
    ("kueue.x-k8s.io", "AdmissionCheck"): _KUEUE,
    **_there("kueue.x-k8s.io", "ResourceFlavor", "WorkloadPriorityClass", "Topology", "Cohort"),
    # certificates, secrets, gateways, monitoring
    ("cert-manager.io", "Certificate"): Kind(rule="generic.ready", reports=True, seconds=600.0, grace=300.0),
    ("cert-manager.io", "Issuer"): _READY,
    ("cert-manager.io", "ClusterIssuer"): _READY,
    ("external-secrets.io", "ExternalSecret"): _READY,
    ("external-secrets.io", "ClusterExternalSecret"): _READY,
    ("external-secrets.io", "SecretStore"): _READY,
    ("external-secrets.io", "ClusterSecretStore"): _READY,
    ("gateway.networking.k8s.io", "HTTPRoute"): Kind(rule="gateway.route", reports=True, seconds=180.0, grace=60.0),
    ("gateway.networking.k8s.io", "GRPCRoute"): Kind(rule="gateway.route", reports=True, seconds=180.0, grace=60.0),
    ("gateway.networking.k8s.io", "Gateway"): Kind(rule="gateway.gateway", reports=True, seconds=600.0, grace=60.0),
    ("gateway.networking.k8s.io", "GatewayClass"): Kind(rule="gateway.gateway_class", reports=True, grace=60.0),
    **_there("gateway.networking.k8s.io", "ReferenceGrant"),
    **_there("monitoring.coreos.com", "ServiceMonitor", "PodMonitor", "PrometheusRule", "Probe"),
}
