"""How fast 1,000 objects come into a cluster: `python benchmarks/apply.py [--objects 1000] [--times 3] [--json FILE]`.

Whole processes of `aifctl` and of `kubectl --server-side`, in turn, on the same objects, each on a control plane of its
own that is just started (etcd, API server; the programs of the tests). The ratio of two that ran one after the other is
what counts: it hardly depends on the machine. kubectl reads the rendered tree; aifctl compiles the specs as well.
`benchmarks/floor.py` says beside them what the server alone needs for the same objects.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
TARGETS = {"plan, nothing to change": 1 / 3, "apply, new": 1 / 8, "apply, nothing to change": 1 / 15}


@dataclass(frozen=True, slots=True)
class Task:
    """One figure: what aifctl is asked, what kubectl, and with which exit codes both say that it went well."""

    name: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    ends: tuple[int, ...] = (0,)
    times: int = 1
    """How often in a round: often where it changes nothing."""


FLOOR = "the server alone, new"
DIFF = ("diff", "--server-side", "--recursive", "-f", "rendered")
APPLY = ("apply", "--server-side", "--recursive", "-f", "rendered")
OURS = ("--env", fleet_specs.ENVIRONMENT, "--context", "test")
TASKS = (
    Task("apply, new", ("apply", *OURS), APPLY),
    Task("plan, nothing to change", ("plan", "--against", "cluster", *OURS), DIFF, (0, 1), 5),
    Task("apply, nothing to change", ("apply", *OURS), APPLY, times=9),
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
    found = [_figure(name, [pair for each in rounds for pair in each[name]]) for name in rounds[0]]
    _tell(objects, found)
    if options.json:
        result = {"machine": measure.machine(), "objects": objects, "figures": [asdict(each) for each in found]}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds of the fastest process of each, and the median of what kubectl took to one second of ours."""

    name: str
    ours: float
    theirs: float
    times: float
    least: float
    most: float


def _figure(name: str, pairs: Sequence[tuple[float, float]]) -> Figure:
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    ours, theirs = (min(pair[side] for pair in pairs) for side in (0, 1))
    return Figure(name, ours, theirs, statistics.median(ratios), ratios[0], ratios[-1])


def _round(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Seconds of aifctl and of kubectl for each task, in turn, each on a control plane of its own: on a machine whose
    speed varies, only what ran one after the other can be compared."""
    kubectl = str(binaries() / "kubectl")
    found = {}
    with _plane() as ours, _plane() as theirs:
        _apply_namespaces(folder, theirs)  # kubectl creates nothing in a namespace that comes later in the same run
        for task in TASKS:
            found[task.name] = [
                (
                    _seconds((*measure.AIFCTL, *task.ours), folder, ours, task.ends),
                    _seconds((kubectl, *task.theirs), folder, theirs, task.ends),
                )
                for _ in range(task.times)
            ]
    floor = _floor(folder)
    found[FLOOR] = [(floor, theirs) for _, theirs in found[TASKS[0].name]]
    return found


@contextmanager
def _plane() -> Iterator[ControlPlane]:
    with ControlPlane(controllers=False) as plane:
        install_crds(plane, *KINDS)
        yield plane


def _seconds(command: tuple[str, ...], folder: Path, plane: ControlPlane, ends: tuple[int, ...]) -> float:
    os.environ["KUBECONFIG"] = str(plane.kubeconfig)
    shutil.rmtree(folder / ".kube", ignore_errors=True)
    return measure.run(command, folder, ends).seconds


def _floor(folder: Path) -> float:
    """Seconds that the same objects take without a client to speak of, on a control plane of their own."""
    with _plane() as plane:
        _apply_namespaces(folder, plane)
        os.environ["KUBECONFIG"] = str(plane.kubeconfig)
        command = (sys.executable, str(Path(__file__).with_name("floor.py")), str(folder / "rendered"))
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _apply_namespaces(folder: Path, plane: ControlPlane) -> None:
    files = sorted((folder / "rendered").rglob("namespace-*.yaml"))
    listed = [part for file in files for part in ("-f", str(file))]
    _seconds((str(binaries() / "kubectl"), "apply", "--server-side", *listed), folder, plane, (0,))


def _tell(objects: int, found: Sequence[Figure]) -> None:
    print(f"{measure.machine()}: {objects} objects; fastest whole process of each, median (extremes) of the ratios")
    for each in found:
        target = f"target 1/{1 / TARGETS[each.name]:.0f}" if each.name in TARGETS else ""
        ratio = f"1/{each.times:.1f} (1/{each.least:.1f} to 1/{each.most:.1f})"
        print(f"  {each.name:26} aifctl {each.ours:6.2f} s   kubectl {each.theirs:6.2f} s   {ratio}   {target}")


if __name__ == "__main__":
    sys.exit(main())
