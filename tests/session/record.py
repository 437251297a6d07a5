"""Records the sessions in docs/: every command in a `console` block of these pages is really run.

`python -m tests.session.record` runs them with a control plane of its own and writes what they said into the pages; the
prose around them stays (see page.py).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import uuid
from pathlib import Path

from tests.controlplane.binaries import binaries
from tests.controlplane.nodes import simulated_nodes, start_nodes
from tests.controlplane.plane import ControlPlane
from tests.delivery import garden
from tests.delivery.garden import Garden
from tests.session import page

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENTS = ("session.md", "clusters.md")
PROD = re.compile(r"\bprod\b")
"""In the pages' commands, the environment of the garden."""


def recorded(document: str, found: Garden) -> str:
    """The page with what its commands say in this repository now, one after the other.

    The environment's name must have as many letters as `prod`, so that tables keep their columns: see `name`.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), str(binaries()), os.environ["PATH"]))
    shell = page.Shell(found.root, {**os.environ, "PATH": path, "KUBECONFIG": str(found.cluster.kubeconfig)})

    def say(command: str) -> str:
        return shell.say(PROD.sub(found.environment, command)).replace(found.environment, "prod")

    try:
        return page.recorded(document, say)
    finally:
        shell.end()


def name() -> str:
    """Of an environment: as long as `prod`; no digest looks like it."""
    return f"p{uuid.uuid4().hex[:3]}"


def main() -> int:
    with ControlPlane() as plane, tempfile.TemporaryDirectory() as folder:
        start_nodes(plane, simulated_nodes())
        for each in DOCUMENTS:
            found = garden.new(Path(folder) / each, plane, "iris", "rose", environment=name())
            path = DOCS / each
            path.write_text(recorded(path.read_text("utf-8"), found), "utf-8")
            print(f"recorded {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
