"""`<model>.lock.yaml`: what every moving name stood for when `aifctl lock` looked. Only that command writes it."""

from typing import Annotated, Literal

from pydantic import Field

from aifctl.spec.models.section import Integer, ModelName, Section, Sha256, Text


class LockedDataset(Section):
    source: Text = Field(description="The source as the spec named it, `path:…` or `uri:…`.")
    sha256: Sha256 | None = None
    version: Text | None = None
    size: Annotated[Integer, Field(ge=0)] | None = None

    @property
    def pin(self) -> str | None:
        """`sha256:<hex>` or `version:<text>`, as step inputs carry it."""
        if self.sha256 is not None:
            return f"sha256:{self.sha256}"
        return f"version:{self.version}" if self.version is not None else None


class LockedRequirements(Section):
    source: Sha256 = Field(description="SHA-256 of the requirements file that was resolved.")
    packages: tuple[Text, ...] = Field(description="`name==version --hash=sha256:…`, one a package, sorted.")


class Retry(Section):
    """`aifctl retry`: one more attempt at a run that failed; it counts for that run alone."""

    run: Text
    attempt: Annotated[Integer, Field(ge=2, le=999)]


class LockMetadata(Section):
    name: ModelName


class Lock(Section):
    api_version: Literal["aif.dev/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["Lock"]
    metadata: LockMetadata
    datasets: dict[Text, LockedDataset] = Field(default_factory=dict)
    requirements: LockedRequirements | None = None
    retry: dict[Text, Retry] = Field(default_factory=dict, description="By environment.")
