"""`releases/<env>/<model>.yaml`: the facts of what serves. Serving is lowered from it, not from today's spec."""

from typing import Annotated, Any, Literal

from pydantic import Field

from aifctl.spec.models.section import Integer, ModelName, Name, Number, Section, Sha256, Text


class ReleasedExport(Section):
    """One bundle of the released run."""

    uri: Text = Field(description="Folder of the bundle in the store.")
    sha256: Sha256 = Field(description="Digest over the bundle's files.")
    format: Text
    size: Annotated[Integer, Field(ge=0)]


class Evidence(Section):
    """What spoke for the release when it was made."""

    metrics: dict[Text, Number | Integer] = Field(default_factory=dict)
    gate: dict[Text, dict[Text, Number | Integer]] = Field(default_factory=dict)
    champion: dict[Text, Number | Integer] | None = Field(
        None, description="Metrics of what served before, on the same rows."
    )


class ReleaseEntry(Section):
    run: Text
    train: Sha256 = Field(description="Digest of the training step.")
    exports: dict[Name, ReleasedExport]
    signature: dict[str, Any]
    image: Text | None = Field(None, description="Serving image, pinned by digest; none on this machine.")
    commit: Text | None = Field(None, description="Git commit the run was made from.")
    dirty: bool = False
    evidence: Evidence = Field(default_factory=Evidence)


class ReleaseMetadata(Section):
    name: ModelName
    environment: Name


class Release(Section):
    api_version: Literal["aif.dev/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["Release"]
    metadata: ReleaseMetadata
    stable: ReleaseEntry
    candidate: ReleaseEntry | None = None
