"""Canonical YAML of plain values, of one text each. Does no I/O.

It is read alike by YAML 1.1 (PyYAML, and Kubernetes' own go-yaml v2) and by YAML 1.2's core schema: a string stays
unquoted only where both read it as that string (`no`, `on`, `12:30:45`, `1e3`, `017`, `1_000` are quoted). Block style,
two spaces, lists at their key's column (as kubectl prints them), no anchors, no tags, long text never folded; text of
several lines is a literal block where that reads back unchanged, so code in a ConfigMap can be reviewed. Keys keep
their order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

KEY_LIMIT = 1000
"""Readers give up on a `key:` longer than 1024 characters."""


def to_yaml(value: Mapping[str, Any]) -> str:
    """Canonical YAML of a mapping of plain values.

    Raises ValueError for NaN and infinities, integers beyond 64 bits, keys that are not text or are too long, lone
    surrogates, and values other than None, bool, int, float, str, lists and mappings.
    """
    lines: list[str] = []
    _mapping(value, "", lines)
    lines.append("")
    return "\n".join(lines) if value else "{}\n"


def _mapping(value: Mapping[str, Any], indent: str, lines: list[str], lead: str | None = None) -> None:
    """Appends a mapping's lines. `lead` takes the place of the first line's indent: `- ` of the item that holds it."""
    start = indent if lead is None else lead
    for key, item in value.items():
        head = f"{start}{_key(key)}:"
        start = indent
        kind = type(item)
        if kind not in _TYPES:
            item = _plain(item)
            kind = type(item)
        if kind is str:
            lines.append(f"{head} {_text(item)}" if "\n" not in item else _block(head, item, indent + "  "))
        elif (write := _SCALARS.get(kind)) is not None:
            lines.append(f"{head} {write(item)}")
        elif not item:
            lines.append(f"{head} {{}}" if kind is dict else f"{head} []")
        else:
            lines.append(head)
            if kind is dict:
                _mapping(item, indent + "  ", lines)
            else:
                _sequence(item, indent, lines)


def _sequence(value: Iterable[Any], indent: str, lines: list[str], lead: str | None = None) -> None:
    start = f"{indent if lead is None else lead}- "
    for item in value:
        kind = type(item)
        if kind not in _TYPES:
            item = _plain(item)
            kind = type(item)
        if kind is str:
            lines.append(start + _text(item) if "\n" not in item else _block(start[:-1], item, indent + "  "))
        elif (write := _SCALARS.get(kind)) is not None:
            lines.append(start + write(item))
        elif not item:
            lines.append(start + ("{}" if kind is dict else "[]"))
        elif kind is dict:
            _mapping(item, indent + "  ", lines, start)
        else:
            _sequence(item, indent + "  ", lines, start)
        start = f"{indent}- "


def _plain(value: object) -> Any:
    """A value of another class as the plain one it stands for."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    raise ValueError(f"YAML for Kubernetes has no place for a {type(value).__name__}")


# Numbers and constants


def _integer(value: int) -> str:
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} does not fit into 64 bits")
    return str(value)


def _float(value: float) -> str:
    """With a point and a signed exponent: YAML 1.1 reads `1e+20` and `1.0e20` as text."""
    if not math.isfinite(value):
        raise ValueError(f"{value} can't be written: Kubernetes reads JSON, which has no such number")
    mantissa, e, exponent = repr(value).partition("e")
    if not e:
        return mantissa
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"


_SCALARS: dict[type, Callable[[Any], str]] = {
    int: _integer,
    bool: lambda value: "true" if value else "false",
    float: _float,
    type(None): lambda _: "null",
}
_TYPES = frozenset((*_SCALARS, str, dict, list))


# Text

# Unquoted: words, paths, image names, URLs, flags. No text that starts with a digit, sign or point is here, so none
# is a number, time or date; none holds `: `, ` #`, or ends in a colon or a blank.
_PLAIN = re.compile(
    r"(?:--?)?[A-Za-z_/][A-Za-z0-9_./@+=,;()$-]*"  # one word
    r"(?:(?::+| )[A-Za-z0-9_./@+=,;()$-]+)*"  # more, after colons or one blank, but never both
)
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:m|k|Ki|Mi|Gi|Ti|Pi|s|h|%)")
"""4Gi, 500m, 30s, 25%: no reader takes these for numbers."""
_WORDS = frozenset(
    variant
    for word in ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity")
    for variant in (word, word.capitalize(), word.upper())
)
_PRINTABLE = (
    "\x20-\x7e\xa1-\xac\xae-\u061b\u061d-\u200a\u2010-\u2027\u2030-\u205e\u2070-\ud7ff\uf900-\ufdcf\ufdf0-\ufefe"
    "\uff00-\uffef\U00010000-\U000e0000\U000e0080-\U0010fffd"
)
"""Written as they are. Not here, so escaped: controls, breaks (NEL, LS, PS), bidirectional marks, BOM, soft hyphen."""
_SHOWN = re.compile(f"[{_PRINTABLE}]*")
_LITERAL = re.compile(f"[{_PRINTABLE}][{_PRINTABLE}\t\n]*")
_HIDDEN = re.compile(f'[^{_PRINTABLE}]|["\\\\]')
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", '"': '\\"', "\\": "\\\\"}


@lru_cache(maxsize=1 << 14)
def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"key {key!r} is not text")
    text = _quoted(key)
    if len(text) > KEY_LIMIT:
        raise ValueError(f"key {key[:40]!r}… is longer than {KEY_LIMIT} characters")
    return text


def _text(value: str) -> str:
    return _short(value) if len(value) <= 200 else _quoted(value)


def _quoted(value: str) -> str:
    """One line: unquoted where every reader takes it for this text, else in the quotes that need fewer escapes."""
    if (_PLAIN.fullmatch(value) and value.lstrip("-") not in _WORDS) or _QUANTITY.fullmatch(value):
        return value
    if ('"' in value or "\\" in value) and _SHOWN.fullmatch(value):
        return "'" + value.replace("'", "''") + "'"
    return '"' + _HIDDEN.sub(_escape, value) + '"'


_short = lru_cache(maxsize=1 << 16)(_quoted)
"""Most short texts of a fleet recur."""


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if (known := _ESCAPES.get(character)) is not None:
        return known
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"text holds the lone surrogate U+{code:04X}, which is no character")
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _block(head: str, value: str, indent: str) -> str:
    """Text of several lines as a literal block where that reads back unchanged, else as one quoted line."""
    # A reader takes the block's indent from its first line: it must not begin with a blank, a tab or a break.
    if value[0] in " \t\n" or not _LITERAL.fullmatch(value):
        return f"{head} {_quoted(value)}"
    body = value.rstrip("\n")
    ends = len(value) - len(body)
    keep = "-" if not ends else "" if ends == 1 else "+"
    indented = [indent + line if line else "" for line in body.split("\n")]
    return "\n".join([f"{head} |{keep}", *indented, *[""] * (ends - 1)])
