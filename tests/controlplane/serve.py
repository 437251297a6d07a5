"""`make cluster`: a control plane with simulated nodes in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys

from tests.controlplane.binaries import MissingBinaries, binaries
from tests.controlplane.fixtures import crds_folder
from tests.controlplane.nodes import simulated_nodes, start_nodes
from tests.controlplane.plane import CannotStart, ControlPlane
from tests.controlplane.stages import OUTCOME, OUTCOMES


def main(names: list[str]) -> int:
    """Serve with the CRDs of these names or folders, `all` of them, or none."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane() as plane:
            start_nodes(plane, simulated_nodes())
            if names:
                plane.install_crds(crds_folder(), None if names == ["all"] else names)
            print(_greeting(plane), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except (CannotStart, LookupError, MissingBinaries) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _greeting(plane: ControlPlane) -> str:
    return (
        f"export KUBECONFIG={plane.kubeconfig}\n"
        f"# kubectl: {binaries() / 'kubectl'}   logs: {plane.folder}\n"
        f"# Pods are simulated; their annotation {OUTCOME} says how they fare: {', '.join(OUTCOMES)}\n"
        "# Ctrl-C ends it"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
