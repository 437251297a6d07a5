"""Diagnostics are values: a stable code, a place, a message and a hint. Does no I/O; imports nothing of aifctl."""

from aifctl.diagnostics.model import Diagnostic, Position, Report, Severity, Where

__all__ = ["Diagnostic", "Position", "Report", "Severity", "Where"]
