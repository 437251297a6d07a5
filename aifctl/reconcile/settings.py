"""What whoever starts a reconciler has chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aifctl.cluster.inventory import SYSTEM
from aifctl.delivery.clusters import Door

ADMIN = "aifctl-admin"
"""ServiceAccount in the system's namespace whose rights the platform's own objects are written with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`repository` is a URL or a path, `state` a folder that outlives restarts (it need not: it saves a fetch)."""

    repository: str
    environment: str
    state: Path
    ref: str = "main"
    interval: float = 60.0
    """Seconds between two fetches."""
    namespace: str = SYSTEM
    once: bool = False
    detect_only: bool = False
    """Nothing is written, neither lease nor inventory nor event."""
    admin: bool = False
    impersonate: bool = True
    """Write as each tenant's account; else as the identity that the connection has."""
    force_conflicts: bool = False
    compile_timeout: float = 300.0
    listen: str = ""
    """`host:port` of the probes, the host empty for all; empty for none."""
    metrics: str = ""
    door: Door = field(default_factory=Door)
