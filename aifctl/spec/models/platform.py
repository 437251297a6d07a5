"""`kind: Platform`: environments, hardware, images, tenants, policies. One a repository; platform engineers own it."""

from typing import Annotated, Literal

from pydantic import Field

from aifctl.spec.models.delivery import Apply
from aifctl.spec.models.pods import PodDefaults
from aifctl.spec.models.section import Cpu, Integer, Name, Number, Section, Size, Text

Role = Literal["train", "serve"]
Deliverer = Literal["argocd", "flux", "aifctl"]
Capability = Literal[
    "argo-workflows",
    "kubeflow-trainer",
    "training-operator",
    "jobset",
    "kueue",
    "katib",
    "kserve",
    "argo-rollouts",
    "keda",
    "prometheus-operator",
    "gateway-api",
    "cert-manager",
    "external-secrets",
    "kuberay",
    "ack-sagemaker",
    "metrics-server",
]
Policy = Literal["pinned-images", "resource-limits", "keras-archive-in-production", "gate-required"]
Level = Literal["off", "warning", "error"]


class Cluster(Section):
    context: Text = Field(description="Context of the kubeconfig.")


class Store(Section):
    uri: Text = Field(description="Artifact store, any URL that fsspec writes.", examples=["s3://acme-models"])
    credentials: Name | None = Field(
        None, description="Secret whose keys become environment variables of pods that use the store."
    )


class Environment(Section):
    name: Name
    roles: Annotated[tuple[Role, ...], Field(min_length=1)] = ("train", "serve")
    cluster: Cluster | None = Field(None, description="Left out for this machine: files and processes.")
    namespace: Text = Field("{tenant}", description="Namespace pattern.", examples=["{tenant}-prod"])
    deliverer: Deliverer = Field("aifctl", description="The one tool that applies this environment.")
    capabilities: dict[Capability, Text] = Field(
        default_factory=dict, description="Operators installed, with their version."
    )
    pod_security: Literal["privileged", "baseline", "restricted"] = "restricted"
    store: Store | None = None
    pod_defaults: PodDefaults = Field(
        default_factory=PodDefaults, description="What every pod of this environment gets."
    )
    apply: Apply = Field(default_factory=Apply, description="How aifctl applies this environment.")

    @property
    def local(self) -> bool:
        """Files and processes of this machine instead of a cluster."""
        return self.cluster is None

    def namespace_of(self, tenant: str) -> str:
        return self.namespace.replace("{tenant}", tenant)


class Tracking(Section):
    mlflow: Text | None = Field(None, description="MLflow tracking server.", examples=["http://mlflow.aif-system:5000"])


class FrameworkImages(Section):
    cpu: Text | None = None
    nvidia: Text | None = None
    amd: Text | None = None
    tpu: Text | None = None


class Images(Section):
    """Runtime images by framework and accelerator, pinned by digest."""

    pytorch: FrameworkImages = Field(default_factory=FrameworkImages)
    tensorflow: FrameworkImages = Field(default_factory=FrameworkImages)
    custom: FrameworkImages = Field(default_factory=FrameworkImages)
    serve: Text | None = None


class AcceleratorFlavour(Section):
    name: Name
    resource: Text = Field(description="Resource name the cluster counts it by.", examples=["nvidia.com/gpu"])
    per_node: Annotated[tuple[Annotated[Integer, Field(ge=1)], ...], Field(min_length=1)] = Field(
        description="Device counts a node may have."
    )
    memory: Size | None = Field(None, description="Memory of one device.")
    nodes: Annotated[Integer, Field(ge=1)] | None = Field(None, description="Most nodes one step may take.")
    node_selector: dict[Text, Text] = Field(default_factory=dict)
    tolerations: tuple[dict[Text, Text], ...] = ()
    price_per_hour: Annotated[Number | Integer, Field(ge=0)] | None = None

    @property
    def vendor(self) -> str:
        """Which runtime image fits: nvidia, amd or tpu."""
        return {"nvidia.com": "nvidia", "amd.com": "amd", "google.com": "tpu"}.get(
            self.resource.partition("/")[0], "nvidia"
        )


class Groups(Section):
    scientists: tuple[Text, ...] = ()
    operators: tuple[Text, ...] = ()


class Tenant(Section):
    name: Name
    groups: Groups = Field(default_factory=Groups)
    quota: dict[Text, Integer | Cpu | Size] = Field(
        default_factory=dict, description="Accelerators by name, cpu, memory."
    )


class PlatformSpec(Section):
    environments: Annotated[tuple[Environment, ...], Field(min_length=1)]
    tracking: Tracking = Field(default_factory=Tracking)
    images: Images = Field(default_factory=Images)
    hardware: tuple[AcceleratorFlavour, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    policies: dict[Policy, Level] = Field(default_factory=dict)

    def neighbours(self, environment: Environment) -> tuple[Environment, ...]:
        """Environments of the same cluster that stand before this one."""
        names = [each.name for each in self.environments]
        before = self.environments[: names.index(environment.name)] if environment.name in names else ()
        return tuple(each for each in before if each.cluster is not None and each.cluster == environment.cluster)


class PlatformMetadata(Section):
    name: Name


class Platform(Section):
    """The platform that models are compiled for."""

    api_version: Literal["aif.dev/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["Platform"]
    metadata: PlatformMetadata
    spec: PlatformSpec
