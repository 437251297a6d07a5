"""Which files a command is about: paths, folders and globs → spec files, the platform file, the repository's root.

Looks at names alone and loads nothing of the schema, so that a run that finds everything unchanged stays quick.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from aifctl.diagnostics import Diagnostic, Where

PLATFORM_FILE = "platform.yaml"
SKIPPED_FOLDERS = frozenset({"rendered", "releases", "node_modules", "__pycache__"})

Chosen = list[tuple[Path, bool]]
"""(file, whether it was named itself: then it must be a spec; what a folder holds may be somebody else's YAML)."""


def files(paths: list[Path]) -> tuple[Chosen, list[Diagnostic]]:
    """Candidates below the paths, each once, in a stable order; AIF113 for a path that leads to nothing."""
    chosen: dict[Path, bool] = {}
    found: list[Diagnostic] = []
    for path in paths:
        if path.is_dir():
            chosen.update({file: False for file in _below(path) if file not in chosen})
        elif path.exists():
            chosen[path] = True
        else:
            matches = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - may be absolute
            if not matches:
                found.append(Diagnostic("AIF113", "no such file or folder", None, Where(str(path))))
            for match in matches:
                chosen.update(dict.fromkeys(_below(match), False) if match.is_dir() else {match: True})
    return list(chosen.items()), found


def find_platform(paths: list[Path]) -> Path | None:
    """The nearest `platform.yaml` at or above the first path."""
    start = (paths[0] if paths else Path()).absolute()
    for folder in (start, *start.parents):
        candidate = folder / PLATFORM_FILE
        if candidate.is_file():
            return candidate
    return None


def root_of(paths: list[Path], chosen: Chosen, platform: Path | None) -> Path:
    """The platform file's folder; without one the working folder, so that commands given there agree on one store, or
    what all files have in common where they lie elsewhere."""
    if platform is not None:
        return platform.parent.absolute()
    folders = [str((path if path.is_dir() else path.parent).absolute()) for path in ([f for f, _ in chosen] or paths)]
    common, here = Path(os.path.commonpath(folders)) if folders else Path.cwd(), Path.cwd()
    return here if common.is_relative_to(here) else common


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS and not name.startswith("."))
        yield from (Path(here, name) for name in sorted(names) if name.endswith((".yaml", ".yml")))
