"""How fast many models compile to files: `python benchmarks/fleet.py [--models 1000] [--json FILE] [--no-peers]`.

Four figures of `aifctl render` on a repository made for this (see fleet_specs.py), whole processes each:
cold (no tree, no cache), again with nothing changed, one model of them changed, and `--check`. Beside them, where they
are installed, `kustomize build` and `helm template` on the same objects (see peers.py); the ratio of rates is what
counts, for it hardly depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import fleet_specs
import measure
import peers

RENDER = (*measure.AIFCTL, "render", "--env", fleet_specs.ENVIRONMENT)
TREE = "rendered"
CACHES = (".aif",)
"""Folders a former run may have left facts in; removed before a cold one."""
TARGETS = {"cold": 3.0, "one changed": 0.5}


@dataclass(frozen=True, slots=True)
class Figure:
    """`seconds` of the fastest run, which other work on the machine disturbed least; `median` of all of them."""

    seconds: float
    median: float
    processor: float
    """User and system seconds of all its processes; the most of the runs."""
    peak: int
    """Resident bytes of the largest of its processes; the most of the runs."""
    rate: float
    """Objects a second."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=1000, help="models in the repository (default: 1000)")
    parser.add_argument("--times", type=int, default=3, help="runs of each figure (default: 3)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--no-peers", action="store_true", help="leave kustomize and helm out")
    parser.add_argument("--keep", type=Path, help="make the repository in this new folder and leave it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aifctl-fleet-") as scratch:
        folder = options.keep or Path(scratch, "fleet")
        folder.mkdir()
        fleet_specs.write(folder, options.models)
        objects, figures = _figures(folder, options.models, options.times)
        compared = {} if options.no_peers else peers.figures(folder / TREE / fleet_specs.ENVIRONMENT, options.times)
    result = {
        "machine": measure.machine(),
        "models": options.models,
        "objects": objects,
        "aifctl": {name: asdict(figure) for name, figure in figures.items()},
        "peers": {name: asdict(peer) for name, peer in compared.items()},
    }
    _tell(result, figures["cold"].rate)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _figures(folder: Path, models: int, times: int) -> tuple[int, dict[str, Figure]]:
    cold, changed = [], []
    for _ in range(times):
        _forget(folder)
        cold.append(measure.run(RENDER, folder))
    objects = sum(1 for _ in (folder / TREE).rglob("*.yaml"))
    if objects < 12 * models:
        raise RuntimeError(f"{objects} objects of {models} models: fewer than the 12 a model that this is to measure")
    again = [measure.run(RENDER, folder) for _ in range(times)]
    for turn in range(times):
        _change_one(folder, models, turn)
        changed.append(measure.run(RENDER, folder))
    checked = [measure.run((*RENDER, "--check"), folder) for _ in range(times)]
    timed = {"cold": cold, "nothing changed": again, "one changed": changed, "--check": checked}
    return objects, {name: _figure(timings, objects) for name, timings in timed.items()}


def _forget(folder: Path) -> None:
    """Puts former trees aside instead of deleting them: ext4 passes over files freed in the last seconds, and a render
    right after a deletion took three times as long to create its own."""
    aside = Path(tempfile.mkdtemp(prefix="former-", dir=folder.parent))
    for name in (TREE, *CACHES):
        if (folder / name).exists():
            (folder / name).rename(aside / name)


def _change_one(folder: Path, models: int, turn: int) -> None:
    """Other epochs each time, so that the model's step digests, and with them its run, are new."""
    number = models // 2
    spec = folder / "models" / fleet_specs.model_name(number) / "model.yaml"
    spec.write_text(fleet_specs.model(number, epochs=6 + turn))


def _figure(timings: Sequence[measure.Timing], objects: int) -> Figure:
    seconds = [timing.seconds for timing in timings]
    most = max(timing.processor for timing in timings), max(timing.peak for timing in timings)
    return Figure(min(seconds), statistics.median(seconds), *most, objects / min(seconds))


def _tell(result: dict[str, object], rate: float) -> None:
    print(f"{result['machine']}: {result['models']} models, {result['objects']} objects, fastest whole process of each")
    for name, figure in _rows(result["aifctl"]):
        target = f"target {TARGETS[name]:.1f} s" if name in TARGETS else ""
        print(
            f"  aifctl render, {name:16} {figure['seconds']:7.2f} s  {figure['rate']:9,.0f} objects/s"
            f"  {figure['peak'] / 1e6:5.0f} MB in the largest process  {target}"
        )
    for name, peer in _rows(result["peers"]):
        print(
            f"  {name:30} {peer['seconds']:7.2f} s  {peer['rate']:9,.0f} objects/s  ({peer['objects']} objects, "
            f"{peer['version']}); aifctl's cold rate is {rate / peer['rate']:.1f} x"
        )


def _rows(value: object) -> list[tuple[str, dict[str, float]]]:
    return list(value.items()) if isinstance(value, dict) else []


if __name__ == "__main__":
    sys.exit(main())
