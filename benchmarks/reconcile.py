"""What `aifctl reconcile` costs at rest: `python benchmarks/reconcile.py [--objects 10000] [--rest 60] [--json FILE]`.

One process keeps an environment of so many objects on a control plane that is just started (etcd, API server; the
programs of the tests). All it asks goes through a proxy that counts. Then objects are edited and deleted by hand, and
the time until they are right again is taken.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fleet_specs
import measure

from tests.controlplane.cluster import Object
from tests.controlplane.fixtures import install_crds
from tests.controlplane.plane import ControlPlane
from tests.controlplane.proxy import FaultProxy
from tests.reconcile.process import Reconciler

A_MODEL = 12
"""Objects of one model; tenants' own come on top."""
LONG = 1800.0
"""Seconds that the first apply may take."""
SETTLES = 10.0
"""Seconds after the first look in which watches catch up."""
REPAIRS = 5
TARGETS = {"writes": 0, "reads of single objects": 0, "RSS, MB": 400, "slowest repair, s": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    objects: int
    units: int
    first_apply: float
    """Seconds from the start of the process to everything applied."""
    start: float
    """Seconds of a start on a cluster that is as it should be, to everything looked at."""
    rest: float
    requests: dict[str, int]
    """At rest, by verb."""
    writes: int
    reads: int
    rss: float
    """MB at the end of the rest."""
    peak: float
    repairs: tuple[float, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=10_000, help="objects of models, about (default: 10000)")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds of rest that are counted (default: 60)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="aifctl-reconcile-") as scratch,
        ControlPlane(controllers=False) as plane,
        FaultProxy(plane) as proxy,
    ):
        install_crds(plane, "argo-workflows")
        folder = _repository(Path(scratch, "fleet"), max(1, options.objects // A_MODEL))
        found = _measured(plane, proxy, folder, options.rest)
    _tell(found)
    if options.json:
        options.json.write_text(json.dumps({"machine": measure.machine(), **asdict(found)}, indent=2) + "\n")
    return 0


def _repository(folder: Path, models: int) -> Path:
    folder.mkdir()
    fleet_specs.write(folder, models, "aifctl")
    named = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    for words in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "-A"),
        (*named, "commit", "--quiet", "-m", "all"),
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def _measured(plane: ControlPlane, proxy: FaultProxy, folder: Path, rest: float) -> Figures:
    state = folder.parent / "state"
    begun = time.perf_counter()
    with Reconciler(folder, fleet_specs.ENVIRONMENT, plane.kubeconfig, state, "--as-myself", "--once") as process:
        if process.ended(LONG):
            raise RuntimeError("\n".join(map(json.dumps, process.lines[-20:])) + process.faults)
        first = time.perf_counter() - begun
    options = ("--as-myself", "--interval", "60s")
    begun = time.perf_counter()
    with Reconciler(folder, fleet_specs.ENVIRONMENT, proxy.kubeconfig, state, *options) as process:
        units = int(process.wait("synced", LONG)["units"])
        start = time.perf_counter() - begun
        time.sleep(SETTLES)
        proxy.clear()
        time.sleep(rest)
        requests = Counter(each.verb for each in list(proxy.requests) if "/leases/" not in each.path)
        writes = proxy.writes(ignoring="/leases/")
        reads = proxy.reads_of_objects(ignoring="/leases/")
        rss, peak = _memory(process.process.pid)
        repairs = tuple(_repaired(plane, process, number) for number in range(REPAIRS))
        process.terminate()
    return Figures(
        objects=sum(len(plane.list(version, kind)) for version, kind in KINDS),
        units=units,
        first_apply=first,
        start=start,
        rest=rest,
        requests=dict(requests),
        writes=len(writes),
        reads=len(reads),
        rss=rss,
        peak=peak,
        repairs=repairs,
    )


KINDS = (
    ("v1", "ConfigMap"), ("v1", "Service"), ("v1", "ServiceAccount"), ("apps/v1", "Deployment"),
    ("argoproj.io/v1alpha1", "Workflow"), ("autoscaling/v2", "HorizontalPodAutoscaler"), ("v1", "Secret"),
    ("policy/v1", "PodDisruptionBudget"), ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "Role"), ("rbac.authorization.k8s.io/v1", "RoleBinding"),
)  # fmt: skip


def _repaired(plane: ControlPlane, process: Reconciler, number: int) -> float:
    """Seconds from a change by hand until the object is right again: an edit, a deletion, in turns."""
    name = fleet_specs.model_name(number)
    metadata = {"name": name, "namespace": f"team-{number % fleet_specs.TENANTS:02d}"}
    service: Object = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    old = plane.get(service)
    assert old is not None
    if number % 2:
        plane.delete(service)
        right: Callable[[Object | None], bool] = lambda live: live is not None  # noqa: E731
    else:
        plane.patch(service, {"spec": {"ports": [{**old["spec"]["ports"][0], "port": 9999}]}}, manager="kubectl-edit")
        right = lambda live: live is not None and live["spec"]["ports"] == old["spec"]["ports"]  # noqa: E731
    begun = time.perf_counter()
    process.until(lambda: right(plane.get(service)), 60, f"repair of {name}")
    return time.perf_counter() - begun


def _memory(pid: int) -> tuple[float, float]:
    """(resident, peak) in MB."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(rows[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def _tell(found: Figures) -> None:
    print(f"{measure.machine()}: {found.objects} objects in {found.units} units")
    print(f"  first apply, whole process {found.first_apply:8.1f} s")
    print(f"  start when all is as it should be {found.start:.1f} s")
    verbs = ", ".join(f"{count} {verb}" for verb, count in sorted(found.requests.items())) or "none"
    print(f"  at rest for {found.rest:.0f} s: {verbs} ({sum(found.requests.values()) / found.rest * 60:.1f} a minute)")
    values = (found.writes, found.reads, found.rss, max(found.repairs))
    for (name, target), value in zip(TARGETS.items(), values, strict=True):
        print(f"  {name:26} {value:8.2f}   target {target}")
    print(f"  peak RSS, MB               {found.peak:8.2f}")
    print(f"  repairs, s                 {', '.join(f'{each:.2f}' for each in found.repairs)}")


if __name__ == "__main__":
    sys.exit(main())
