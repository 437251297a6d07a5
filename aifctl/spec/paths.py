"""Paths that specs name stay inside the spec's folder: no `..`, no absolute paths, no symbolic links that lead out."""

from __future__ import annotations

from pathlib import Path, PurePosixPath


def inside(base: Path, relative: str) -> Path:
    """base / relative. Raises ValueError, in words for a diagnostic, when that would lie outside of base."""
    pure = PurePosixPath(relative)
    if pure.is_absolute() or relative.startswith("~") or "\\" in relative or "\0" in relative:
        raise ValueError("is not a path relative to the spec")
    if ".." in pure.parts:
        raise ValueError("leaves the spec's folder by `..`")
    path = base / pure
    root = base.resolve()
    if not path.resolve().is_relative_to(root):
        raise ValueError("leaves the spec's folder by a symbolic link")
    return path


def shown(path: Path, start: Path) -> str:
    """The path relative to start where it lies below it, in posix form; else as it is."""
    resolved, root = path.absolute(), start.absolute()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else resolved.as_posix()
