"""Brings a bundle to this machine: a folder is used where it lies, a URL is copied into a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aifctl.diagnostics import Diagnostic, Report


@contextmanager
def fetched(uri: str) -> Iterator[Path]:
    """The bundle's local folder, for as long as the context is open. Raises Report (AIF861)."""
    if "://" not in uri or uri.startswith("file://"):
        path = Path(uri.removeprefix("file://"))
        if not path.is_dir():
            raise _missing(uri, "there is no such folder")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="aifctl-bundle-") as folder:
        _copy(uri, Path(folder))
        yield Path(folder)


def _copy(uri: str, target: Path) -> None:
    import fsspec  # only bundles behind a URL need it

    try:
        files, root = fsspec.core.url_to_fs(uri)
        found: list[str] = files.find(root)
        names = [name.removeprefix(root.rstrip("/") + "/") for name in found]
        for name in names:
            if name.startswith("/") or ".." in Path(name).parts:
                raise _missing(uri, f"it names a file outside of itself: {name[:80]}")
            (target / name).parent.mkdir(parents=True, exist_ok=True)
        files.get(found, [str(target / name) for name in names])
    except (OSError, ValueError, ImportError) as error:
        raise _missing(uri, str(error).splitlines()[0][:200] if str(error) else type(error).__name__) from error
    if not names:
        raise _missing(uri, "there are no files")


def _missing(uri: str, why: str) -> Report:
    hint = "name the folder that has bundle.json: the release's `bundle`, or what the export step published"
    return Report(Diagnostic("AIF861", f"bundle {uri} can't be read: {why}", hint=hint))
