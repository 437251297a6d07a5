"""Paths of fields in an object, as plans print them: `spec.containers[server].ports[8080/TCP].name`. Pure.

A path is a tuple of texts, one a step: a mapping's key, or of a list's item its merge key or its position. Whether a
text is a key or a position is told by the object that it is held against, so a path needs no kinds of steps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

FieldPath = tuple[str, ...]

ANY = "*"
"""Stands for every key or item of its place: `spec.containers[*].image`."""
OWN = frozenset({"apiVersion", "kind", "status"})
"""What tells an object, and what is never sent: no path may lead there."""
OWN_METADATA = frozenset({"name", "namespace", "uid", "resourceVersion", "generation", "managedFields"})

_STEP = re.compile(
    r"""(?P<dot>\.)?(?P<key>[A-Za-z0-9_-]+)"""
    r"""|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]"""
    r"""|\[(?P<item>[^\[\]"]+)\]"""
)


def parse_path(text: str) -> FieldPath:
    """The steps of a path as `plan.change.show_path` writes it. Raises ValueError, in words for a diagnostic.

    Dots part plain keys; anything else stands in brackets, in JSON's quotes where it has other characters:
    `metadata.annotations["example.com/owner"]`.
    """
    if not text:
        raise ValueError("expected a path such as `spec.replicas`, found nothing")
    return tuple(_steps(text))


def covers(rule: FieldPath, path: Sequence[object]) -> bool:
    """Whether the path (its steps by their text: keys, positions, `plan.change.Match`) is the rule's, or below it."""
    steps = path[: len(rule)]
    return len(steps) == len(rule) and all(own in (ANY, str(other)) for own, other in zip(rule, steps, strict=True))


def own_field(path: FieldPath) -> bool:
    """Whether the path leads to a whole object's identity, to its status, or to all of its metadata."""
    if path[0] in OWN or path == ("metadata",):
        return True
    return path[0] == ANY or (path[0] == "metadata" and path[1] in (OWN_METADATA | {ANY}))


def _steps(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        # A key needs a dot before it, unless it is the first step; what is in brackets has none.
        if match is None or (match["key"] is not None and (match["dot"] is None) != (at == 0)):
            raise ValueError(f"expected keys with dots between them, and others in brackets; `{text[at:]}` is neither")
        yield _text(match)
        at = match.end()


def _text(match: re.Match[str]) -> str:
    if match["quoted"] is None:
        return match["key"] or match["item"]
    try:
        return str(json.loads(match["quoted"], strict=False))
    except ValueError as error:
        raise ValueError(f"`{match['quoted']}` is no text in quotes") from error
