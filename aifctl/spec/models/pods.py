"""`pod_defaults` of an environment: what every pod of it gets besides what its step or server asks for.

What goes into a manifest as it stands (volumes, mounts, tolerations) keeps Kubernetes' own names; the API server is
its judge. Our own fields are in snake_case, as everywhere.
"""

from typing import Any, Literal

from pydantic import Field

from aifctl.spec.models.section import Name, Section, Text, Variable

Copied = dict[Text, Any]
"""A piece of a manifest, as Kubernetes writes it."""


class PodDefaults(Section):
    """What every pod of an environment gets: of steps, of drivers of runs, of servers. In no digest of a step."""

    volumes: tuple[Copied, ...] = ()
    """Volumes, as Kubernetes writes them; which kinds are allowed says `pod_security`.
    Example: `[{name: ca, configMap: {name: ca}}]`."""
    volume_mounts: tuple[Copied, ...] = ()
    """Mounts of these volumes in every container, as Kubernetes writes them.
    Example: `[{name: ca, mountPath: /etc/ssl/private-ca, readOnly: true}]`."""
    env: dict[Variable, Text] = Field(default_factory=dict)
    """Environment variables, name → value; a model's own ones come before.
    Example: `{HTTPS_PROXY: http://proxy.example:3128}`."""
    env_from_secrets: tuple[Name, ...] = ()
    """Secrets whose keys become environment variables, all of them. Example: `[proxy-credentials]`."""
    node_selector: dict[Text, Text] = Field(default_factory=dict)
    """Labels that a node must have; those of an accelerator come before. Example: `{pool: ml}`."""
    tolerations: tuple[Copied, ...] = ()
    """Taints that every pod tolerates, as Kubernetes writes tolerations. Example: `[{key: ml, operator: Exists}]`."""
    image_pull_secrets: tuple[Name, ...] = ()
    """Secrets of private registries that images are pulled with. Example: `[registry]`."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When a node pulls an image: each time, only when it has none, never."""
    annotations: dict[Text, Text] = Field(default_factory=dict)
    """Annotations of every pod. Example: `{sidecar.istio.io/inject: "false"}`."""
