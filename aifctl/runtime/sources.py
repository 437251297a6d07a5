"""Gets a dataset's bytes from where its source says, and holds them against their pin.

A pin is `sha256:<hex>` (of a file's bytes; of a table's content where user code returns one) or `version:<text>`
(what the object store calls the object's version or ETag).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from aifctl import digest as digests
from aifctl.contract import Site, Source
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import table as tables
from aifctl.runtime.job import import_attribute, user_failure
from aifctl.runtime.pins import VERSIONS
from aifctl.runtime.store import Fault, Published, Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a source gave: a file, or the table that user code returned."""

    pin: str
    file: Path | None = None
    table: pd.DataFrame | None = None
    folder: tempfile.TemporaryDirectory[str] | None = None
    """Where a downloaded file lies until `read`."""

    def read(self, file_format: str) -> pd.DataFrame:
        """The table. Raises Report: AIF812."""
        try:
            if self.table is not None:
                return self.table
            assert self.file is not None
            return tables.read(self.file, file_format)
        finally:
            if self.folder is not None:
                self.folder.cleanup()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where sources are looked for."""

    site: Site
    store: Store
    inputs: Mapping[str, Published]


def acquire(source: Source, pin: str | None, place: Place) -> Material:
    """Finds, fetches or calls what the source names. `pin` None takes what is there.

    Raises Report: AIF810 where there is nothing, AIF811 where it is not what was pinned; Fault where it is unreachable.
    """
    getter = _GETTERS.get(source.kind)
    if getter is None:
        hint = f"this version reads {', '.join(_GETTERS)}"
        raise Report(Diagnostic("AIF810", f"a source of kind `{source.kind}` can't be read yet", hint))
    material: Material = getter(source, pin, place)
    if pin is not None and pin.startswith("sha256:") and pin != material.pin:
        message = f"`{source.value}` is not what was pinned: it has {material.pin[:17]}…, the pin is {pin[:17]}…"
        raise Report(Diagnostic("AIF811", message, "`aifctl lock --update` pins what is there now"))
    return material


def _path(source: Source, pin: str | None, place: Place) -> Material:
    found = _below(place.site.data, source.value)
    if found is None and pin is not None and pin.startswith("sha256:"):
        found = place.store.fetch(f"data/sha256-{pin.removeprefix('sha256:')}")
    if found is None:
        hint = "paths are relative to the spec; `aifctl push` puts data into the store for pods"
        raise Report(Diagnostic("AIF810", f"there is no file `{source.value}`", hint))
    return Material(pin=_hash(found), file=found)


def _uri(source: Source, pin: str | None, place: Place) -> Material:
    import fsspec

    folder = tempfile.TemporaryDirectory(prefix="aifctl-data-")
    target = Path(folder.name, PurePosixPath(source.value.split("::")[0]).name or "data")
    try:
        fs, path = fsspec.core.url_to_fs(source.value)
        _check_version(source, pin, fs.info(path))
        fs.get_file(path, str(target))
        return Material(pin=_hash(target), file=target, folder=folder)
    except (OSError, ValueError, ImportError) as error:
        folder.cleanup()
        raise _unread(source.value, error) from error
    except Report:
        folder.cleanup()
        raise


def _call(source: Source, pin: str | None, place: Place) -> Material:
    code = None if place.site.code is None else Path(place.site.code)
    function = import_attribute(source.value, code)
    try:
        value = function(**source.arguments)
    except Exception as error:
        raise Report(user_failure(error, code, f"`{source.value}`")) from error
    table = tables.from_value(value, source.value)
    return Material(pin=f"sha256:{tables.fingerprint(table)}", table=table)


def _step(source: Source, pin: str | None, place: Place) -> Material:
    """`step.output`: the step's digest is an input already, so its file needs no pin of its own."""
    step, _, output = source.value.partition(".")
    published = place.inputs.get(step)
    if published is None:
        raise Report(Diagnostic("AIF801", f"step `{step}` is not among the inputs", f"read one with `{step}.<output>`"))
    name = published.outputs.get(output)
    if not isinstance(name, str) or name not in published.files:
        known = ", ".join(sorted(k for k, v in published.outputs.items() if v in published.files))
        raise Report(Diagnostic("AIF804", f"step `{step}` has no output `{output}`", f"it has {known or 'none'}"))
    return Material(pin=f"sha256:{published.files[name].sha256}", file=published.file(name))


_GETTERS = {"path": _path, "uri": _uri, "call": _call, "step": _step}


def _below(folder: str | None, name: str) -> Path | None:
    """The file, None where there is none. Raises Report for what leads out of the folder, by `..` or by links."""
    if folder is None:
        return None
    root = Path(folder).resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise Report(Diagnostic("AIF810", f"`{name}` leads out of the spec's folder", "copy the data below the spec"))
    if path.is_dir():
        raise Report(Diagnostic("AIF810", f"`{name}` is a folder", "name one file"))
    return path if path.is_file() else None


def _hash(path: Path) -> str:
    try:
        return f"sha256:{digests.of_file(path)}"
    except PermissionError as error:
        raise Report(Diagnostic("AIF810", f"`{path.name}` may not be read", "check its permissions")) from error


def _unread(url: str, error: Exception) -> Report:
    """What is not there, or not allowed, stays so; what can't be reached may be reached again."""
    # fsspec's HTTP client says "not found" of a server that is down, and keeps what happened as the cause.
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
    if isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError) or not isinstance(cause, OSError):
        return Report(Diagnostic("AIF810", f"`{url}` can't be read: {reason}"))
    return Fault(Diagnostic("AIF810", f"`{url}` can't be reached: {reason}"))


def _check_version(source: Source, pin: str | None, info: Mapping[str, Any]) -> None:
    if pin is None or not pin.startswith("version:"):
        return
    there = {str(info[key]).strip('"') for key in VERSIONS if info.get(key)}
    wanted = pin.removeprefix("version:").strip('"')
    if there and wanted not in there:
        message = f"`{source.value}` has version {', '.join(sorted(there))}, the pin is {wanted}"
        raise Report(Diagnostic("AIF811", message, "`aifctl lock --update` pins what is there now"))
