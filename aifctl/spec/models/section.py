"""What every model shares: frozen, no unknown fields, exact types, units written out (`5m`, `4Gi`, `200ms`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from aifctl.spec.quantities import DURATION_PATTERN, SIZE_PATTERN, parse_cpu, parse_duration, parse_size

API_VERSION = "aif.dev/v1alpha1"


class Section(BaseModel):
    """A mapping of the spec. Frozen, so that stages can share it; unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True, defer_build=True
    )


def _by(parse: Callable[[Any], float]) -> BeforeValidator:
    """What it raises is the finding's text as it stands."""

    def parsed(value: Any) -> float:
        try:
            return parse(value)
        except ValueError as error:
            raise PydanticCustomError("unit", str(error)) from error

    return BeforeValidator(parsed)


Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
"""JSON has no infinities and no NaN, so neither a step's arguments nor its identity could hold one."""
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Scalar = Flag | Integer | Number | Text
Duration = Annotated[
    float,
    _by(parse_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["5m", "200ms"]}),
]
Size = Annotated[
    int,
    _by(parse_size),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["4Gi"]}),
]
Cpu = Annotated[
    float,
    _by(parse_cpu),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d+m$"}],
            "examples": [2, "500m"],
        }
    ),
]

ModelName = Annotated[str, Strict(), Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=30, examples=["digits"])]
"""At most 30 characters, so that every name made from it fits (CronWorkflow 52, labels 63)."""
Name = Annotated[str, Strict(), Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40, examples=["digits"])]
Identifier = Annotated[str, Strict(), Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=63, examples=["pixels"])]
EntryPoint = Annotated[
    str,
    Strict(),
    Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$", max_length=200, examples=["digits.cnn:build"]),
]
RelativePath = Annotated[str, Strict(), Field(min_length=1, max_length=400, examples=["data/digits.csv"])]
Variable = Annotated[str, Strict(), Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
Sha256 = Annotated[str, Strict(), Field(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Strict(), Field(ge=0, le=1)]


def exactly_one(section: Section, *names: str) -> None:
    """Raises a validation error unless just one of these fields is set."""
    given = [name for name in names if getattr(section, name) is not None]
    if len(given) != 1:
        listed = ", ".join(f"`{name}`" for name in names)
        said = " and ".join(f"`{name}`" for name in given) if given else "none"
        raise PydanticCustomError(
            "one_of", "expected exactly one of {listed}; found {said}", {"listed": listed, "said": said}
        )
