"""A Kubernetes object as aifctl writes it: identity, place in the apply order, digest and canonical YAML. Does no I/O.

The canonical YAML is read alike by YAML 1.1 (PyYAML, and Kubernetes' own go-yaml v2) and by YAML 1.2's core schema:
a string stays unquoted only where both read it as that string (`no`, `on`, `12:30:45`, `1e3`, `017`, `1_000` are
quoted). Block style, two spaces, lists at their key's column (as kubectl prints them), no anchors, no tags, long text
never folded; text of several lines is a literal block where that reads back unchanged, so code in a ConfigMap can be
reviewed. Keys keep the template's order, but for apiVersion, kind, metadata and the first keys of metadata.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from aifctl import digest as digests
from aifctl.diagnostics import Diagnostic, Report

ORDER = {
    kind: place
    for place, kind in enumerate(
        (
            "Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "ResourceQuota", "LimitRange",
            "NetworkPolicy", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Secret",
            "ExternalSecret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim", "Service",
        )
    )
}  # fmt: skip
"""Apply order of kinds that others lean on; every other kind comes after these, but for `LATE`."""
LATE = {"HorizontalPodAutoscaler": 1, "PodDisruptionBudget": 2, "Ingress": 3, "HTTPRoute": 4}
"""Kinds that point at a workload, so they come after it."""

TOP = ("apiVersion", "kind", "metadata")
METADATA = ("name", "generateName", "namespace", "labels", "annotations")
CRD = "CustomResourceDefinition"
HOLDERS = frozenset({"Namespace", CRD, "PersistentVolume", "PersistentVolumeClaim"})
"""Kinds that take others' objects or data along: deleted only by who says so."""
KEY_LIMIT = 1000
"""Readers give up on a `key:` longer than 1024 characters."""


class Identity(NamedTuple):
    """What a cluster knows an object by; `group` is empty for core kinds, `namespace` for cluster-scoped ones."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One Kubernetes object as plain values. `object` is not to be changed after it is wrapped."""

    object: Mapping[str, Any]
    _digest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ValueError for what is no Kubernetes object."""
        metadata = self.object.get("metadata")
        parts = (self.object.get("apiVersion"), self.object.get("kind"))
        if not isinstance(metadata, Mapping):
            raise ValueError("a Kubernetes object needs metadata")
        if not all(isinstance(part, str) and part for part in (*parts, metadata.get("name"))):
            raise ValueError("a Kubernetes object needs apiVersion, kind and metadata.name, each a text")

    @property
    def api_version(self) -> str:
        return str(self.object["apiVersion"])

    @property
    def kind(self) -> str:
        return str(self.object["kind"])

    @property
    def group(self) -> str:
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def metadata(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self.object["metadata"]
        return metadata

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace") or "")

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.metadata.get("annotations") or {}

    @property
    def identity(self) -> Identity:
        return Identity(self.group, self.kind, self.namespace, self.name)

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        """Sort key of the apply order; total, so that a sorted list never depends on how it was made."""
        kind = self.kind
        place = ORDER.get(kind, len(ORDER) + LATE.get(kind, 0))
        return (place, kind, self.group, self.namespace, self.name)

    @property
    def digest(self) -> str:
        """sha256 of the object's values, whatever the order of its keys. Computed once."""
        if not self._digest:
            self._digest.append(digests.of_value(self.object))
        return self._digest[0]

    def to_yaml(self) -> str:
        """Canonical YAML. Raises ValueError for values that YAML or Kubernetes can't carry (see `to_yaml`)."""
        return to_yaml(_ordered(self.object))


def in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Sorted in apply order. Raises Report (AIF501) when two manifests are one object."""
    found = sorted(manifests, key=lambda manifest: manifest.order)
    twice = [b.identity for a, b in pairwise(found) if a.identity == b.identity]
    if twice:
        raise Report(*(_twice(identity) for identity in dict.fromkeys(twice)))
    return found


def to_yaml(value: Mapping[str, Any]) -> str:
    """Canonical YAML of a mapping of plain values.

    Raises ValueError for NaN and infinities, integers beyond 64 bits, keys that are not text or are too long, lone
    surrogates, and values other than None, bool, int, float, str, lists and mappings.
    """
    lines: list[str] = []
    _mapping(value, "", lines)
    lines.append("")
    return "\n".join(lines) if value else "{}\n"


def _twice(identity: Identity) -> Diagnostic:
    hint = "two models can't share a name in one namespace; rename one, or give it a namespace of its own"
    return Diagnostic("AIF501", f"{identity} is rendered twice", hint)


def _ordered(found: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its top and its metadata's first keys in their usual order, the rest as it came."""
    metadata = found["metadata"]
    ahead = {key: metadata[key] for key in METADATA if key in metadata}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": {**ahead, **metadata}, **_rest(found)}


def _rest(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in TOP}


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
