"""`render`: every back end that has something to say about a bundle: the engine of its run, then `BACK_ENDS`.

`render_ground`: what an environment needs before any bundle; `render_reconciler`: what applies it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl import ir
from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Manifest, in_order
from aifctl.render import ownership
from aifctl.render.nested import filled

if TYPE_CHECKING:
    from aifctl.render.backends.reconciler import Reconciler

ENGINES = (("argo-workflows", "argo"),)
"""Capability of an environment → back end that runs steps there: the first it has. One engine an environment."""
PLAIN = "jobs"
"""The engine where the cluster has none of them: Kubernetes itself."""
BACK_ENDS = ("kubernetes",)
"""Modules of `render.backends`; each has `objects(bundle)` that yields template names and what they are filled with."""

Filling = tuple[str, Mapping[str, Any]]
Objects = Callable[[ir.Bundle], Iterator[Filling]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    templates: Path | None = None
    """The platform's own templates; one of the same name (`argo/workflow.yaml.j2`) replaces aifctl's."""


def render(bundle: ir.Bundle, options: RenderOptions | None = None) -> list[Manifest]:
    """Manifests of one model in one environment, in apply order.

    Raises Report with all findings: AIF501 to AIF510.
    """
    findings: list[Diagnostic] = []
    return _rendered(_objects(bundle, findings), findings, options or RenderOptions())


def engine(target: ir.Target) -> str:
    """The back end that runs steps in this environment."""
    return next((name for capability, name in ENGINES if capability in target.capabilities), PLAIN)


def render_ground(tenancies: Iterable[ir.Tenancy], options: RenderOptions | None = None) -> list[Manifest]:
    """Manifests of the tenants' namespaces in one environment, in apply order. Raises Report as `render` does."""
    from aifctl.render.backends import tenancy

    fillings = (filling for each in tenancies for filling in tenancy.objects(each))
    return _rendered(fillings, [], options or RenderOptions())


def render_reconciler(reconciler: Reconciler, options: RenderOptions | None = None) -> list[Manifest]:
    """Manifests that run `aifctl reconcile`, in apply order. Raises Report as `render` does."""
    from aifctl.render.backends import reconciler as back_end

    return _rendered(back_end.objects(reconciler), [], options or RenderOptions())


def _rendered(fillings: Iterable[Filling], findings: list[Diagnostic], options: RenderOptions) -> list[Manifest]:
    """`findings` grow while the fillings are made. Raises Report with them and its own."""
    # Jinja2 takes 30 ms to import: only who renders pays for it.
    from aifctl.render.environment import templates

    found = templates(options.templates)
    manifests: list[Manifest] = []
    for name, context in fillings:
        try:
            manifest = found.render(name, filled(context, found.render))
        except Report as report:
            findings += report.diagnostics
            continue
        if manifest is not None:
            manifests.append(manifest)
            findings += ownership.unfit(manifest)
    if findings:
        raise Report(*dict.fromkeys(findings))
    return in_order(manifests)


def _objects(bundle: ir.Bundle, findings: list[Diagnostic]) -> Iterator[Filling]:
    for name in (engine(bundle.target), *BACK_ENDS):
        objects: Objects = import_module(f"aifctl.render.backends.{name}").objects
        try:
            yield from objects(bundle)
        except Report as report:
            findings += report.diagnostics
