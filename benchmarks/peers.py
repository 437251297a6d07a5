"""The same objects by `kustomize build` and `helm template`, where those are on PATH (`make bench-peers` builds them).

Both get the manifests that aifctl rendered for one model, so all three write the same kinds and sizes of objects:
kustomize as a base with an overlay a model (own namespace, name prefix, labels and a patched image) and one
kustomization over all overlays, in one process; helm as a chart with the same objects as templates (name, namespace
and image are values), one process a release, which is how it works.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import yaml

OVERLAYS = 100
RELEASES = 20


@dataclass(frozen=True, slots=True)
class Peer:
    """`seconds` for `objects` objects, of the fastest run; rate in objects a second."""

    version: str
    objects: int
    seconds: float
    rate: float


def figures(rendered: Path, times: int) -> dict[str, Peer]:
    """Figures of the peers that are installed; `rendered` is the tree of one environment."""
    model = next(folder for folder in sorted(rendered.glob("*/*")) if folder.is_dir() and folder.parent.name[0] != "_")
    manifests = {path.name: path.read_text() for path in sorted(model.rglob("*.yaml"))}
    found: dict[str, Peer] = {}
    for name, measured in PEERS.items():
        if shutil.which(name.split()[0]):
            with tempfile.TemporaryDirectory(prefix="aifctl-peer-") as folder:
                found[name] = measured(Path(folder), manifests, times)
    return found


def _kustomize(folder: Path, manifests: dict[str, str], times: int) -> Peer:
    base = folder / "base"
    base.mkdir()
    for name, text in manifests.items():
        (base / name).write_text(text)
    _kustomization(base, {"resources": list(manifests)})
    for number in range(OVERLAYS):
        overlay = folder / f"overlay-{number:03d}"
        overlay.mkdir()
        _kustomization(
            overlay,
            {
                "resources": ["../base"],
                "namespace": f"team-{number:03d}",
                "namePrefix": f"m{number:03d}-",
                "labels": [{"pairs": {"model": f"model-{number:03d}"}}],
                "images": [{"name": "registry.example/aif-serve", "newName": f"registry.example/serve-{number:03d}"}],
            },
        )
    _kustomization(folder, {"resources": [f"overlay-{number:03d}" for number in range(OVERLAYS)]})
    timings = [measure.run(("kustomize", "build", "."), folder).seconds for _ in range(times)]
    return _peer(("kustomize", "version"), OVERLAYS * len(manifests), min(timings))


def _kustomization(folder: Path, content: dict[str, Any]) -> None:
    top = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(top | content))


def _helm(folder: Path, manifests: dict[str, str], times: int) -> Peer:
    templates = folder / "chart" / "templates"
    templates.mkdir(parents=True)
    (folder / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: model\nversion: 0.1.0\n")
    for name, text in manifests.items():
        # Text of ours that looks like a template tag (Argo's own) is kept as it is; then names become values.
        kept = text.replace("{{", "{{`{{`}}")
        own = yaml.safe_load(text)["metadata"]["namespace"]
        (templates / name).write_text(kept.replace(f"namespace: {own}", "namespace: {{ .Release.Namespace }}"))
    timings = []
    for _ in range(times):
        commands = [
            ("helm", "template", f"m{number:03d}", "chart", "--namespace", f"team-{number:03d}")
            for number in range(RELEASES)
        ]
        timings.append(sum(measure.run(command, folder).seconds for command in commands))
    return _peer(("helm", "version", "--short"), RELEASES * len(manifests), min(timings))


def _peer(version: tuple[str, ...], objects: int, seconds: float) -> Peer:
    told = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    return Peer(f"{version[0]} {told}", objects, seconds, objects / seconds)


PEERS: dict[str, Callable[[Path, dict[str, str], int], Peer]] = {"kustomize build": _kustomize, "helm template": _helm}
