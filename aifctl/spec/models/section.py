"""What every model shares: frozen, no unknown fields, exact types, units written out (`5m`, `4Gi`, `200ms`)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

API_VERSION = "aif.dev/v1alpha1"

DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
DURATION_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
SIZE = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
SIZE_BYTES = {
    "": 1,
    **{unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)},
    **{unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T", "P"), 1)},
}
MILLICORES = re.compile(r"(\d+)m")
DURATION_PATTERN = r"^(\d+(d|h|m|s|ms))+$"
SIZE_PATTERN = r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)$"
"""As JSON Schema has it: editors check by it, loading does by `parse_duration` and `parse_size`."""


class Section(BaseModel):
    """A mapping of the spec. Frozen, so that stages can share it; unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True, defer_build=True
    )


def parse_duration(value: Any) -> float:
    """Seconds of `1h30m`, `5m`, `200ms`; a bare number is refused because its unit would be a guess."""
    match = DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None or not any(match.groups()):
        raise PydanticCustomError("unit", "expected a duration such as `30s`, `5m`, `1h30m` or `200ms`")
    return sum(int(count) * seconds for count, seconds in zip(match.groups("0"), DURATION_SECONDS, strict=True))


def parse_size(value: Any) -> int:
    """Bytes of `4Gi`, `512Mi`, `1G`; a bare number is refused because its unit would be a guess."""
    match = SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match.group(2) is None:
        raise PydanticCustomError("unit", "expected a size such as `512Mi`, `4Gi` or `1Ti`")
    return int(Decimal(match.group(1)) * SIZE_BYTES[match.group(2)])


def write_duration(seconds: float) -> str:
    """`10m` of 600: in the greatest unit that leaves nothing over. What is below a millisecond is rounded."""
    thousandths = round(seconds * 1000)
    units = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
    unit = next((name for name, size in units.items() if thousandths % size == 0), "ms") if thousandths else "s"
    return f"{thousandths // units.get(unit, 1)}{unit}"


def write_size(size: int) -> str:
    """`1Gi` of 1073741824: in the greatest unit that leaves nothing over, of 1024 or of 1000. Raises ValueError."""
    for unit in ("Pi", "Ti", "Gi", "Mi", "Ki", "P", "T", "G", "M", "k"):
        if size % SIZE_BYTES[unit] == 0:
            return f"{size // SIZE_BYTES[unit]}{unit}"
    raise ValueError(f"{size} bytes are no whole number of any unit")


def parse_cpu(value: Any) -> float:
    """Cores of `2`, `0.5` or `500m`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100_000:
        return float(value)
    match = MILLICORES.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match.group(1)) == 0:
        raise PydanticCustomError("unit", "expected CPU cores such as `2`, `0.5` or `500m`")
    return int(match.group(1)) / 1000


Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
"""JSON has no infinities and no NaN, so neither a step's arguments nor its identity could hold one."""
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Scalar = Flag | Integer | Number | Text
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["5m", "200ms"]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["4Gi"]}),
]
Cpu = Annotated[
    float,
    BeforeValidator(parse_cpu),
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
