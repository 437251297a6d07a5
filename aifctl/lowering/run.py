"""Steps → a run with a name made of its content, so that a run object never changes under its name."""

from __future__ import annotations

from typing import Any

from aifctl import contract, digest, ir
from aifctl.digest import SHORT
from aifctl.spec.load import Unit


def lower(unit: Unit, steps: tuple[ir.Step, ...], code: ir.Code | None, target: ir.Target) -> ir.Run:
    schedule = unit.spec.schedule
    when = ir.Schedule(cron=schedule.cron, timezone=schedule.timezone) if schedule is not None else None
    content = {
        "steps": [contract.plain(step) for step in steps],
        "code": code.digest if code is not None else None,
        "delivery": code.delivery if code is not None else None,
        "target": _content(target),
    }
    whole = digest.of_value(content)
    name = f"{unit.name}-{whole[:SHORT]}"
    attempt = _attempt(unit, name, target.environment)
    return ir.Run(
        name=name if attempt == 1 else f"{name}-a{attempt}",
        digest=whole,
        attempt=attempt,
        steps=steps,
        code=code,
        schedule=when,
    )


def _content(target: ir.Target) -> dict[str, Any]:
    """What of the environment is in a run's object. Younger fields count once they say something: no name moves."""
    found = contract.plain(target)
    if target.pods == ir.PodDefaults():
        del found["pods"]
    return found


def _attempt(unit: Unit, run: str, environment: str) -> int:
    """`aifctl retry` counts attempts of one run in the lock file; another run starts at 1 again."""
    retry = unit.lock.retry.get(environment) if unit.lock is not None else None
    return retry.attempt if retry is not None and retry.run == run else 1
