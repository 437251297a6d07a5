"""Plain values → typed models; pydantic's errors → diagnostics with our codes, words and exact places. Does no I/O."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aifctl.diagnostics import Diagnostic, Where
from aifctl.diagnostics.model import KeyPath

SectionT = TypeVar("SectionT", bound=BaseModel)
Origin = Callable[[KeyPath], KeyPath]

_TYPES = {
    "string_type": "a text", "string_sub_type": "a text", "int_type": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "bool_type": "true or false", "dict_type": "a mapping", "model_type": "a mapping",
    "model_attributes_type": "a mapping", "tuple_type": "a list", "list_type": "a list", "int_parsing": "a whole number",
    "float_parsing": "a number", "bool_parsing": "true or false",
}  # fmt: skip
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_LENGTHS = {
    "too_short": ("min_length", "expected at least {n} entries"), "too_long": ("max_length", "expected at most {n} entries"),
    "string_too_short": ("min_length", "expected at least {n} characters"),
    "string_too_long": ("max_length", "at most {n} characters are allowed, these are {found}"),
}  # fmt: skip
_PATTERNS = (
    ("(\\.[A-Za-z_]\\w*)*:", "write `module:name`, such as `digits.cnn:build`"),
    ("^[a-z]([a-z0-9-]*[a-z0-9])?$", "use lower-case letters, digits and dashes, beginning with a letter"),
    ("://", "write a URL with its scheme, such as `s3://bucket/key`"),
    ("^[0-9a-f]{40}$", "write the full commit, 40 hex digits"),
    ("^[0-9a-f]", "write lower-case hex digits"),
    ("^\\S+( \\S+){4}$", "write five fields: minute, hour, day of month, month, day of week"),
    ("^\\/", "begin with `/`"),
    ("^/", "begin with `/`"),
    ("/[-._a-zA-Z0-9]+$", "write `secret/key`"),
    ("\\.[A-Za-z_]\\w*$", "write `step.output`"),
)


def validate(
    kind: type[SectionT], value: Any, where: Where, origin: Origin | None = None
) -> tuple[SectionT | None, list[Diagnostic]]:
    """The typed value, or None with every finding. `origin` maps a path of the value to its path in the document."""
    try:
        return kind.model_validate(value), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True, include_input=True)
        return None, list(_diagnostics(kind, value, details, where, origin or (lambda path: path)))


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like this one, if any is alike enough to be meant."""
    matches = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str], fallback: str = "known are") -> str:
    """Hint for an unknown name: the one that was meant, else the list."""
    names = sorted(set(known))
    close = suggest(word, names)
    if close is not None:
        return f"did you mean `{close}`?"
    return f"{fallback} {', '.join(f'`{name}`' for name in names)}" if names else f"{fallback} none"


def _diagnostics(
    kind: type[BaseModel], value: Any, details: list[ErrorDetails], where: Where, origin: Origin
) -> Iterator[Diagnostic]:
    placed = [(_real_path(value, detail), detail) for detail in details]
    deepest: dict[KeyPath, int] = {}
    for path, _ in placed:
        for length in range(len(path)):
            deepest[path[:length]] = max(deepest.get(path[:length], 0), len(path))
    alternatives: dict[KeyPath, list[ErrorDetails]] = {}
    for path, detail in placed:
        if detail["type"] in _TYPES and path in deepest:
            continue  # a union's other branch: the branch of the right type has its own, deeper finding
        alternatives.setdefault(path if detail["type"] != "missing" else (*path, "\0missing"), []).append(detail)
    for path, found in alternatives.items():
        place = path[:-1] if path and path[-1] == "\0missing" else path
        yield _diagnostic(kind, place, found, where, origin)


def _real_path(value: Any, detail: ErrorDetails) -> KeyPath:
    """The error's location without the tags and branch names that pydantic adds for unions.

    A step is real when the value has it; the tag of a discriminated union is none, even where a key has its name,
    because the discriminator's own value names it.
    """
    loc = detail["loc"]
    path: list[str | int] = []
    here = value
    for index, step in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        elif not (last and isinstance(here, dict) and detail["type"] == "missing"):
            continue
        path.append(step)
    return tuple(path)


def _diagnostic(
    kind: type[BaseModel], path: KeyPath, found: list[ErrorDetails], where: Where, origin: Origin
) -> Diagnostic:
    detail = found[0]
    code, message, hint, on_key = _explain(kind, path, found)
    place = path[:-1] if detail["type"] == "missing" else path
    return Diagnostic(
        code, message, hint, Where(where.file, origin(place), "key" if on_key else "value", where.document)
    )


def _explain(kind: type[BaseModel], path: KeyPath, found: list[ErrorDetails]) -> tuple[str, str, str | None, bool]:
    """(code, message, hint, whether the key is the place)."""
    detail = found[0]
    type_, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    name = str(path[-1]) if path else "document"
    if type_ == "extra_forbidden":
        return "AIF203", f"unknown field `{name}`", _field_hint(kind, path, name), True
    if type_ == "missing":
        parent = str(path[-2]) if len(path) > 1 else "the document"
        where = (
            f"`{parent}`"
            if len(path) > 1 and not isinstance(path[-2], int)
            else parent
            if len(path) == 1
            else "this entry"
        )
        return "AIF204", f"`{name}` is missing in {where}", None, True
    if type_ == "literal_error":
        choices = [str(choice).strip("'") for choice in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return (
            "AIF206",
            f"unknown value {_show(value)} of `{name}`",
            did_you_mean(str(value), choices, "allowed are"),
            False,
        )
    if type_ in ("unit", "one_of", "pin"):
        return (
            {"unit": "AIF208"}.get(type_, "AIF209"),
            f"`{name}`: {detail['msg']}" if type_ == "unit" else detail["msg"],
            None,
            False,
        )
    if type_ in _BOUNDS:
        key, words = _BOUNDS[type_]
        return "AIF207", f"`{name}` must be {words} {context[key]:g}, found {_show(value)}", None, False
    if type_ in _LENGTHS:
        key, words = _LENGTHS[type_]
        length = len(value) if isinstance(value, str | list | dict) else 0
        return "AIF207", f"`{name}`: " + words.format(n=context[key], found=length), None, False
    if type_ == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        hint = next((words for part, words in _PATTERNS if part in pattern), f"it must match {pattern}")
        return (
            "AIF207",
            f"{_show(value)} can't be a value of `{name}`" if not _is_key(detail) else f"`{name}` can't be a key here",
            hint,
            False,
        )
    expected = " or ".join(dict.fromkeys(_TYPES.get(each["type"], "") for each in found if each["type"] in _TYPES))
    if expected:
        return "AIF205", f"`{name}`: expected {expected}, found {_type_name(value)}", _type_hint(value, expected), False
    return "AIF207", f"`{name}`: {detail['msg'][:1].lower()}{detail['msg'][1:].rstrip('.')}", None, False


def _is_key(detail: ErrorDetails) -> bool:
    return detail["loc"][-1:] == ("[key]",)


def _show(value: Any) -> str:
    text = str(value).replace("\n", "\\n")
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def _type_name(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", bool: "true or false", type(None): "nothing"}
    if isinstance(value, str):
        return f"the text {_show(value)}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"the number {_show(value)}"
    return names.get(type(value), type(value).__name__)


def _type_hint(value: Any, expected: str) -> str | None:
    if expected == "a text" and isinstance(value, bool | int | float):
        return f'quote it: "{str(value).lower() if isinstance(value, bool) else value}"'
    if expected in ("a whole number", "a number") and isinstance(value, str) and value.replace(".", "", 1).isdigit():
        return "write it without quotes"
    return None


def _field_hint(kind: type[BaseModel], path: KeyPath, name: str) -> str:
    parent = _section_at(kind, path[:-1])
    if parent is None:
        return "it is not part of the vocabulary"
    fields = _field_names(parent)
    if suggest(name, fields) is None:
        for field, section in _sections_of(parent):
            if name in _field_names(section) and name != "name":
                return f"`{name}` belongs to `{field}`"
        if "hyperparameters" in fields:
            return "your own settings belong to `hyperparameters`"
    return did_you_mean(name, fields, "fields here are")


def _section_at(kind: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model class of the mapping at this path."""
    here: type[BaseModel] | None = kind
    for step in path:
        if isinstance(step, int):
            continue
        if here is None:
            return None
        field = next((f for key, f in here.model_fields.items() if step in (key, f.alias)), None)
        here = _section_of(field.annotation) if field is not None else here
    return here


def _sections_of(kind: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for key, field in kind.model_fields.items():
        section = _section_of(field.annotation)
        if section is not None:
            yield field.alias or key, section


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_of(part)) is not None), None)


def _field_names(kind: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]
