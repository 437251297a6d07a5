"""`releases/<env>/<model>.yaml`: the facts of what serves. Serving is lowered from it, not from today's spec."""

from typing import Annotated, Any, Literal

from pydantic import Field

from aifctl.spec.models.section import Integer, ModelName, Name, Number, Section, Sha256, Text


class ReleasedExport(Section):
    """One bundle of the released run."""

    uri: Text
    """Folder of the bundle in the store. Example: `s3://acme-models/steps/3f9a…/bundle`."""
    sha256: Sha256
    """Digest over the bundle's files; a server refuses to load anything else."""
    format: Text
    """Format of the model in the bundle. Example: `onnx`."""
    size: Annotated[Integer, Field(ge=0)]
    """Size of all files together, in bytes."""


class Evidence(Section):
    """What spoke for the release when it was made."""

    metrics: dict[Text, Number | Integer] = Field(default_factory=dict)
    """Metric → its value on the rows of `evaluation.split`. Example: `{accuracy: 0.971}`."""
    gate: dict[Text, dict[Text, Number | Integer]] = Field(default_factory=dict)
    """Metric → the bounds that it held. Example: `{accuracy: {min: 0.95}}`."""
    champion: dict[Text, Number | Integer] | None = None
    """Metrics of what served before, on the same rows; left out where nothing was compared."""


class ReleaseEntry(Section):
    """One run whose exports serve, with all that serving them takes."""

    run: Text
    """Name of the run; that of a run on a laptop begins with `local-`, and serves in `local` only.
    Example: `digits-3f9a1c20b7`."""
    train: Sha256
    """Digest of the training step: the identity of the weights."""
    exports: dict[Name, ReleasedExport]
    """Export → its bundle."""
    signature: dict[str, Any]
    """Names, types and shapes of the model's inputs and outputs."""
    image: Text | None = None
    """Image of the server, pinned by digest; the platform's `images.serve` when left out, none on this machine."""
    commit: Text | None = None
    """Git commit that the run was made from."""
    dirty: bool = False
    """Whether the run was made from a folder that differed from its commit."""
    evidence: Evidence = Field(default_factory=Evidence)
    """What spoke for the release when it was made."""


class ReleaseMetadata(Section):
    """Of which model, to which environment."""

    name: ModelName
    """Name of the model."""
    environment: Name
    """Name of the environment that it serves in. Example: `prod`."""


class Release(Section):
    """What serves of one model in one environment."""

    api_version: Literal["aif.dev/v1alpha1"] = Field(alias="apiVersion")
    """Version of the vocabulary that the document is written in."""
    kind: Literal["Release"]
    """Says that this document is a release."""
    metadata: ReleaseMetadata
    """Of which model, to which environment."""
    stable: ReleaseEntry
    """The run that serves."""
    candidate: ReleaseEntry | None = None
    """The run that is to serve next, while a rollout goes on."""
