"""Manifests inside a manifest: a ConfigMap's keys that hold objects which somebody else creates later.

They go through their own templates, so a platform may replace those too, and arrive as canonical YAML text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Manifest

LIMIT = 1_000_000
"""Bytes of a ConfigMap's values; the API server takes 1 MiB with everything around them."""
Render = Callable[[str, Mapping[str, Any]], Manifest | None]


@dataclass(frozen=True, slots=True)
class Nested:
    """Key → (template's name, what it is filled with)."""

    documents: Mapping[str, tuple[str, Mapping[str, Any]]]


def filled(context: Mapping[str, Any], render: Render) -> Mapping[str, Any]:
    """The context with each `Nested` as a mapping of key → YAML text. Raises Report: what `render` finds, AIF506."""
    if not any(type(value) is Nested for value in context.values()):
        return context
    return {name: _texts(value, render) if type(value) is Nested else value for name, value in context.items()}


def _texts(nested: Nested, render: Render) -> dict[str, str]:
    found = {key: (name, render(name, context)) for key, (name, context) in nested.documents.items()}
    for key, (name, manifest) in found.items():
        if manifest is None:
            message = f"template `{name}` leaves out `{key}`, which the object around it can't do without"
            raise Report(Diagnostic("AIF506", message, "let it make an object"))
    texts = {key: manifest.to_yaml() for key, (_, manifest) in found.items() if manifest is not None}
    size = sum(len(text.encode()) for text in texts.values())
    if size > LIMIT:
        message = f"{len(texts)} objects in one ConfigMap take {size} bytes, Kubernetes allows {LIMIT}"
        raise Report(Diagnostic("AIF510", message, "split the model, or push its code: it has many steps or files"))
    return texts
