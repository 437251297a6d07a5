"""Plain values → typed models; pydantic's errors → diagnostics with our codes, words and exact places. Does no I/O."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aifctl.diagnostics import Diagnostic, Where
from aifctl.diagnostics.model import KeyPath

SectionT = TypeVar("SectionT", bound=BaseModel)
Origin = Callable[[KeyPath], KeyPath]

_TYPES = {
    **dict.fromkeys(("string_type", "string_sub_type"), "a text"),
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_LENGTHS = {
    "too_short": ("min_length", "least"),
    "too_long": ("max_length", "most"),
    "string_too_short": ("min_length", "least"),
    "string_too_long": ("max_length", "most"),
}
_PATTERNS = (
    ("(\\.[A-Za-z_]\\w*)*:", "write `module:name`, such as `digits.cnn:build`"),
    ("^[A-Z][A-Za-z0-9]*(", "write a kind as manifests do, such as `Deployment` or `Job.batch`"),
    ("^[a-z]([a-z0-9-]*[a-z0-9])?$", "use lower-case letters, digits and dashes, beginning with a letter"),
    ("^[A-Za-z_][A-Za-z0-9_-]*$", "use letters, digits, `_` and `-`, beginning with a letter"),
    ("^[A-Za-z_][A-Za-z0-9_]*$", "use letters, digits and `_`, beginning with a letter"),
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
    above = {path[:length] for path, _ in placed for length in range(len(path))}
    together: dict[tuple[KeyPath, bool], list[ErrorDetails]] = {}
    for path, detail in placed:
        if path in above and (detail["type"] in _TYPES or detail["type"] == "too_short"):
            continue  # a union's other branch, or a list counted without its failing items: the deeper finding tells
        missing = detail["type"] == "missing"
        if missing and isinstance(path[-1], int):
            path = path[:-1]  # an entry of a list with a fixed length: the list is what is wrong
        together.setdefault((path, missing), []).append(detail)
    for (path, missing), found in together.items():
        said = _explain(_Finding(kind, path, found))
        place = origin(path[:-1] if missing and found[0]["loc"][-1] == path[-1] else path)
        yield Diagnostic(
            said.code, said.message, said.hint, Where(where.file, place, "key" if said.key else "value", where.document)
        )


def _real_path(value: Any, detail: ErrorDetails) -> KeyPath:
    """The error's location without the branch names that pydantic adds for unions.

    A branch may be called like a key that stands there (`int: {int: …}`), so the path is the one that leads to the
    very value the error is about.
    """
    loc, target = detail["loc"], detail["input"]
    missing = detail["type"] == "missing"
    steps = loc[:-1] if missing else loc
    for path, found in _walks(value, steps):
        if found is target:
            return (*path, loc[-1]) if missing else path
    path, _ = next(_walks(value, steps))
    return (*path, loc[-1]) if missing else path


def _walks(value: Any, steps: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """(path, value there) for every way to read the steps as keys or as names of branches; the longest first."""
    if not steps:
        yield (), value
        return
    step, rest = steps[0], steps[1:]
    if rest == ("[key]",):
        yield (step,), step
    if isinstance(value, dict):
        there = step in value
    else:
        there = isinstance(value, list) and isinstance(step, int) and step < len(value)
    if there:
        for path, found in _walks(value[step], rest):
            yield (step, *path), found
    yield from _walks(value, rest)


@dataclass(frozen=True, slots=True)
class _Finding:
    """What pydantic says about one place; several details where a union failed in each branch."""

    kind: type[BaseModel]
    path: KeyPath
    details: list[ErrorDetails]

    @property
    def first(self) -> ErrorDetails:
        return self.details[0]

    @property
    def value(self) -> Any:
        return self.first["input"]

    @property
    def context(self) -> dict[str, Any]:
        return self.first.get("ctx", {})

    @property
    def name(self) -> str:
        """The field; of a list's item the field that holds the list."""
        return next((str(step) for step in reversed(self.path) if isinstance(step, str)), "document")


@dataclass(frozen=True, slots=True)
class _Said:
    code: str
    message: str
    hint: str | None = None
    key: bool = False


def _explain(finding: _Finding) -> _Said:
    types = [detail["type"] for detail in finding.details]
    if "unit" in types:
        return _unit(finding)
    if "finite_number" in types:
        return _Said("AIF207", f"`{finding.name}` must be a finite number, found {_show(finding.value)}")
    if any(type_ in _TYPES for type_ in types):
        return _wrong_type(finding)
    return _WORDS.get(types[0], _otherwise)(finding)


def _unknown_field(finding: _Finding) -> _Said:
    name = finding.name
    return _Said("AIF203", f"unknown field `{name}`", _field_hint(finding.kind, finding.path, name), key=True)


def _missing(finding: _Finding) -> _Said:
    last = finding.details[-1]["loc"][-1]
    if isinstance(last, int):
        wanted = _count(last + 1, "entry")
        return _Said("AIF207", f"`{finding.name}`: expected {wanted}, found {len(finding.value)}")
    name, above = finding.path[-1], finding.path[:-1]
    parent = "the document" if not above else f"`{above[-1]}`" if isinstance(above[-1], str) else "this entry"
    return _Said("AIF204", f"`{name}` is missing in {parent}", _example(finding.kind, finding.path), key=True)


def _example(kind: type[BaseModel], path: KeyPath) -> str | None:
    parent = _section_at(kind, path[:-1])
    fields = parent.model_fields.items() if parent is not None else ()
    name, field = next(((name, each) for name, each in fields if path[-1] in (name, each.alias)), (None, None))
    if parent is None or name is None or field is None:
        return None
    from aifctl.spec.field_words import words  # reads sources, which only a finding is worth

    said = words(parent).get(name)
    examples = said.written if said is not None and said.written else field.examples
    return f"such as `{path[-1]}: {examples[0]}`" if examples else None


def _unknown_value(finding: _Finding) -> _Said:
    expected = str(finding.context["expected"]).replace(" or ", ", ")
    choices = [choice.strip("'") for choice in expected.split(", ")]
    hint = did_you_mean(str(finding.value), choices, "allowed are")
    message = f"unknown value {_show(finding.value)} of `{finding.name}`"
    if _is_key(finding.first):
        return _Said("AIF206", f"unknown key `{finding.name}`", hint, key=True)
    return _Said("AIF206", message, hint)


def _unit(finding: _Finding) -> _Said:
    words = [detail["msg"].removeprefix("expected ") for detail in finding.details if detail["type"] == "unit"]
    if any(detail["type"] == "int_type" for detail in finding.details):
        words.insert(0, "a whole number")
    return _Said("AIF208", f"`{finding.name}`: expected {', or '.join(words)}; found {_show(finding.value)}")


def _rule(finding: _Finding) -> _Said:
    return _Said("AIF209", finding.first["msg"])


def _bound(finding: _Finding) -> _Said:
    key, words = _BOUNDS[finding.first["type"]]
    return _Said("AIF207", f"`{finding.name}` must be {words} {finding.context[key]:g}, found {_show(finding.value)}")


def _length(finding: _Finding) -> _Said:
    key, words = _LENGTHS[finding.first["type"]]
    limit, thing = finding.context[key], "character" if isinstance(finding.value, str) else "entry"
    message = f"`{finding.name}`: expected at {words} {_count(limit, thing)}, found {len(finding.value)}"
    return _Said("AIF207", message, key=_is_key(finding.first))


def _pattern(finding: _Finding) -> _Said:
    pattern = str(finding.context["pattern"])
    hint = next((words for part, words in _PATTERNS if part in pattern), f"it must match {pattern}")
    if _is_key(finding.first):
        return _Said("AIF207", f"`{finding.name}` can't be a key here", hint, key=True)
    return _Said("AIF207", f"{_show(finding.value)} can't be a value of `{finding.name}`", hint)


def _wrong_type(finding: _Finding) -> _Said:
    words = dict.fromkeys(_TYPES[detail["type"]] for detail in finding.details if detail["type"] in _TYPES)
    if "a number" in words:
        words.pop("a whole number", None)
    *most, last = words
    expected = f"{', '.join(most)} or {last}" if most else last
    message = f"`{finding.name}`: expected {expected}, found {_type_name(finding.value)}"
    return _Said("AIF205", message, _type_hint(finding.value, expected))


def _otherwise(finding: _Finding) -> _Said:
    words = finding.first["msg"]
    return _Said("AIF207", f"`{finding.name}`: {words[:1].lower()}{words[1:].rstrip('.')}")


_WORDS: dict[str, Callable[[_Finding], _Said]] = {
    "extra_forbidden": _unknown_field,
    "missing": _missing,
    "literal_error": _unknown_value,
    "one_of": _rule,
    "pin": _rule,
    "string_pattern_mismatch": _pattern,
    **dict.fromkeys(_BOUNDS, _bound),
    **dict.fromkeys(_LENGTHS, _length),
}


def _count(number: int, thing: str) -> str:
    return (
        f"{number} {thing if number == 1 else thing.removesuffix('y') + 'ies' if thing.endswith('y') else thing + 's'}"
    )


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
        return "put it in quotes"
    if (
        "number" in expected
        and "text" not in expected
        and isinstance(value, str)
        and value.replace(".", "", 1).isdigit()
    ):
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
