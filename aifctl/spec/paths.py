"""Paths that specs name stay inside the spec's folder: no `..`, no absolute paths, no symbolic links that lead out."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def inside(base: Path, relative: str) -> Path:
    """base / relative. Raises ValueError, in words for a diagnostic, when that would lie outside of base."""
    pure = PurePosixPath(relative)
    if pure.is_absolute() or relative.startswith("~") or "\\" in relative or "\0" in relative:
        raise ValueError("is not a path relative to the spec")
    if ".." in pure.parts:
        raise ValueError("leaves the spec's folder by `..`")
    path = base / pure
    root = os.path.realpath(base)
    real = os.path.realpath(path)
    if real != root and not real.startswith(root.rstrip("/") + "/"):
        raise ValueError("leaves the spec's folder by a symbolic link")
    return path


def shown(path: Path, start: Path) -> str:
    """The path relative to start where it lies below it, in posix form; else as it is."""
    # On strings: a fleet asks this thousands of times.
    found, root = _absolute(path), _absolute(start)
    if found == root:
        return "."
    above = root.rstrip("/") + "/"
    return found.removeprefix(above)


def _absolute(path: Path) -> str:
    text = str(path)
    return text if text[0] == "/" else os.getcwd() if text == "." else os.path.join(os.getcwd(), text)  # noqa: PTH109, PTH118
