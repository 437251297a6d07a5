"""The intermediate representation between a spec and manifests: steps, artifacts and services.

Frozen dataclasses that know neither YAML nor Kubernetes. Argo's back end, the local executor and later back ends read
the same values, so what runs on a laptop is what runs in the pod. Sizes are bytes, times seconds, CPUs cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aifctl.contract import StepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """Devices a step asks for on one node. `resource` is the name the cluster knows them by (nvidia.com/gpu)."""

    name: str
    resource: str
    per_node: int
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVariable:
    """An environment variable whose value lies in a secret of the cluster; here is only its name and key."""

    name: str
    secret: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFile:
    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The user's code as a step gets it: baked into the image, sent along (`files`), or an archive in the store."""

    digest: str
    delivery: str
    """image | inline | archive"""
    files: tuple[CodeFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One ML step of a run."""

    spec: StepSpec
    parts: Mapping[str, str]
    """Field path → short hash of its value: the step's own identity, so that a plan can say what moved."""
    image: str | None
    """None in an environment that runs processes."""
    resources: Resources
    accelerator: Accelerator | None = None
    nodes: int = 1
    variables: tuple[Variable, ...] = ()
    secrets: tuple[SecretVariable, ...] = ()
    timeout: float | None = None
    retries: int = 2

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def after(self) -> tuple[str, ...]:
        """Names of the steps that end before this one starts."""
        return tuple(dict.fromkeys(n for n in (*self.spec.inputs, *self.spec.needs) if not n.startswith("data:")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    cron: str
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training run: steps in an order in which each comes after what it reads.

    `name` is `<model>-<first hex digits of digest>` (then `-a<attempt>` from the second attempt on); `digest` covers
    every step, so a run object never changes under its name.
    """

    name: str
    digest: str
    attempt: int
    steps: tuple[Step, ...]
    code: Code | None = None
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaling:
    min: int
    max: int
    metric: str
    """cpu (per cent of the request), concurrency (requests in flight a replica), or a custom metric's name."""
    target: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedBundle:
    """What serves: facts of a release file."""

    run: str
    export: str
    uri: str
    sha256: str
    format: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A model behind HTTP, lowered from its release, not from today's training section."""

    name: str
    bundle: ReleasedBundle
    image: str
    resources: Resources
    replicas: int
    autoscaling: Autoscaling | None
    max_batch: int
    batch_delay: float
    low_confidence: float | None
    accelerator: Accelerator | None = None
    variables: tuple[Variable, ...] = ()
    secrets: tuple[SecretVariable, ...] = ()
    log_sample: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDefaults:
    """What every pod of an environment gets besides its own. What the cluster defines is kept as it was written."""

    volumes: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    variables: tuple[Variable, ...] = ()
    secrets: tuple[str, ...] = ()
    """Names of secrets whose keys become environment variables."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    pull_secrets: tuple[str, ...] = ()
    pull_policy: str = "IfNotPresent"
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The environment a bundle is compiled for, as far as manifests depend on it."""

    environment: str
    namespace: str
    deliverer: str
    pod_security: str
    capabilities: Mapping[str, str] = field(default_factory=dict)
    store: str | None = None
    store_secret: str | None = None
    """Name of the secret whose keys become the environment of every pod that reads or writes the store."""
    tracking: str | None = None
    pods: PodDefaults = field(default_factory=PodDefaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything one model needs in one environment."""

    model: str
    tenant: str
    source: str
    """Path of the spec file, relative to the repository's root, posix form."""
    target: Target
    run: Run | None = None
    service: Service | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenancy:
    """A namespace of an environment before any model is in it: what its tenants may do and take there.

    None means no limit; `devices` counts by resource (nvidia.com/gpu).
    """

    environment: str
    namespace: str
    tenants: tuple[str, ...]
    """Usually one; several where the namespace's pattern does not tell them apart."""
    source: str
    """Path of the platform file, relative to the repository's root, posix form."""
    pod_security: str
    account: str
    """Whose rights models' objects are applied with."""
    cpu: float | None = None
    memory: int | None = None
    devices: Mapping[str, int] = field(default_factory=dict)
    scientists: tuple[str, ...] = ()
    """Groups that look …"""
    operators: tuple[str, ...] = ()
    """… and groups that act."""


SYSTEM_NAMESPACE = "aif-system"
"""Where aifctl keeps what it has applied, out of tenants' reach."""


def is_system(namespace: str) -> bool:
    """Whether a namespace is the cluster's or aifctl's own: no tenant may have it."""
    return namespace == SYSTEM_NAMESPACE or namespace.startswith("kube-")
