"""Argo's `workflow-controller`: that of `KUBEBUILDER_ASSETS`, else built from the Go module in ./controller.

It is kept where the control plane's programs are (tests/controlplane/binaries.py). A cold build takes five to eight
minutes on two cores: `python -m tests.argo.binaries` does it ahead of the tests, whose own timeout it would exceed.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from tests.controlplane.binaries import MissingBinaries, build, cache, locked, pins

MODULE = Path(__file__).parent / "controller"
PACKAGE = "github.com/argoproj/argo-workflows/v3"
NAME = "workflow-controller"


def controller() -> Path:
    """The program. Raises MissingBinaries where it is neither given nor can be built."""
    given = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nowhere").expanduser() / NAME
    if os.access(given, os.X_OK):
        return given
    folder = cache() / f"argo-{version()}-{platform.machine()}-{pins(MODULE)}"
    program = folder / NAME
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "build.lock"):
            if not program.exists():
                build(MODULE, f"{PACKAGE}/cmd/{NAME}", program)
    return program


def version() -> str:
    """The version that go.mod asks for: `v3.7.3`."""
    found = re.search(rf"^require {PACKAGE} (v\S+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def main() -> int:
    """Build it where it is missing and print where it is."""
    try:
        print(controller())
    except MissingBinaries as error:
        print(f"no Argo controller to test with: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
