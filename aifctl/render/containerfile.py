"""A Containerfile: the runtime image, locked packages, then the code, so that a changed line is one small layer."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`base` is an image reference, `code` a folder relative to the build context; `locked`: packages are installed."""

    base: str
    code: str
    model: str
    locked: bool


def containerfile(image: Image) -> str:
    """The file's text. Paths are written as JSON arrays, so blanks in them are no separators."""
    install = (
        "COPY requirements.lock.txt /tmp/requirements.lock.txt\n"
        "RUN python -m pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.lock.txt\n"
    )
    return (
        f"# Written by `aifctl build` for model {image.model}.\n"
        f"FROM {image.base}\n"
        "USER root\n"
        f"{install if image.locked else ''}"
        f"COPY {json.dumps([image.code.rstrip('/') + '/', '/app/'])}\n"
        "USER 65532:65532\n"
    )
