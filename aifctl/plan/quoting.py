"""Text of manifests made safe to show: no control character, bidirectional mark or line break gets through."""

from __future__ import annotations

import json
import re

_BARE = re.compile(r"[A-Za-z_./$@%+-][\w./:@%+,=$-]*|[0-9]+(?:\.[0-9]+)?(?:[a-zA-Z%]+[0-9]*)?", re.ASCII)
_AMBIGUOUS = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?|[+-]?\.(?:inf|nan)|true|false|null|~|-", re.IGNORECASE)


def quoted(text: str) -> str:
    """As a JSON string, printable characters as they are."""
    return printable(json.dumps(text, ensure_ascii=False))


def bare(text: str) -> str:
    """Without quotes where nobody can take it for anything but this text."""
    return text if _BARE.fullmatch(text) and not _AMBIGUOUS.fullmatch(text) else quoted(text)


def printable(text: str) -> str:
    """Each character that does not print, written as an escape: `\\x1b`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
