"""`python -m aifctl`, and the entry point of the `aifctl` command."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

LONG_LIVED = frozenset({"run", "serve", "reconcile", "status", "wait"})
"""Commands that collect garbage. The others end before a collection pays: without, they take a third less time."""
LEAVING = frozenset({"apply", "plan", "render", "validate"})
"""Commands that hold many objects at their end, and nothing that needs an end of its own: what they wrote is written,
and to free each object takes 0.1 s."""


def main() -> None:
    """Runs one command and exits. `--version` answers without loading anything else."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from aifctl import __version__

        print(f"aifctl {__version__}")
        return
    gc.disable()
    from aifctl.cli import main as command

    name = sys.argv[1] if sys.argv[1:] else ""
    if name in LONG_LIVED:
        gc.enable()
    code = command(sys.argv[1:])
    if name in LEAVING:
        with suppress(OSError, ValueError):  # a closed pipe: `command` has said what there was to say
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
