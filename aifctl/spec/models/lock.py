"""`<model>.lock.yaml`: what every moving name stood for when `aifctl lock` looked. Only that command writes it."""

from typing import Annotated, Literal

from pydantic import Field

from aifctl.spec.models.section import Integer, ModelName, Section, Sha256, Text


class LockedDataset(Section):
    """What one dataset held; `sha256` or `version` is its pin."""

    source: Text
    """The source as the spec named it, `path:…` or `uri:…`; a spec that names another one is to be locked anew.
    Example: `path:data/digits.csv`."""
    sha256: Sha256 | None = None
    """SHA-256 of the file's content."""
    version: Text | None = None
    """Version or ETag that the store told; then the content was not hashed."""
    size: Annotated[Integer, Field(ge=0)] | None = None
    """Size in bytes, where it was told. Example: `494000`."""

    @property
    def pin(self) -> str | None:
        """`sha256:<hex>` or `version:<text>`, as step inputs carry it."""
        if self.sha256 is not None:
            return f"sha256:{self.sha256}"
        return f"version:{self.version}" if self.version is not None else None


class LockedRequirements(Section):
    """The packages that `code.requirements` came to."""

    source: Sha256
    """SHA-256 of the requirements file that was resolved; with another one it is to be locked anew."""
    packages: tuple[Text, ...]
    """`name==version --hash=sha256:…`, one a package, sorted. Example: `[numpy==2.3.1 --hash=sha256:…]`."""


class Retry(Section):
    """`aifctl retry`: one more attempt at a run that failed; it counts for that run alone."""

    run: Text
    """Name of the run that failed, without an attempt's ending; another run starts at its first attempt again.
    Example: `digits-3f9a1c20b7`."""
    attempt: Annotated[Integer, Field(ge=2, le=999)]
    """Number of the attempt; the first one is never written down."""


class LockMetadata(Section):
    """Whose lock it is."""

    name: ModelName
    """Name of the model."""


class Lock(Section):
    """What every moving name of one model's spec stood for when `aifctl lock` looked."""

    api_version: Literal["aif.dev/v1alpha1"] = Field(alias="apiVersion")
    """Version of the vocabulary that the document is written in."""
    kind: Literal["Lock"]
    """Says that this document is a lock."""
    metadata: LockMetadata
    """Whose lock it is."""
    datasets: dict[Text, LockedDataset] = Field(default_factory=dict)
    """Dataset → what it held."""
    requirements: LockedRequirements | None = None
    """The packages that `code.requirements` came to; left out where the spec requires none."""
    retry: dict[Text, Retry] = Field(default_factory=dict)
    """Environment → one more attempt at a run that failed there."""
