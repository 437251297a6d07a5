"""Text → values and positions. YAML 1.2's core rules over libyaml's scanner; values are plain dicts, lists and scalars.

One pass over the composed nodes finds what a plain loader would pass over: duplicate keys, tags, merge keys, alias
bombs, and scalars that YAML 1.1 reads differently. Positions are composed again on demand, only to report something.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from aifctl.diagnostics import Diagnostic, Position, Report, Severity, Where

MAX_BYTES = 4 * 1024**2
MAX_NODES = 100_000
MAX_DEPTH = 64

_BRACKETS = re.compile(r"[][{}]")
_DEEP_BLOCK = re.compile(r"^ {64}|(?:[-?] +){16}", re.MULTILINE)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {
    **{
        f"{sign}.{word}": -math.inf if sign == "-" else math.inf
        for sign in ("", "+", "-")
        for word in ("inf", "Inf", "INF")
    },
    **{f".{word}": math.nan for word in ("nan", "NaN", "NAN")},
}
_ONLY_1_1 = re.compile(
    r"(?P<bool>yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)"
    r"|(?P<sexagesimal>[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)"
    r"|(?P<octal>0[0-7]+)"
    r"|(?P<underscored>[-+]?[0-9][0-9_]*_[0-9_]*)"
)
"""`y` and `n` are left out: YAML 1.1 has them for booleans, its readers do not, and columns are often called so."""
_READ_1_1 = {
    "bool": "a boolean",
    "sexagesimal": "a number of base 60",
    "octal": "an octal number",
    "underscored": "a number",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document of a file. `file` is the path as shown to people; `value` a mapping."""

    file: str
    path: Path
    index: int
    value: dict[str, Any]

    @property
    def model_name(self) -> str:
        """`metadata.name` as written, before anything is validated; empty where there is none."""
        metadata = self.value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return name if isinstance(name, str) else ""

    @property
    def key(self) -> tuple[str, int]:
        return self.file, self.index


def read_text(path: Path, file: str) -> str:
    """The file's text. Raises Report when it can't be read, is too large or no UTF-8."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            found = f"{size / 1024**2:.0f} MiB"
            message = f"a spec of {found} is refused; at most {MAX_BYTES // 1024**2} MiB are read"
            raise Report(
                Diagnostic("AIF103", message, "keep data out of specs; name its file in `source`", Where(file))
            )
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = "save the file as UTF-8"
        raise Report(
            Diagnostic(
                "AIF102", f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}", hint, Where(file)
            )
        ) from None
    except OSError as error:
        raise Report(Diagnostic("AIF101", f"can't be read: {error.strerror or error}", None, Where(file))) from None


def parse(text: str, path: Path, file: str) -> tuple[list[Document], list[Diagnostic]]:
    """Documents of a text, with everything that is wrong with it; a document with an error is left out."""
    documents: list[Document] = []
    found: list[Diagnostic] = []
    try:
        if "!" in text or _may_be_deep(text):
            found = list(_refused_events(text, file))
            if found:
                return [], found
        nodes = list(_compose(text))
    except yaml.YAMLError as error:
        return [], [_syntax(error, text, file)]
    for index, node in enumerate(nodes):
        if node is None or (isinstance(node, ScalarNode) and not node.value and not node.style):
            continue  # nothing but comments between two `---`
        builder = _Builder(file)
        value = builder.build(node)
        found += builder.found
        if any(d.severity is Severity.ERROR for d in builder.found):
            continue
        if not isinstance(value, dict):
            found.append(
                _at(
                    node,
                    file,
                    "AIF112",
                    f"expected a mapping, found {_kind(value)}",
                    "start with `apiVersion:` and `kind:`",
                )
            )
            continue
        documents.append(Document(file, path, index, value))
    return documents, found


class _Loader(yaml.CBaseLoader):
    """Leaves tags out: they are refused where they are written, and what a plain scalar means is `core_scalar`'s."""

    def resolve(self, kind: type[Node], value: str | None, implicit: tuple[bool, bool]) -> str:
        return ""


def _compose(text: str) -> Iterator[Node | None]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


def _may_be_deep(text: str) -> bool:
    """Whether nesting could pass MAX_DEPTH: composing recurses in C and would overflow the stack, events do not."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH // 2 or _DEEP_BLOCK.search(text) is not None


def _refused_events(text: str, file: str) -> Iterator[Diagnostic]:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CBaseLoader):
        tag = getattr(event, "tag", None)
        if tag is not None:
            yield _at(event, file, "AIF109", f"the tag `{tag}` is not allowed", "write plain YAML without tags")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            yield _at(event, file, "AIF107", f"nested more than {MAX_DEPTH} levels deep")
            return


def resolve(diagnostics: list[Diagnostic], texts: dict[str, str]) -> list[Diagnostic]:
    """Gives every diagnostic its position, from the texts by file; a file that can't be composed gives line 1."""
    trees: dict[str, list[Node | None]] = {}
    resolved = []
    for diagnostic in diagnostics:
        where = diagnostic.where
        if diagnostic.position is None and where is not None and where.file in texts:
            if where.file not in trees:
                trees[where.file] = _compose_safely(texts[where.file])
            diagnostic = diagnostic.at(_locate(trees[where.file], where))
        resolved.append(diagnostic)
    return resolved


def _compose_safely(text: str) -> list[Node | None]:
    try:
        return list(_compose(text))
    except yaml.YAMLError:
        return []


def _locate(documents: list[Node | None], where: Where) -> Position:
    node = documents[where.document] if where.document < len(documents) else None
    if node is None:
        return Position(where.file, 1, 1, 1, 1)
    key: Node | None = None
    for step in where.path:
        below = _child(node, step)
        if below is None:
            break  # a missing field: what should hold it is the place
        key, node = below
    if where.on == "key" and key is not None:
        node = key
    elif key is not None and isinstance(node, MappingNode | SequenceNode) and node.flow_style is False:
        node = _first_key(key)  # a block of many lines: point at what names it
    return _span(node, where.file)


def _first_key(node: Node) -> Node:
    """Of an entry of a list, which no key names, the first key that it has."""
    while isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        node = node.value[0] if isinstance(node, SequenceNode) else node.value[0][0]
    return node


def _child(node: Node, step: str | int) -> tuple[Node, Node] | None:
    """(what names the child, the child) or None."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == str(step):
                return key, value
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _span(node: Node | yaml.Event, file: str) -> Position:
    start, end = node.start_mark, node.end_mark
    assert start is not None
    assert end is not None
    return Position(file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def _at(
    node: Node | yaml.Event,
    file: str,
    code: str,
    message: str,
    hint: str | None = None,
    severity: Severity = Severity.ERROR,
) -> Diagnostic:
    return Diagnostic(code, message, hint, Where(file), _span(node, file), severity)


def _syntax(error: yaml.YAMLError, text: str, file: str) -> Diagnostic:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    problem = (
        str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
        .strip()
        .rstrip(".")
        .replace("\n", " ")
    )
    hint = "indent with blanks, not tabs" if "\t" in _line(text, line) else _began(error, line)
    return Diagnostic(
        "AIF104", f"not YAML: {problem}", hint, Where(file), Position(file, line, column, line, column + 1)
    )


def _began(error: yaml.YAMLError, line: int) -> str | None:
    """Where that began which is not ended, when it is in another line: `a mapping that begins in line 3, column 9`."""
    mark, context = getattr(error, "context_mark", None), getattr(error, "context", None)
    if mark is None or context is None or mark.line + 1 == line:
        return None
    what = str(context).removeprefix("while parsing ").removeprefix("while scanning ")
    return f"look at {what} that begins in line {mark.line + 1}, column {mark.column + 1}"


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _kind(value: Any) -> str:
    names = {
        dict: "a mapping",
        list: "a list",
        str: "a text",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "nothing",
    }
    return names.get(type(value), type(value).__name__)


class _Builder:
    """Builds plain values from composed nodes; an alias is built once and shared, but counted each time."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Diagnostic] = []
        self._built: dict[int, tuple[Any, int]] = {}
        self._open: set[int] = set()
        self._count = 0
        self._refused = False

    def build(self, node: Node) -> Any:
        if isinstance(node, ScalarNode):  # most are: they hold nothing that could lead back
            self._add(node, 1)
            return None if self._refused else self._scalar(node)
        known = self._built.get(id(node))
        if known is not None:
            self._add(node, known[1])
            return known[0]
        if id(node) in self._open:
            self._refuse(node, "AIF106", "an alias that contains itself")
            return None
        before = self._count
        self._add(node, 1)
        if self._refused:
            return None
        self._open.add(id(node))
        value = self._collection(node)
        self._open.discard(id(node))
        self._built[id(node)] = (value, self._count - before)
        return value

    def _add(self, node: Node, count: int) -> None:
        self._count += count
        if self._count > MAX_NODES:
            self._refuse(node, "AIF106", f"aliases expand to more than {MAX_NODES:,} values")

    def _refuse(self, node: Node, code: str, message: str) -> None:
        if not self._refused:
            self._refused = True
            self.found.append(_at(node, self.file, code, message, "write the values out"))

    def _collection(self, node: Node) -> Any:
        if isinstance(node, SequenceNode):
            return [self.build(item) for item in node.value]
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            if key in result:
                hint = f"keep one of them; the first is in line {lines[key]}"
                self.found.append(_at(key_node, self.file, "AIF105", f"the key `{key}` stands here twice", hint))
            result[key] = self.build(value_node)
            lines.setdefault(key, key_node.start_mark.line + 1 if key_node.start_mark is not None else 0)
        return result

    def _key(self, node: Node) -> str | None:
        if not isinstance(node, ScalarNode):
            self.found.append(_at(node, self.file, "AIF111", "a key must be a text, not a collection"))
            return None
        if node.value == "<<" and not node.style:
            hint = "YAML 1.2 has none; repeat the fields, or vary them by `environments`"
            self.found.append(_at(node, self.file, "AIF110", "merge keys are not supported", hint))
            return None
        # A key is its text: `1:` and `on:` name fields, whatever a scalar of that form would mean as a value.
        return str(node.value)

    def _scalar(self, node: ScalarNode) -> Any:
        text = str(node.value)
        if node.style:
            return text
        value = core_scalar(text)
        match = _ONLY_1_1.fullmatch(text)
        if match is not None:
            self._warn(node, text, value, str(match.lastgroup))
        return value

    def _warn(self, node: Node, text: str, value: Any, form: str) -> None:
        now = f"the number {value}" if isinstance(value, int | float) else "a text"
        hint = "write true or false, or quote it" if form == "bool" else "quote it, or write the number plainly"
        message = f"`{text}` is {now} here, but {_READ_1_1[form]} to readers of YAML 1.1"
        self.found.append(_at(node, self.file, "AIF108", message, hint, Severity.WARNING))


def core_scalar(text: str) -> Any:
    """A plain scalar by YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""
    first = text[:1]
    if not first or first in "~nN":
        return None if text in _NULL else text
    if first in "tTfF":
        return _BOOL.get(text, text)
    if first in "0123456789+-.":
        if _INT.fullmatch(text):
            return int(text) if len(text) <= 4000 else text
        if _BASED.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
        return _SPECIAL.get(text, text)
    return text
