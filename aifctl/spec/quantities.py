"""Durations, sizes and cores as people write them (`5m`, `4Gi`, `500m`). Needs no schema, so commands read them too."""

from __future__ import annotations

import re
from typing import Any

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


def parse_duration(value: Any) -> float:
    """Seconds of `1h30m`, `5m`, `200ms`; a bare number is refused because its unit would be a guess.

    Raises ValueError.
    """
    match = DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None or not any(match.groups()):
        raise ValueError("expected a duration such as `30s`, `5m`, `1h30m` or `200ms`")
    return sum(int(count) * seconds for count, seconds in zip(match.groups("0"), DURATION_SECONDS, strict=True))


def parse_size(value: Any) -> int:
    """Bytes of `4Gi`, `512Mi`, `1G`; a bare number is refused because its unit would be a guess. Raises ValueError."""
    from decimal import Decimal

    match = SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match.group(2) is None:
        raise ValueError("expected a size such as `512Mi`, `4Gi` or `1Ti`")
    return int(Decimal(match.group(1)) * SIZE_BYTES[match.group(2)])


def parse_cpu(value: Any) -> float:
    """Cores of `2`, `0.5` or `500m`. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100_000:
        return float(value)
    match = MILLICORES.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match.group(1)) == 0:
        raise ValueError("expected CPU cores such as `2`, `0.5` or `500m`")
    return int(match.group(1)) / 1000


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
