"""Folders of code: copied, or as one file of the store, `code/<tree digest>.tar`.

`aifctl push` packs one, and the step that needs it unpacks it. The archive has no times, owners or modes, so the same
tree is the same file. What is unpacked is held against the tree digest before anything of it is imported (`entry`), so
the store is not trusted.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from aifctl import digest as digests
from aifctl.contract import Site
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.store import Store


def name(digest: str) -> str:
    return f"code/{digest}.tar"


def copy_tree(source: Path, target: Path) -> None:
    """Copies a folder without caches and editors' files. Raises ValueError for symbolic links."""
    for path, file in digests.tree_files(source):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / path)


def pack(root: Path) -> bytes:
    """The folder as a tar archive. Raises OSError, ValueError for symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, file in digests.tree_files(root):
            info = tarfile.TarInfo(path)
            data = file.read_bytes()
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unpack(data: bytes, into: Path) -> None:
    """Writes the files below `into`, and nothing outside of it. Raises Report (AIF807) for a broken archive."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            archive.extractall(into, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise Report(Diagnostic("AIF807", f"the code archive can't be unpacked: {error}", "push it again")) from error


def provide(code: str | None, site: Site, store: Store) -> None:
    """Unpacks the code where a step expects it and it is not there yet, if the store has it."""
    if code is None or site.code is None or Path(site.code).exists():
        return
    data = store.read(name(code))
    if data is not None:
        target = Path(site.code)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: half a tree would be taken for one that was given, and never be unpacked again.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".aifctl-") as folder:
            unpack(data, Path(folder, "code"))
            Path(folder, "code").rename(target)
