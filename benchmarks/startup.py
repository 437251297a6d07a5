"""How long `aifctl` takes to do next to nothing: `python benchmarks/startup.py [--times 15] [--json FILE]`.

Targets: `aifctl --version` in 0.12 s, `aifctl render` of one model in 0.35 s. They are reported, never asserted: a
busy machine is no fault of the code.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import measure

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "specs"
RENDER = ("render", "digits/model.yaml", "--env", "lab")
TARGETS = {"aifctl --version": 0.12, "aifctl render, one model": 0.35, "aifctl validate, one model": None}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=15, help="runs of each command (default: 15)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aifctl-startup-") as folder:
        figures = _figures(_one_model(Path(folder)), options.times)
    print(f"{measure.machine()}; whole processes, best and median of {options.times}")
    for name, figure in figures.items():
        target = f"target {TARGETS[name]:.2f} s" if TARGETS.get(name) else ""
        print(f"  {name:32} {figure['best']:6.3f} s  {figure['median']:6.3f} s  {target}")
    if options.json:
        options.json.write_text(json.dumps({"machine": measure.machine(), "seconds": figures}, indent=2) + "\n")
    return 0


def _one_model(folder: Path) -> Path:
    shutil.copy(EXAMPLES / "platform.yaml", folder)
    shutil.copytree(EXAMPLES / "digits-pytorch", folder / "digits", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _figures(folder: Path, times: int) -> dict[str, dict[str, float]]:
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "aifctl --version": (*measure.AIFCTL, "--version"),
        "aifctl validate, one model": (*measure.AIFCTL, "validate", "digits/model.yaml"),
        "aifctl render, one model": (*measure.AIFCTL, *RENDER, "--no-cache"),
        "the same, nothing changed": (*measure.AIFCTL, *RENDER),
    }
    timed = {name: measure.best(command, folder, times) for name, command in commands.items()}
    return {name: {"best": fastest.seconds, "median": median} for name, (fastest, median) in timed.items()}


if __name__ == "__main__":
    sys.exit(main())
