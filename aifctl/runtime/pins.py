"""Looks up what a remote dataset is now: the version the store tells, else the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from aifctl.diagnostics import Diagnostic, Report

CHUNK = 1 << 20
VERSIONS = ("VersionId", "version_id", "generation", "etag", "ETag")
"""Keys under which file systems tell an object's version, the most exact first (S3, GCS, Azure, HTTP)."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Exactly one of sha256 and version is set; size is bytes, None where the server does not say."""

    sha256: str | None
    version: str | None
    size: int | None


def look_up(uri: str) -> Pin:
    """The pin of what lies at a URL now. Raises Report when it can't be read."""
    import fsspec

    try:
        file_system, path = fsspec.core.url_to_fs(uri)
        info: dict[str, Any] = file_system.info(path)
        version = next((str(info[key]).strip('"') for key in VERSIONS if info.get(key)), None)
        if version is not None:
            return Pin(None, version, info.get("size"))
        hashed, size = hashlib.sha256(), 0
        with file_system.open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                hashed.update(chunk)
                size += len(chunk)
        return Pin(hashed.hexdigest(), None, size)
    except ImportError as error:
        raise Report(Diagnostic("AIF124", f"{uri} can't be read: {error}", "install what this scheme needs")) from None
    except Exception as error:  # noqa: BLE001 - stores raise what their own libraries have: no credentials, no bucket
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Report(Diagnostic("AIF124", f"{uri} can't be read: {reason}")) from None
