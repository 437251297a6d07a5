"""`python -m aifctl`, and the entry point of the `aifctl` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs one command and exits. `--version` answers without loading anything else."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from aifctl import __version__

        print(f"aifctl {__version__}")
        return
    from aifctl.cli import main as command

    sys.exit(command(sys.argv[1:]))


if __name__ == "__main__":
    main()
