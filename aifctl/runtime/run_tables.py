"""Runs as text for people: a list of them, one of them, and how two differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aifctl.digest import SHORT
from aifctl.runtime.comparison import Comparison, Difference
from aifctl.runtime.runs import Listing, RunRecord


def listing_to_text(listing: Listing) -> str:
    """A table, one run a line."""
    rows = [("RUN", "MODEL", "STATE", "STARTED", "SECONDS", "COMMIT", "METRICS")]
    for record in listing.records:
        took = sum(step.seconds or 0.0 for step in record.steps.values())
        commit = str(record.git.get("commit", ""))[:SHORT] + ("*" if record.git.get("dirty") else "")
        metrics = " ".join(f"{name}={value:.4g}" for name, value in record.metrics.items())
        rows.append((record.run, record.model, record.state, record.started[:19] + "Z", f"{took:.1f}", commit, metrics))
    return _table(rows)


def record_to_text(record: RunRecord) -> str:
    """One run: when and from what it was made, its steps, parameters, metrics and artifacts."""
    commit = str(record.git.get("commit") or "none") + (" with uncommitted changes" if record.git.get("dirty") else "")
    lines = [
        f"{record.run}  {record.state}",
        f"  model     {record.model}",
        f"  started   {record.started[:19]}Z" + (f", ended {record.ended[:19]}Z" if record.ended else ""),
        f"  commit    {commit}",
        f"  command   {' '.join(record.command)}",
        "",
    ]
    steps = [("  STEP", "STATE", "SECONDS", "DIGEST", "LOG")]
    for name, step in record.steps.items():
        seconds = "-" if step.seconds is None else f"{step.seconds:.1f}"
        steps.append((f"  {name}", step.state, seconds, (step.digest or "-")[:SHORT], step.log or "-"))
    lines.append(_table(steps))
    for title, values in (("parameters", record.parameters), ("metrics", record.metrics)):
        if values:
            lines += ["", title, _table([(f"  {name}", _shown(value)) for name, value in values.items()])]
    return "\n".join(lines)


def comparison_to_text(comparison: Comparison) -> str:
    """Sections with a table each; `no differences` where there is none."""
    lines = [f"a: {_title(comparison.a)}", f"b: {_title(comparison.b)}"]
    for section in dict.fromkeys(difference.section for difference in comparison.differences):
        found = [d for d in comparison.differences if d.section == section]
        rows = [("", "a", "b", ""), *((f"  {d.key}", _shown(d.a), _shown(d.b), _change(d)) for d in found)]
        lines += ["", section, _table(rows)]
    if not comparison.differences:
        lines += ["", "no differences"]
    return "\n".join(lines)


def _title(record: RunRecord) -> str:
    return f"{record.run} ({record.state}, {record.started[:19]}Z)"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) and len(value) in (40, 64) and all(c in "0123456789abcdef" for c in value):
        return value[:SHORT]
    return value if isinstance(value, str) else json.dumps(value)


def _change(difference: Difference) -> str:
    if difference.section != "metrics" or difference.a is None or difference.b is None:
        return ""
    return f"{difference.b - difference.a:+.4g}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
