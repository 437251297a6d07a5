"""Finds files that travel with aifctl: templates and JSON Schemas. Imports nothing of aifctl, reads no file's content.

They lie in the wheel under `aifctl/_data/`, else (an editable install, a checkout) at the checkout's top level.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def template_path(name: str) -> Path:
    """Path of a template by its name, such as `argo/workflow.yaml.j2`; `""` is the folder. Raises FileNotFoundError."""
    return _path("templates", name)


def schema_path(name: str) -> Path:
    """Path of a JSON Schema by its file name; `""` is the folder. Raises FileNotFoundError."""
    return _path("schemas", name)


def _path(folder: str, name: str) -> Path:
    root = _root(folder)
    path = (root / name).resolve()
    if not path.is_relative_to(root) or not path.exists():
        raise FileNotFoundError(f"aifctl has no {folder} file {name!r} (looked in {root})")
    return path


@cache
def _root(folder: str) -> Path:
    places = (PACKAGE / "_data" / folder, PACKAGE.parent / folder)
    for place in places:
        if place.is_dir():
            return place.resolve()
    raise FileNotFoundError(f"this installation of aifctl lacks its {folder} (looked in {places[0]} and {places[1]})")
