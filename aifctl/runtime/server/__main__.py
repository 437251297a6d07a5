"""`python -m aifctl.runtime.server --bundle PATH_OR_URI --name NAME [options]`: what a serving pod runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields

from aifctl.runtime.server.options import ServerOptions

_TYPES = {
    "port": int,
    "max_batch": int,
    "max_body_bytes": int,
    "timeout": float,
    "batch_delay": float,
    "workers": int,
    "max_pending": int,
    "low_confidence": float,
    "log_sample": float,
    "drain_delay": float,
    "grace": float,
}
"""Options that are not text."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 after an orderly stop, 1 for anything wrong, usage included."""
    options = parse(arguments)
    from aifctl.runtime.server.process import serve  # after parsing, so that --help needs no library

    try:
        return serve(options)
    except KeyboardInterrupt:  # before the server listens; afterwards it leaves in order
        return 1


def parse(arguments: Sequence[str] | None = None) -> ServerOptions:
    """Raises SystemExit for usage errors and --help."""
    parser = _Parser(prog="python -m aifctl.runtime.server", description=__doc__, allow_abbrev=False)
    for field in fields(ServerOptions):
        flag = "--" + field.name.replace("_", "-")
        if field.name == "redact":
            parser.add_argument(flag, action="append", default=[], metavar="COLUMN")
        else:
            required = field.default is MISSING
            default = None if required else field.default
            parser.add_argument(flag, type=_TYPES.get(field.name, str), default=default, required=required)
    values = vars(parser.parse_args(arguments))
    return ServerOptions(**{**values, "redact": tuple(values["redact"])})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """argparse ends with 2, which aifctl keeps for "changes found"."""
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
