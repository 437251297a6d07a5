"""`aifctl suspend` and `resume`: whether a model is reconciled, kept in its inventory, where reconcilers see it."""

from __future__ import annotations

from dataclasses import replace

from aifctl.cluster.inventory import Inventory, Unit
from aifctl.cluster.records import Lost, Record, Records
from aifctl.diagnostics import Diagnostic, Report

PATIENCE = 60.0
"""Seconds to wait for an apply of the model that goes on."""
TRIES = 5


async def suspend(records: Records, unit: Unit, why: str) -> Inventory:
    """`why` says who and for what reason. A unit that was never applied can be suspended too.

    Raises Report (AIF730, AIF732), ApiError, Unreachable.
    """
    return await _written(records, unit, why)


async def resume(records: Records, unit: Unit) -> Inventory:
    """Raises as `suspend` does."""
    return await _written(records, unit, "")


async def _written(records: Records, unit: Unit, suspended: str) -> Inventory:
    for _ in range(TRIES):
        record: Record = await records.one(unit)
        if record.inventory.suspended == suspended:
            return record.inventory
        wanted = replace(record.inventory, suspended=suspended)
        try:
            # Taken first: an apply that goes on must not lose its inventory half-way.
            taken = await records.take(record, wanted, PATIENCE)
            return (await records.save(taken, wanted, release=True)).inventory
        except Lost:
            continue
    raise Report(Diagnostic("AIF732", f"{unit} is being applied again and again", "try again"))
