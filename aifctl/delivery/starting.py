"""`aifctl init`: a small project that works at once, from `templates/init/<framework>`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aifctl.delivery.files import write_text
from aifctl.diagnostics import Diagnostic, Report
from aifctl.resources import template_path
from aifctl.spec import json_schema
from aifctl.spec.schema import did_you_mean

COMMON = "common"
RENAMED = {"gitignore": ".gitignore"}
"""A `.gitignore` among the templates would hide them from Git."""
SCHEMAS = ".aifctl"


def start(folder: Path, framework: str) -> list[Path]:
    """Writes the files; the paths. Raises Report for an unknown framework, and rather than overwrite a file."""
    if framework not in known():
        raise Report(Diagnostic("AIF624", f"no start for `{framework}`", did_you_mean(framework, known(), "there are")))
    files = {folder / target: text for target, text in _files(framework)}
    there = [path for path in files if path.exists()]
    if there:
        raise Report(Diagnostic("AIF623", f"{there[0]} is there already", "name an empty folder"))
    for path, text in files.items():
        write_text(path, text)
    return sorted(files)


def known() -> list[str]:
    """Frameworks that there is a start for."""
    return sorted(path.name for path in template_path("init").iterdir() if path.name != COMMON)


def _files(framework: str) -> Iterator[tuple[Path, str]]:
    for part in (COMMON, framework):
        root = template_path(f"init/{part}")
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                relative = path.relative_to(root)
                yield relative.with_name(RENAMED.get(relative.name, relative.name)), path.read_text(encoding="utf-8")
    for kind in ("model", "platform"):
        yield Path(SCHEMAS, f"{kind}.schema.json"), json_schema.text(kind)
