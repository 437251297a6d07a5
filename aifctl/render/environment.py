"""Templates: plain Jinja2 in its sandbox, every expression written as JSON, the text parsed at once into a Manifest.

Expressions need no quoting, indenting or escaping (JSON is valid YAML), so no value can break out of its node. The
sandbox is narrower than Jinja's own: no `range`, no multiplication, no call but a mapping's items, keys, values and
get, so a template's work is bounded by its text and its data. A folder of the platform may replace a template by its
name (`argo/workflow.yaml.j2`); one that renders to nothing leaves that object out.
"""

from __future__ import annotations

import json
import re
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import jinja2
import yaml12
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aifctl import resources
from aifctl.diagnostics import Diagnostic, Position, Report
from aifctl.manifest import Manifest
from aifctl.render import nodes, slots

FILTERS = (
    "default", "d", "dictsort", "first", "items", "join", "last", "length", "list", "lower", "map", "reject",
    "rejectattr", "replace", "select", "selectattr", "sort", "tojson", "trim", "unique", "upper",
)  # fmt: skip
METHODS = frozenset({"items", "keys", "values", "get"})

_FAULTS = (
    jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError,
)  # fmt: skip
"""What filling a template can raise through a fault of the template."""


class Templates:
    """Renders templates by name; looks into the platform's folder first, then into aifctl's own."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises Report (AIF502) when the folder does not exist."""
        if folder is not None and not folder.is_dir():
            hint = "make the folder, or leave the setting out to use aifctl's own templates"
            raise Report(Diagnostic("AIF502", f"there is no template folder {folder}", hint))
        self._folders = [str(place) for place in (folder, resources.template_path("")) if place is not None]
        self._environment = _environment(self._folders, written, _WholeNodes)
        self._shaped = _environment(self._folders, self._slot, _Shaped)
        self._local = threading.local()

    def render(self, name: str, context: Mapping[str, Any]) -> Manifest | None:
        """The object that template `name` describes; None when it renders to nothing.

        Raises Report: AIF502 (not found), AIF503 (syntax), AIF504 (an expression inside a scalar), AIF505 (fails while
        it is filled), AIF506 (the text is no Kubernetes object).
        """
        try:
            return self._quickly(name, context)
        except _FAULTS:
            # Written out and read after all: that either is right, or says what is wrong, and where.
            pass
        try:
            return _manifest(self._text(name, context))
        except _NoObjectError as error:
            raise Report(_no_object(error, name, self._place(name))) from error

    def _quickly(self, name: str, context: Mapping[str, Any]) -> Manifest | None:
        """As `render`, where the values' way through JSON and YAML would change nothing. Raises _FAULTS."""
        values: list[Any] = []
        self._local.values = values
        shape = slots.shape(self._shaped.get_template(name).render(context))
        return Manifest(shape(values)) if shape is not None else None

    @jinja2.pass_context  # so that Jinja does not fill constants in while it compiles
    def _slot(self, _: object, value: object) -> str:
        values: list[Any] = self._local.values
        values.append(slots.plain(value))
        return slots.slot(len(values) - 1)

    def _text(self, name: str, context: Mapping[str, Any]) -> str:
        try:
            return self._environment.get_template(name).render(context)
        except jinja2.TemplateNotFound as error:
            hint = f"looked in {' and '.join(self._folders)}"
            raise Report(Diagnostic("AIF502", f"there is no template `{error.name}`", hint)) from error
        except jinja2.TemplateSyntaxError as error:
            raise Report(_syntax(error, name)) from error
        except _FAULTS as error:
            raise Report(_fault(error, name, self._folders)) from error

    def _place(self, name: str) -> str:
        return next((str(Path(folder, name)) for folder in self._folders if Path(folder, name).is_file()), name)


@cache
def templates(folder: Path | None = None) -> Templates:
    """Templates of a folder, kept: compiling them costs more than filling them."""
    return Templates(folder)


# The environment


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})
    # Multiplied and formatted texts grow without bound.

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        raise SecurityError(f"operator `{operator}` is not available in templates")

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A mapping's key comes before its methods, so that `step.items` is what the data says."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_callable(self, obj: Any) -> bool:
        method_of = getattr(obj, "__self__", None)
        # Calling what is undefined raises, and says its name.
        is_known = isinstance(obj, Macro | jinja2.Undefined)
        return is_known or (isinstance(method_of, Mapping) and obj.__name__ in METHODS)


class _PartOfNode(jinja2.TemplateSyntaxError):
    """An expression that is not a whole YAML node."""


class _WholeNodes(Extension):
    """Looks at each template's tokens before it is compiled."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        lines = nodes.partial_lines(self.environment.lex(source, name, filename))
        if lines:
            raise _PartOfNode("an expression must be a whole YAML node", lines[0], name, filename)
        return source


class _Shaped(_WholeNodes):
    """Refuses templates that go on with what they have written: a slot there is not yet what it stands for."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        if _CAPTURES.search(source):
            raise slots.Unsure(name)
        return super().preprocess(source, name, filename)


_CAPTURES = re.compile(r"\{%[-+]?\s*(?:filter|macro|call|set\s[\w\s.,()]*(?:\||[-+]?%\}))")


def _environment(folders: list[str], finalize: Callable[..., str], lexed: type[Extension]) -> _Sandbox:
    environment = _Sandbox(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=[lexed],
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.filters["tojson"] = written
    return environment


# Values as JSON

_UNSEEN = re.compile("[\x7f-\xa0\xad\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Characters that JSON leaves as they are and YAML takes for breaks, or does not take."""


def written(value: object) -> str:
    """A value as JSON that is YAML too. Raises UndefinedError for what is undefined, TypeError, ValueError (NaN)."""
    if type(value) is str:
        return _written_text(value)
    return _UNSEEN.sub(_escape, _ENCODER.encode(value))


@lru_cache(maxsize=1 << 14)
def _written_text(value: str) -> str:
    return _UNSEEN.sub(_escape, encode_basestring(value))


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _other(value: object) -> object:
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, naming what is undefined
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} can't be written as a value")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_other)


# From text to manifest


class _NoObjectError(ValueError):
    """A filled template that is no Kubernetes object, with its text."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason)
        self.text = text


def _manifest(text: str) -> Manifest | None:
    try:
        documents: Any = yaml12.parse_yaml(text, multi=True)
        if len(documents) > 1:
            raise ValueError("it has several documents")
        if not documents or documents[0] is None:
            return None
        if type(documents[0]) is not dict:
            raise ValueError("it is no mapping")
        return Manifest(documents[0])
    except ValueError as error:
        raise _NoObjectError(str(error), text) from error


def _no_object(error: _NoObjectError, name: str, place: str) -> Diagnostic:
    found = re.search(r"line (\d+)", str(error))
    notes: tuple[str, ...] = ()
    hint = "one template makes one object"
    if found is not None:
        first = max(int(found[1]) - 2, 0)
        shown = error.text.splitlines()[first : first + 3]
        notes = tuple(f"{number}: {line}" for number, line in enumerate(shown, first + 1))
        hint += "; the notes show its text around that place, after it was filled in"
    message = f"template `{name}` does not make a Kubernetes object: {error}"
    return Diagnostic("AIF506", message, hint, None, _at(place, 1), notes=notes)


# Diagnostics


def _syntax(error: jinja2.TemplateSyntaxError, name: str) -> Diagnostic:
    position = _at(error.filename or error.name or name, error.lineno)
    if isinstance(error, _PartOfNode):
        hint = 'join the parts in the expression: `name: {{ "a-" ~ x }}` for `name: a-{{ x }}`'
        return Diagnostic("AIF504", "this expression is only a part of a YAML value", hint, None, position)
    return Diagnostic("AIF503", f"template `{error.name or name}`: {error.message}", None, None, position)


def _fault(error: BaseException, name: str, folders: list[str]) -> Diagnostic:
    """Jinja puts the template's own frames into the traceback; the innermost one is the place."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(tuple(folders))]
    position = _at(own[-1].filename, own[-1].lineno or 1) if own else None
    what, hint = _REASONS.get(type(error), (lambda text: text, None))
    return Diagnostic("AIF505", f"template `{name}`: {what(str(error))}", hint, None, position)


_REASONS: dict[type[BaseException], tuple[Callable[[str], str], str]] = {
    RecursionError: (lambda _: "includes itself without end", "take the `include` out that leads back here"),
    SecurityError: (lambda text: text, "templates place values; what needs computing is computed by aifctl"),
}


def _at(file: str, line: int) -> Position:
    return Position(file, line, 1, line, 1)
