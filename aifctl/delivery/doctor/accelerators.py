"""Accelerators that this machine shows, by its own files and the vendor's program: no framework is imported."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from aifctl.delivery.doctor import packages
from aifctl.delivery.doctor.answer import Answer, doubt, good

NVIDIA_SMI = "nvidia-smi"
PATIENCE = 20.0
"""Seconds for the vendor's program: it may have to wake the driver."""
HINT = "steps run on the CPU here until that is repaired"


def seen(system: Path = Path("/")) -> Iterator[Answer]:
    """`system` is the root of the file system that is looked at."""
    nvidia = list(_nvidia(system))
    found = [*nvidia, *_amd(system), *_tpu(system), *_apple()]
    yield from found or [good("none: steps run on the CPU")]
    if any(not answer.code for answer in nvidia):
        yield from _torch_for_cpus()


def _nvidia(system: Path) -> Iterator[Answer]:
    if not (system / "dev/nvidiactl").exists():
        return
    program = shutil.which(NVIDIA_SMI)
    if program is None:
        yield doubt("AIF791", f"NVIDIA devices without `{NVIDIA_SMI}`: the driver's programs are not here", HINT)
        return
    words = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield doubt("AIF791", f"`{NVIDIA_SMI}` does not answer: {error}", HINT)
        return
    rows = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not rows:
        said = (done.stderr.strip() or done.stdout.strip() or "it sees no device").splitlines()[0]
        yield doubt("AIF791", f"`{NVIDIA_SMI}` fails: {said}", HINT)
        return
    for row in sorted(set(rows)):
        name, memory, driver = [*re.split(r",\s*", row), "", ""][:3]
        yield good(f"{rows.count(row)} × {name}, {memory}, driver {driver}")


def _amd(system: Path) -> Iterator[Answer]:
    """Nodes of the ROCm kernel driver; a CPU's has the id 0."""
    ids = (path.read_text().strip() for path in system.glob("sys/class/kfd/kfd/topology/nodes/*/gpu_id"))
    count = sum(number not in ("", "0") for number in ids)
    if count:
        yield good(f"{count} × AMD GPU")


def _tpu(system: Path) -> Iterator[Answer]:
    count = sum(1 for _ in system.glob("dev/accel[0-9]*"))
    if count:
        yield good(f"{count} × TPU chip")


def _apple() -> Iterator[Answer]:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        yield good("Apple GPU (device `mps`)")


def _torch_for_cpus() -> Iterator[Answer]:
    version = packages.installed("torch")
    if version is not None and version.endswith("+cpu"):
        hint = "install the build for this machine's driver, as PyTorch's own page tells"
        yield doubt("AIF791", f"torch {version} is built for CPUs: it does not see these devices", hint)
