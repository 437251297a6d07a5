"""Recorded statuses: `data/<kind>-<state>[-<what>].yaml`, with the phase and the message people should read."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from aifctl.cluster import health
from aifctl.cluster.health import State

DATA = Path(__file__).parent / "data"
FILES = sorted(path.name for path in DATA.glob("*.yaml"))
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

ML_KINDS = (
    "workflow", "cronworkflow", "trainjob", "jobset", "pytorchjob", "tfjob", "experiment", "inferenceservice",
    "rollout", "scaledobject", "rayjob", "rayservice", "raycluster", "workload", "deployment", "job", "httproute",
    "certificate", "persistentvolumeclaim",
)  # fmt: skip


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DATA / name).read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", FILES)
def test_state_phase_and_message_are_as_recorded(name: str, update_golden: bool) -> None:
    path, judged = DATA / name, health.assess(read(name), NOW)
    kind, state = name.removesuffix(".yaml").split("-")[:2]
    text = path.read_text("utf-8")
    if update_golden:
        text = re.sub(
            r"^# message:.*$", lambda _: f"# message: {judged.message}".rstrip(), text, count=1, flags=re.MULTILINE
        )
        path.write_text(text, "utf-8")
    phase, message = (line.partition(":")[2].strip() for line in text.splitlines()[:2])
    assert read(name)["kind"].lower() == kind
    assert (judged.state, judged.phase, judged.message) == (State(state), phase, message)


@pytest.mark.parametrize("kind", ML_KINDS)
def test_every_kind_that_matters_is_recorded_in_three_states(kind: str) -> None:
    states = {name.removesuffix(".yaml").split("-")[1] for name in FILES if name.split("-")[0] == kind}
    assert len(states) >= 3


def test_no_state_goes_unrecorded() -> None:
    states = Counter(name.removesuffix(".yaml").split("-")[1] for name in FILES)
    assert set(states) == {str(state) for state in State} - {"missing"}


def test_what_is_not_there_is_missing() -> None:
    assert health.assess(None).state is State.MISSING


@pytest.mark.parametrize("name", FILES)
def test_a_verdict_needs_no_clock(name: str) -> None:
    """Only objects that are too young to be judged need one."""
    if "pending" in name and name.startswith(("widget", "persistentvolumeclaim")):
        assert health.assess(read(name)).state is State.HEALTHY
    else:
        assert health.assess(read(name)).state is health.assess(read(name), NOW).state


@pytest.mark.parametrize("name", FILES)
def test_deletion_comes_before_everything_else(name: str) -> None:
    found = read(name)
    found["metadata"] |= {"deletionTimestamp": "2026-11-20T11:30:00Z", "finalizers": ["example.org/hold"]}
    judged = health.assess(found, NOW)
    assert judged.state is State.TERMINATING
    assert "since 30m" in judged.message
    assert "waits for finalizer example.org/hold" in judged.message
    assert not health.settled(found, judged)
