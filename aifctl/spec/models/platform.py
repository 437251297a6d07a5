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
    """The cluster that an environment lies in."""

    context: Text
    """Name of the context in the kubeconfig of whoever plans and applies. Example: `lab`."""


class Store(Section):
    """Where a run's artifacts lie: prepared data, checkpoints, models, bundles, code that is sent along."""

    uri: Text
    """URL of a folder, of any scheme that fsspec writes, as this environment's pods reach it.
    Example: `s3://acme-models`."""
    credentials: Name | None = None
    """Secret of the tenant's namespace whose keys become environment variables of pods that use the store, such as
    `AWS_ACCESS_KEY_ID`; none when left out.
    Example: `store-credentials`."""


class Environment(Section):
    """A place where models train or serve: a namespace for each tenant in a cluster, or this machine."""

    name: Name
    """Name of the environment: what `--env` takes, and the folder below `rendered/` and `releases/`. Example: `lab`."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1)] = ("train", "serve")
    """What is done here. Usually one environment trains, and several serve what it made."""
    cluster: Cluster | None = None
    """The cluster; left out for this machine, where runs are files and processes. Example: `{context: lab}`."""
    namespace: Text = "{tenant}"
    """Pattern of the namespaces' names; `{tenant}` stands for the tenant's. Example: `"{tenant}-prod"`."""
    deliverer: Deliverer = "aifctl"
    """The one tool that applies this environment. Where it is not `aifctl`, aifctl renders and plans, and never
    applies."""
    capabilities: dict[Capability, Text] = Field(default_factory=dict)
    """Operators that the cluster has → their version; what needs another one is a finding. With `argo-workflows` a run
    is a Workflow, without it a Job.
    Example: `{argo-workflows: "4.1", metrics-server: "0.8"}`."""
    pod_security: Literal["privileged", "baseline", "restricted"] = "restricted"
    """Pod Security level of its namespaces; all that aifctl renders fits `restricted`."""
    store: Store | None = None
    """Where artifacts lie; an environment of a cluster that trains needs one, this machine keeps them in `.aif/`.
    Example: `{uri: s3://acme-models, credentials: store-credentials}`."""
    pod_defaults: PodDefaults = Field(default_factory=PodDefaults)
    """What every pod of this environment gets: certificates, proxies, volumes, private registries."""
    apply: Apply = Field(default_factory=Apply)
    """How aifctl applies this environment."""

    @property
    def local(self) -> bool:
        """Files and processes of this machine instead of a cluster."""
        return self.cluster is None

    def namespace_of(self, tenant: str) -> str:
        return self.namespace.replace("{tenant}", tenant)


class Tracking(Section):
    """Where runs, metrics and registered models are shown."""

    mlflow: Text | None = None
    """URL of the MLflow tracking server, as pods reach it; nothing is tracked when left out.
    Example: `http://mlflow.aif-system:5000`."""


class FrameworkImages(Section):
    """One framework's images by what the step computes on."""

    cpu: Text | None = None
    """Image of steps without an accelerator; training on a cluster always needs it.
    Example: `registry.example/aif-pytorch@sha256:…`."""
    nvidia: Text | None = None
    """Image with CUDA, for accelerators whose resource begins with `nvidia.com/`, and any other of no known vendor.
    Example: `registry.example/aif-pytorch-cuda@sha256:…`."""
    amd: Text | None = None
    """Image with ROCm, for accelerators whose resource begins with `amd.com/`.
    Example: `registry.example/aif-pytorch-rocm@sha256:…`."""
    tpu: Text | None = None
    """Image for TPUs, whose resource begins with `google.com/`.
    Example: `registry.example/aif-pytorch-xla@sha256:…`."""


class Images(Section):
    """Runtime images by framework and accelerator, pinned by digest."""

    pytorch: FrameworkImages = Field(default_factory=FrameworkImages)
    """Images of `framework: pytorch`, and of `lightning` and `huggingface`."""
    tensorflow: FrameworkImages = Field(default_factory=FrameworkImages)
    """Images of `framework: tensorflow`."""
    custom: FrameworkImages = Field(default_factory=FrameworkImages)
    """Images of `framework: custom`."""
    serve: Text | None = None
    """Image of aifctl's server, for releases that name none. Example: `registry.example/aif-serve@sha256:…`."""


class AcceleratorFlavour(Section):
    """One kind of accelerator, and the nodes that have it."""

    name: Name
    """Name that models ask by; it is in the identity of what was trained on it. Example: `nvidia-h100`."""
    resource: Text
    """Resource name that the cluster counts the devices by. Example: `nvidia.com/gpu`."""
    per_node: Annotated[tuple[Annotated[Integer, Field(ge=1)], ...], Field(min_length=1)]
    """Numbers of devices on one node that a model may ask for. Example: `[1, 2, 4, 8]`."""
    memory: Size | None = None
    """Memory of one device; `aifctl doctor` holds it against the nodes' labels. Example: `80Gi`."""
    nodes: Annotated[Integer, Field(ge=1)] | None = None
    """Most nodes that one step may take; no limit when left out. Example: `4`."""
    node_selector: dict[Text, Text] = Field(default_factory=dict)
    """Labels of the nodes that have it. Example: `{cloud.google.com/gke-accelerator: nvidia-l4}`."""
    tolerations: tuple[dict[Text, Text], ...] = ()
    """Taints of these nodes, as Kubernetes writes tolerations.
    Example: `[{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]`."""
    price_per_hour: Annotated[Number | Integer, Field(ge=0)] | None = None
    """Price of one device an hour, in a currency of your own; for people so far, no plan counts it. Example: `0.7`."""

    @property
    def vendor(self) -> str:
        """Which runtime image fits: nvidia, amd or tpu."""
        return {"nvidia.com": "nvidia", "amd.com": "amd", "google.com": "tpu"}.get(
            self.resource.partition("/")[0], "nvidia"
        )


class Groups(Section):
    """Groups of people as the cluster's authentication names them."""

    scientists: tuple[Text, ...] = ()
    """Groups that may look at all in the tenant's namespaces but secrets (Kubernetes' role `view`).
    Example: `[vision-ds]`."""
    operators: tuple[Text, ...] = ()
    """Groups that may change what is in the tenant's namespaces (Kubernetes' role `edit`). Example: `[vision-ops]`."""


class Tenant(Section):
    """A team that owns models, with a namespace in each environment that has a cluster."""

    name: Name
    """Name of the team; a model says it in `metadata.tenant`. Example: `vision`."""
    groups: Groups = Field(default_factory=Groups)
    """Who may do what in its namespaces."""
    quota: dict[Text, Integer | Cpu | Size] = Field(default_factory=dict)
    """Most that its pods may ask for together in one namespace: accelerators by their name in the catalogue, in
    devices; `cpu` in cores; `memory`. What is not named has no limit.
    Example: `{nvidia-h100: 16, cpu: 256, memory: 2Ti}`."""


class PlatformSpec(Section):
    """What models are compiled for."""

    environments: Annotated[tuple[Environment, ...], Field(min_length=1)]
    """Where models train and serve. `local`, this machine, is there even where it is not listed."""
    tracking: Tracking = Field(default_factory=Tracking)
    """Where runs, metrics and registered models are shown. Example: `{mlflow: http://mlflow.aif-system:5000}`."""
    images: Images = Field(default_factory=Images)
    """Images that steps and servers run in."""
    hardware: tuple[AcceleratorFlavour, ...] = ()
    """The catalogue of accelerators that models may ask for by name."""
    tenants: tuple[Tenant, ...] = ()
    """Teams that own models; where none is listed, any name will do and no namespace is made."""
    policies: dict[Policy, Level] = Field(default_factory=dict)
    """Policy → how breaking it is reported. Left out, `pinned-images` and `keras-archive-in-production` are errors,
    `resource-limits` and `gate-required` off.
    Example: `{gate-required: error}`."""

    def neighbours(self, environment: Environment) -> tuple[Environment, ...]:
        """Environments of the same cluster that stand before this one."""
        names = [each.name for each in self.environments]
        before = self.environments[: names.index(environment.name)] if environment.name in names else ()
        return tuple(each for each in before if each.cluster is not None and each.cluster == environment.cluster)


class PlatformMetadata(Section):
    """The platform's name."""

    name: Name
    """Name of the platform; what aifctl keeps on record in a cluster is called by it. Example: `acme`."""


class Platform(Section):
    """The platform that models are compiled for."""

    api_version: Literal["aif.dev/v1alpha1"] = Field(alias="apiVersion")
    """Version of the vocabulary that the document is written in."""
    kind: Literal["Platform"]
    """Says that this document is the platform."""
    metadata: PlatformMetadata
    """The platform's name."""
    spec: PlatformSpec
    """The platform itself."""
