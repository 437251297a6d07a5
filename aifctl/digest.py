"""Content digests: canonical JSON, values, files and folders. The same bytes on every machine, locale and Python."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

SHORT = 10
"""Hex digits of a digest shown to people and used in object names."""
CHUNK = 1 << 20
CACHES = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints")
IGNORED_FOLDERS = frozenset({"__pycache__", ".git", ".venv", ".aif", *CACHES})
IGNORED_SUFFIXES = (".pyc", ".pyo", ".swp", "~")
IGNORED_NAMES = frozenset({".DS_Store"})


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no blanks and ASCII only. Raises ValueError for NaN and infinities, TypeError for others.

    A float without a fraction is written as an integer (1.0 as 1), so `1` and `1.0` in YAML are one value.
    """
    return encode_basestring_ascii(value) if type(value) is str else _ENCODER.encode(_plain(value))


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_LEAVES = frozenset({str, int, bool, type(None)})
"""Most values are of these types: they are passed over without a call."""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): item if type(item) in _LEAVES else _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _LEAVES else _plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_value(value: Any) -> str:
    """sha256 of the canonical JSON, 64 hex digits."""
    return of_text(canonical_json(value))


def of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """sha256 of a file's bytes, read in chunks. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def tree_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Files below root as (posix path relative to it, path), sorted by that path; caches and editors' files left out.

    Raises ValueError for a symbolic link: what it points at could lie outside the tree.
    """
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = [name for name in folders if name not in IGNORED_FOLDERS]
        above = "" if folder == str(root) else f"{os.path.relpath(folder, root)}/"
        for name in [*folders, *names]:
            if os.path.islink(f"{folder}/{name}"):  # noqa: PTH114 - hot, as all of this
                raise ValueError(f"{above}{name} is a symbolic link")
        kept = (name for name in names if name not in IGNORED_NAMES and not name.endswith(IGNORED_SUFFIXES))
        found |= {f"{above}{name}": f"{folder}/{name}" for name in kept}
    yield from ((name, Path(found[name])) for name in sorted(found))


def of_files(files: dict[str, str]) -> str:
    """Digest of a folder from its {relative path: sha256}; names and contents count, times and modes do not."""
    return of_value(files)


def of_tree(root: Path) -> str:
    """`of_files` of everything below root. Raises OSError, ValueError for symbolic links."""
    return of_files({name: of_file(path) for name, path in tree_files(root)})
