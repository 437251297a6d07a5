"""Files that aifctl itself owns beside the specs (locks, releases): written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from aifctl.diagnostics import Diagnostic, Report


def write_text(path: Path, text: str) -> bool:
    """Writes atomically; whether the content changed. Raises Report when the folder can't be written."""
    data = text.encode()
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Report(Diagnostic("AIF621", f"{path} can't be written: {error.strerror}")) from None
    return True
