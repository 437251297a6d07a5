"""Keeps a process within the memory that its container has left.

A container that takes more than its limit loses all its processes at once: Kubernetes sets `memory.oom.group`
(https://kubernetes.io/docs/reference/node/kubelet-config-v1beta1/, `singleProcessOOMKill`). The reconciler would end
with what it compiles, start anew, and end again. So what compiles is refused memory before: a MemoryError that one
model's compile ends with.
"""

from __future__ import annotations

import resource
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
SPARE = 32 << 20
"""Bytes that stay for what else runs in the container."""
LEAST = 128 << 20
"""Bytes below which no limit is set: Python with a platform of a few models would not fit."""


def keep_within(cgroup: Path = CGROUP) -> None:
    """Limits this process' own data to what is free now. Nothing where the container has no limit."""
    free = room(cgroup)
    if free is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    asked = max(LEAST, free - SPARE)
    resource.setrlimit(resource.RLIMIT_DATA, (asked if hard < 0 else min(asked, hard), hard))


def room(cgroup: Path = CGROUP) -> int | None:
    """Bytes that the container has left, without what the kernel gives back when it is asked: cached files. None
    without a limit. https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files"""
    try:
        limit, used = (int((cgroup / name).read_text("ascii")) for name in ("memory.max", "memory.current"))
        rows = (line.split() for line in (cgroup / "memory.stat").read_text("ascii").splitlines())
        cached = next((int(row[1]) for row in rows if row[0] == "inactive_file"), 0)
    except (OSError, ValueError):  # `max`, or another version of cgroups
        return None
    return max(0, limit - used + cached)
