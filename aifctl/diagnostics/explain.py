"""`aifctl explain CODE`: the page of a code, from `pages/`. Reads package data only."""

from __future__ import annotations

from importlib import resources

from aifctl.diagnostics.codes import CODES
from aifctl.diagnostics.model import Diagnostic, Report

PREFIX = "AIF"


def page(code: str) -> str:
    """The page (Markdown) of `AIF301`, `aif301` or `301`. Raises Report for a code that is not in the table."""
    wanted = code.strip().upper()
    wanted = PREFIX + wanted if wanted.isdigit() else wanted
    if wanted not in CODES:
        raise Report(_unknown(code, wanted))
    return resources.files("aifctl.diagnostics").joinpath("pages", f"{wanted}.md").read_text("utf-8")


def _unknown(code: str, wanted: str) -> Diagnostic:
    meant = wanted[: len(PREFIX)] + wanted[len(PREFIX) :].translate(str.maketrans("OIL", "011"))
    alike = {known: sum(map(str.__eq__, meant, known)) for known in sorted(CODES)}
    close, same = max(alike.items(), key=lambda item: item[1])
    near = same >= len(close) - 1 and len(wanted) <= len(close) + 1
    hint = f"did you mean `{close}`?" if near else f"codes go from `{min(CODES)}` to `{max(CODES)}`"
    return Diagnostic("AIF115", f"no diagnostic has the code `{code}`", hint)
