"""When a wait gives up on pods, by statuses that a real kubelet (1.36) wrote: `recorded/*.jsonl`.

A line is what a watch told of a pod, and when, in seconds. `comes-back` crashes three times, then loads for 45 seconds
and is well; the others never are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aifctl.cluster import health
from aifctl.cluster.health import Streak, Trouble
from aifctl.cluster.wait import LOOK, PATIENCE

RECORDED = Path(__file__).parent / "recorded"
OFFSETS = (0.0, 1.0, 2.0, 3.0, 4.0)
"""Looks fall between other changes of the status, each time."""


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text("utf-8").splitlines()]


def given_up(name: str, offset: float) -> float | None:
    """Seconds after which a wait gives up that looks every LOOK seconds; None where it never does."""
    told, streak, now = rows(name), Streak(), offset
    while now <= told[-1]["at"]:
        pod = next(row["pod"] for row in reversed(told) if row["at"] <= now)
        streak.note(health.stuck([pod]), now)
        if streak.lasts(now) >= PATIENCE:
            return now
        now += LOOK
    return None


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize(
    "name", ["crashes", "crashes-after-12s", "ends-well", "no-image", "no-program", "out-of-memory"]
)
def test_it_gives_up_on_what_does_not_get_better(name: str, offset: float) -> None:
    """A minute after the first failure, however the status flips; a little later where a container runs just then."""
    after = given_up(name, offset)
    assert after is not None
    assert PATIENCE <= after <= PATIENCE + 35


@pytest.mark.parametrize("offset", OFFSETS)
def test_it_does_not_give_up_on_what_comes_back(offset: float) -> None:
    assert given_up("comes-back", offset) is None


def test_recordings_hold_what_they_are_for() -> None:
    """Reasons change while nothing gets better."""
    reasons = {name: {reason(row["pod"]) for row in rows(name)} for name in ("crashes", "no-image", "ends-well")}
    assert {"CrashLoopBackOff", "Error", "running"} <= reasons["crashes"]
    assert {"ErrImagePull", "ImagePullBackOff"} <= reasons["no-image"]
    assert {"CrashLoopBackOff", "Completed", "running"} <= reasons["ends-well"]
    assert rows("comes-back")[-1]["pod"]["status"]["containerStatuses"][0]["ready"] is True


def reason(pod: dict[str, Any]) -> str:
    (kind, told), *_ = pod["status"]["containerStatuses"][0]["state"].items()
    return str(told.get("reason", kind))


def crash(restarts: int, *, running: bool = False, lived: float = 0.0, phase: str = "CrashLoopBackOff") -> Trouble:
    return Trouble(
        pod="p", container="server", phase="Starting" if running else phase, restarts=restarts,
        crashes=restarts + (not running), running=running, lived=lived,
    )  # fmt: skip


def lasting(*looks: tuple[float, Trouble | None]) -> float:
    streak = Streak()
    for now, trouble in looks:
        streak.note(trouble, now)
    return streak.lasts(looks[-1][0])


def test_one_crash_may_be_an_accident_and_three_are_not() -> None:
    assert lasting((0, crash(0)), (90, crash(1))) == 0
    assert lasting((0, crash(0)), (90, crash(2))) == 90


def test_what_is_well_meanwhile_begins_anew() -> None:
    assert lasting((0, crash(2)), (50, None), (70, crash(3)), (80, crash(3))) == 10


def test_what_runs_longer_than_before_begins_anew() -> None:
    shorter = [(0.0, crash(2, lived=20)), (10.0, crash(3, running=True, lived=20)), (45.0, crash(3, lived=35))]
    assert lasting(*shorter) == 45
    longer = [*shorter[:2], (60.0, crash(3, running=True, lived=20)), (70.0, crash(3, lived=60))]
    assert lasting(*longer) == 0
    assert lasting(*longer, (90.0, crash(3, lived=60))) == 20


def test_nothing_is_given_up_while_it_runs() -> None:
    assert lasting((0, crash(4, lived=50)), (80, crash(5, running=True, lived=50))) == 0


def test_a_pod_without_a_node_is_no_streak() -> None:
    assert lasting((0, crash(3)), (5, Trouble(pod="p", phase="Unschedulable")), (90, crash(3))) == 0
    assert lasting((0, Trouble(pod="p", phase="Unschedulable")), (900, Trouble(pod="p", phase="Unschedulable"))) == 0
