"""How fast 1,000 objects come into a cluster: `python benchmarks/apply.py [--objects 1000] [--times 3] [--json FILE]`.

Whole processes of `aifctl` and of `kubectl --server-side`, on the same objects, each on a control plane of its own that
is just started (etcd, API server; the programs of the tests). The ratio is what counts: it hardly depends on the
machine. kubectl reads the rendered tree; aifctl compiles the specs as well. `benchmarks/floor.py` says beside them what
the server alone needs for the same objects.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fleet_specs
import measure

from tests.controlplane.binaries import binaries
from tests.controlplane.fixtures import install_crds
from tests.controlplane.plane import ControlPlane

A_MODEL = 12
"""Objects of one model; tenants' own come on top."""
KINDS = ("argo-workflows",)
TARGETS = {"plan, nothing to change": 1 / 3, "plan, everything new": 1 / 3, "apply, new": 1 / 8,
           "apply, nothing to change": 1 / 15}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """One figure: what aifctl is asked, what kubectl, and with which exit codes both say that it went well."""

    name: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    ends: tuple[int, ...] = (0,)
    times: int = 1
    """How often in a round: as often as it changes nothing. The fastest counts, for both."""


DIFF = ("diff", "--server-side", "--recursive", "-f", "rendered")
APPLY = ("apply", "--server-side", "--recursive", "-f", "rendered")
OURS = ("--env", fleet_specs.ENVIRONMENT, "--context", "test")
TASKS = (
    Task("apply, new", ("apply", *OURS), APPLY),
    Task("plan, nothing to change", ("plan", "--against", "cluster", *OURS), DIFF, (0, 1), 3),
    Task("apply, nothing to change", ("apply", *OURS), APPLY, times=3),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=1000, help="objects of models, about (default: 1000)")
    parser.add_argument("--times", type=int, default=3, help="rounds, each on new control planes (default: 3)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aifctl-apply-") as scratch:
        folder = Path(scratch, "fleet")
        folder.mkdir()
        fleet_specs.write(folder, max(1, options.objects // A_MODEL), "aifctl")
        measure.run((*measure.AIFCTL, "render", "--env", fleet_specs.ENVIRONMENT), folder)
        objects = sum(1 for _ in (folder / "rendered").rglob("*.yaml"))
        rounds = [_round(folder) for _ in range(options.times)]
        least = min(_floor(folder) for _ in range(options.times))
    best = {task.name: tuple(min(r[task.name][side] for r in rounds) for side in (0, 1)) for task in TASKS}
    _tell(objects, best)
    theirs = best["apply, new"][1]
    print(f"  {'the server alone, new':26} floor  {least:6.2f} s   kubectl {theirs:6.2f} s   1/{theirs / least:.1f}")
    if options.json:
        figures = {name: {"aifctl": ours, "kubectl": theirs} for name, (ours, theirs) in best.items()}
        result = {"machine": measure.machine(), "objects": objects, "seconds": figures, "floor": least}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _round(folder: Path) -> dict[str, tuple[float, float]]:
    """Seconds of aifctl and of kubectl for each task, one after the other on their own control planes."""
    ours = _on_a_new_one(folder, [(*measure.AIFCTL, *task.ours) for task in TASKS])
    kubectl = str(binaries() / "kubectl")
    theirs = _on_a_new_one(folder, [(kubectl, *task.theirs) for task in TASKS], namespaces=True)
    return {task.name: pair for task, pair in zip(TASKS, zip(ours, theirs, strict=True), strict=True)}


def _on_a_new_one(folder: Path, commands: Sequence[tuple[str, ...]], *, namespaces: bool = False) -> list[float]:
    with ControlPlane(controllers=False) as plane:
        install_crds(plane, *KINDS)
        os.environ["KUBECONFIG"] = str(plane.kubeconfig)
        if namespaces:  # kubectl creates nothing in a namespace that comes later in the same run
            _apply_namespaces(folder)
        seconds = []
        for command, task in zip(commands, TASKS, strict=True):
            runs = []
            for _ in range(task.times):
                shutil.rmtree(folder / ".kube", ignore_errors=True)
                runs.append(measure.run(command, folder, task.ends).seconds)
            seconds.append(min(runs))
        return seconds


def _floor(folder: Path) -> float:
    """Seconds that the same objects take without a client to speak of, on a control plane of their own."""
    with ControlPlane(controllers=False) as plane:
        install_crds(plane, *KINDS)
        os.environ["KUBECONFIG"] = str(plane.kubeconfig)
        _apply_namespaces(folder)
        command = (sys.executable, str(Path(__file__).with_name("floor.py")), str(folder / "rendered"))
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _apply_namespaces(folder: Path) -> None:
    files = sorted((folder / "rendered").rglob("namespace-*.yaml"))
    listed = [part for file in files for part in ("-f", str(file))]
    measure.run((str(binaries() / "kubectl"), "apply", "--server-side", *listed), folder)


def _tell(objects: int, best: dict[str, tuple[float, ...]]) -> None:
    print(f"{measure.machine()}: {objects} objects, fastest whole process of each")
    for name, (ours, theirs) in best.items():
        target = f"target 1/{1 / TARGETS[name]:.0f}"
        print(f"  {name:26} aifctl {ours:6.2f} s   kubectl {theirs:6.2f} s   1/{theirs / ours:.1f}   {target}")


if __name__ == "__main__":
    sys.exit(main())
