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
    volumes: tuple[Copied, ...] = Field(
        (), description="Volumes, as Kubernetes writes them.", examples=[[{"name": "ca", "configMap": {"name": "ca"}}]]
    )
    volume_mounts: tuple[Copied, ...] = Field(
        (),
        description="Mounts of these volumes in every container, as Kubernetes writes them.",
        examples=[[{"name": "ca", "mountPath": "/etc/ssl/private-ca", "readOnly": True}]],
    )
    env: dict[Variable, Text] = Field(
        default_factory=dict,
        description="Environment variables; a model's own ones come before.",
        examples=[{"HTTPS_PROXY": "http://proxy.example:3128"}],
    )
    env_from_secrets: tuple[Name, ...] = Field((), description="Secrets whose keys become environment variables.")
    node_selector: dict[Text, Text] = Field(
        default_factory=dict, description="Labels of nodes; those of an accelerator come before."
    )
    tolerations: tuple[Copied, ...] = ()
    image_pull_secrets: tuple[Name, ...] = ()
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    annotations: dict[Text, Text] = Field(default_factory=dict, description="Annotations of every pod.")
