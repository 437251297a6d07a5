"""`render`: every back end that has something to say about a bundle, in the order of `BACK_ENDS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from aifctl import ir
from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Manifest, in_order
from aifctl.render import ownership

BACK_ENDS = ("argo", "kubernetes")
"""Modules of `render.backends`; each has `objects(bundle)` that yields template names and what they are filled with."""

Objects = Callable[[ir.Bundle], Iterator[tuple[str, Mapping[str, Any]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    templates: Path | None = None
    """The platform's own templates; one of the same name (`argo/workflow.yaml.j2`) replaces aifctl's."""


def render(bundle: ir.Bundle, options: RenderOptions | None = None) -> list[Manifest]:
    """Manifests of one model in one environment, in apply order.

    Raises Report with all findings: AIF501 to AIF510.
    """
    # Jinja2 takes 30 ms to import: only who renders pays for it.
    from aifctl.render.environment import templates

    found, findings = templates((options or RenderOptions()).templates), list[Diagnostic]()
    manifests: list[Manifest] = []
    for name, context in _objects(bundle, findings):
        try:
            manifest = found.render(name, context)
        except Report as report:
            findings += report.diagnostics
            continue
        if manifest is not None:
            manifests.append(manifest)
            findings += ownership.unfit(manifest)
    if findings:
        raise Report(*dict.fromkeys(findings))
    return in_order(manifests)


def _objects(bundle: ir.Bundle, findings: list[Diagnostic]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in BACK_ENDS:
        objects: Objects = import_module(f"aifctl.render.backends.{name}").objects
        try:
            yield from objects(bundle)
        except Report as report:
            findings += report.diagnostics
