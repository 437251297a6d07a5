"""The runs of all examples, executed to their end by Argo's own controller, in the order that aifctl means."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from aifctl import ir
from aifctl.cluster import health
from aifctl.cluster.health import State
from aifctl.render.ownership import is_label
from tests.argo.engine import STEP, WORKFLOW, Engine, Said, Stories, dag
from tests.controlplane.cluster import Object

MODELS = ("digits", "digits-tf", "iris", "wine")


@pytest.fixture(scope="module")
def runs(engine: Engine) -> dict[str, ir.Run]:
    """Model → its run, as it was lowered."""
    found = {model.bundle.model: model.bundle.run for model in engine.compiled().models}
    assert found.keys() == set(MODELS)
    return {name: run for name, run in found.items() if run is not None}


@pytest.fixture(scope="module")
def applied(engine: Engine) -> Said:
    """What `aifctl apply --wait` says while the controller takes the runs up."""
    return engine.aifctl("apply", "--wait", "--timeout", "60s")


@pytest.fixture(scope="module")
def played(applied: Said, engine: Engine, runs: dict[str, ir.Run], stories: Stories) -> Stories:
    """All four at the same time, layer by layer."""
    assert applied.code == 0, applied.err
    for model, run in runs.items():
        stories.tell(model, _play, engine, run)
    return stories


def _play(engine: Engine, run: ir.Run) -> tuple[list[frozenset[str]], Object]:
    def look(step: str, _: str) -> None:
        """Health names the steps that run."""
        engine.wait(f"{run.name} is seen to run {step}", lambda: _seen_to_run(engine.workflow(run.name), step))

    layers = engine.play(run.name, dag(run), look)
    return layers, engine.wait_phase(run.name, "Succeeded")


def test_apply_waits_until_the_controller_has_taken_the_runs_up(
    applied: Said, engine: Engine, runs: dict[str, ir.Run]
) -> None:
    assert applied.code == 0, applied.err
    for run in runs.values():
        judged = health.assess(engine.cluster.get(engine.reference(run.name)))
        assert judged.state is not State.PENDING, judged


@pytest.mark.parametrize("model", MODELS)
def test_steps_run_in_the_order_that_was_meant(
    played: Stories, engine: Engine, runs: dict[str, ir.Run], model: str
) -> None:
    run = runs[model]
    layers, live = played.of(model)
    assert [step for layer in layers for step in sorted(layer)] != []
    assert sorted(engine.started(run.name)) == sorted(step.name for step in run.steps), "a pod a step, and no other"
    nodes = {each["displayName"].removesuffix("(0)"): each for each in _pods(live)}
    for step in run.steps:
        for before in step.after:
            assert _time(nodes[before]["finishedAt"]) <= _time(nodes[step.name]["startedAt"])


@pytest.mark.parametrize("model", MODELS)
def test_names_and_labels_of_pods(played: Stories, engine: Engine, runs: dict[str, ir.Run], model: str) -> None:
    played.of(model)
    run = runs[model]
    pods = [pod for pod in engine.pods.values() if pod["metadata"]["labels"][WORKFLOW] == run.name]
    for pod in pods:
        metadata, spec = pod["metadata"], pod["spec"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", metadata["name"]), metadata["name"]
        assert len(metadata["name"]) <= 63, "a pod's name is its host name too"
        assert metadata["name"].startswith(f"{run.name}-{metadata['labels'][STEP]}")
        assert all(is_label(value) for value in metadata["labels"].values())
        assert metadata["labels"]["aif.dev/model"] == model
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "aifctl"
        assert spec["serviceAccountName"] == f"{model}-run"
        assert 0 < spec["activeDeadlineSeconds"] <= 30 * 24 * 3600
        assert _token(spec) == {"wait": True, "main": False}, "Argo's executor has a token, the step has none"


@pytest.mark.parametrize("model", MODELS)
def test_a_run_that_went_well_is_seen_as_such(
    played: Stories, engine: Engine, runs: dict[str, ir.Run], model: str
) -> None:
    _, live = played.of(model)
    judged = health.assess(live)
    count = len(runs[model].steps)
    assert (judged.state, judged.phase) == (State.HEALTHY, "Succeeded")
    assert judged.message == f"{count} of {count} steps done"
    assert health.ended(live)
    said = engine.aifctl("wait", "run", model, "--timeout", "10s")
    assert said.code == 0, said.err
    assert f"{runs[model].name}: Succeeded" in said.out


def test_applying_again_what_has_ended_changes_nothing(
    played: Stories, engine: Engine, runs: dict[str, ir.Run]
) -> None:
    ended = {model: played.of(model)[1] for model in MODELS}
    assert engine.aifctl("plan", "--against", "cluster").code == 0
    said = engine.aifctl("apply")
    assert said.code == 0, said.err
    for model, before in ended.items():
        after = engine.cluster.get(engine.reference(runs[model].name))
        assert after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert (after["spec"], after["status"]) == (before["spec"], before["status"])
        assert len(engine.started(runs[model].name)) == len(runs[model].steps), "nothing ran again"


def _seen_to_run(live: Object, step: str) -> bool:
    judged = health.assess(live)
    if judged.state is State.PENDING:
        return False  # Workflows are looked at before their pods are
    assert judged.state is State.PROGRESSING, judged
    assert not health.ended(live)
    return judged.phase == "Running" and f"{step}(0)" in judged.message


def _pods(live: Object) -> list[Object]:
    return [each for each in live["status"]["nodes"].values() if each["type"] == "Pod"]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _token(spec: Any) -> dict[str, bool]:
    """Container → whether a service account's token is mounted there."""
    tokens = {
        each["name"] for each in spec["volumes"] if each.get("secret", {}).get("secretName", "").endswith("token")
    }
    tokens |= {each["name"] for each in spec["volumes"] if "projected" in each}
    return {
        each["name"]: bool(tokens & {mount["name"] for mount in each["volumeMounts"]}) for each in spec["containers"]
    }
