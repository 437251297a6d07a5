"""What a field of a model is for: the text below it, read from the source when somebody asks.

It may end in `Example: …` or `Examples: …, …`, each written in backticks as a spec writes it. Python forgets such texts
when it compiles a module, so no command starts slower, however much is said of the fields: `Field(description=…,
examples=…)` costs 10 to 20 µs a field at each start, pydantic's own `use_attribute_docstrings` 100 µs.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import yaml
from pydantic import BaseModel

_ENDING = re.compile(r"\s*Examples?: (`[^`]+`(?:, `[^`]+`)*)\.$")


@dataclass(frozen=True, slots=True)
class Words:
    """`text` is one line, without the examples, which are `written` as in a spec."""

    text: str
    written: tuple[str, ...] = ()

    @property
    def examples(self) -> tuple[Any, ...]:
        """Their values. Raises yaml.YAMLError for one that is no YAML."""
        return tuple(yaml.safe_load(each) for each in self.written)


def words(kind: type[BaseModel]) -> dict[str, Words]:
    """Field → its words, inherited fields included; without those whose module has no source here."""
    found: dict[str, Words] = {}
    for each in reversed(kind.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= _said(each.__module__).get(each.__qualname__, {})
    return {name: said for name, said in found.items() if name in kind.model_fields}


@cache
def _said(module: str) -> dict[str, dict[str, Words]]:
    """Class at the top of the module → field → words."""
    try:
        source = inspect.getsource(sys.modules[module])
    except OSError:
        return {}
    return {each.name: dict(_fields(each)) for each in ast.parse(source).body if isinstance(each, ast.ClassDef)}


def _fields(kind: ast.ClassDef) -> Iterator[tuple[str, Words]]:
    for field, below in pairwise(kind.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            value = below.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield field.target.id, read(value.value)


def read(text: str) -> Words:
    """The words that a text below a field says."""
    line = " ".join(text.split())
    ending = _ENDING.search(line)
    if ending is None:
        return Words(line)
    return Words(line[: ending.start()], tuple(re.findall(r"`([^`]+)`", ending[1])))
