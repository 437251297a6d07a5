"""What Argo's controller makes of faults in rendered runs: what stops, what is tried again, that all comes to an end.

Each run is told by a story of its own, and all at the same time, so that the 30 s before a second try pass once. (They
pass before a fault of the user is one, too: the controller asks whether to try again when the time has come.)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from aifctl import digest, ir
from aifctl.cluster import health
from aifctl.cluster.health import State
from aifctl.render.backends.argo import LONGEST
from tests.argo.engine import Engine, Stories, dag
from tests.controlplane.cluster import Object
from tests.controlplane.stages import OUTCOME

DEADLINE = "Pod was active on the node longer than the specified deadline"
EVICTED = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 84Mi."
Fault = Callable[[Engine, str], None]

# What becomes of the first pod of the training, by what it is. One that is lost within ten seconds counts as not yet
# made: it may come again under its old name.
WORTH_ANOTHER_TRY: dict[str, Fault] = {
    "unreachable": lambda engine, pod: engine.end(pod, "fail", 75),
    "stopped": lambda engine, pod: engine.end(pod, "fail", 143),
    "killed": lambda engine, pod: engine.end(pod, "fail", 137),
    "evicted": lambda engine, pod: engine.fail(pod, "Evicted", EVICTED),
    "lost": lambda engine, pod: (time.sleep(12), engine.kill(pod)),
}
NOT_WORTH_ONE: dict[str, Fault] = {
    "user-error": lambda engine, pod: engine.end(pod, "fail", 1),
    "oom": lambda engine, pod: engine.end(pod, "oom"),
    "late": lambda engine, pod: engine.fail(pod, "DeadlineExceeded", DEADLINE),
}
SAID = {
    "user-error": "train(0): main: Error (exit code 1)",
    "oom": "train(0): main: OOMKilled (exit code 137)",
    "late": f"train(0): {DEADLINE}",
}


@pytest.fixture(scope="module")
def told(engine: Engine, stories: Stories) -> Stories:
    """All stories, begun."""
    engine.add("late", ("hardware: {cpu: 2,", "hardware: {timeout: 1h, cpu: 2,"))
    engine.add("twin", seed=4999)
    engine.add("other-twin", ("accuracy: {min: 0.95}", "accuracy: {min: 0.5}"), seed=4999)
    engine.add("unpinned", ("source: {path: data/digits.csv}", "source: {path: data/digits.csv}\n      pinned: false"))
    plain = [*WORTH_ANOTHER_TRY, "user-error", "oom", "gate"]
    for name in plain:
        engine.add(name)
    engine.keep(*plain, "late", "twin", "other-twin", "unpinned")
    said = engine.aifctl("apply")
    assert said.code == 0, said.err
    for name, fault in (WORTH_ANOTHER_TRY | NOT_WORTH_ONE).items():
        stories.tell(name, _faulty, engine, name, fault)
    stories.tell("gate", _gate, engine)
    stories.tell("second try", _gate_after_a_second_try, engine)
    stories.tell("twins", _twins, engine)
    stories.tell("unpinned", _unpinned, engine)
    stories.tell("exhausted", _exhausted, engine)
    stories.tell("never starts", _never_starts, engine)
    return stories


def test_a_gate_that_fails_stops_what_depends_on_it(told: Stories, engine: Engine) -> None:
    live = told.of("gate")
    name = live["metadata"]["name"]
    assert sorted(engine.started(name)) == ["evaluate", "gate", "prepare", "train"]
    phases = {each["displayName"]: each["phase"] for each in live["status"]["nodes"].values()}
    assert {phases[step] for step in ("export-onnx", "verify-onnx", "register")} == {"Omitted"}
    judged = health.assess(live)
    assert (judged.state, judged.phase) == (State.FAILED, "Failed")
    assert judged.message.endswith("gate(0): main: Error (exit code 1)")
    assert health.ended(live)
    assert not health.settled(live, judged)
    said = engine.aifctl("wait", "run", "gate", "--timeout", "10s")
    assert said.code == 1
    assert "gate(0): main: Error (exit code 1)" in said.err


@pytest.mark.parametrize("name", WORTH_ANOTHER_TRY)
def test_a_fault_of_the_surroundings_is_tried_again(told: Stories, engine: Engine, name: str) -> None:
    run, _ = told.of(name)
    assert len(set(engine.pods_of(run.name, "train"))) == 2, "each try goes by a name of its own, in the store too"


def test_a_run_with_a_second_try_goes_well(told: Stories, engine: Engine) -> None:
    run, live = told.of("unreachable")
    assert live["status"]["phase"] == "Succeeded"
    assert sorted(set(engine.started(run.name))) == sorted(step.name for step in run.steps)
    judged = health.assess(live)
    assert judged.state is State.HEALTHY, "what has failed at first is of no interest any more"


def test_a_try_that_was_made_good_is_not_to_blame(told: Stories) -> None:
    live = told.of("second try")
    assert health.assess(live).message.endswith("gate(0): main: Error (exit code 1)")


@pytest.mark.parametrize("name", NOT_WORTH_ONE)
def test_a_fault_of_the_user_is_not_tried_again(told: Stories, engine: Engine, name: str) -> None:
    run, live = told.of(name)
    assert live["status"]["phase"] == "Failed"
    assert sorted(engine.started(run.name)) == ["prepare", "train"]
    assert health.assess(live).message.endswith(SAID[name])


def test_a_timeout_is_what_the_kubelet_is_told(told: Stories, engine: Engine) -> None:
    run, live = told.of("late")
    [train] = engine.pods_of(run.name, "train")
    [prepare] = engine.pods_of(run.name, "prepare")
    assert engine.pods[train]["spec"]["activeDeadlineSeconds"] == 3600
    assert live["spec"]["activeDeadlineSeconds"] == LONGEST + 3 * 3600
    assert LONGEST < engine.pods[prepare]["spec"]["activeDeadlineSeconds"] <= LONGEST + 3 * 3600


def test_tries_come_to_an_end(told: Stories, engine: Engine) -> None:
    live = told.of("exhausted")
    assert len(engine.pods_of(live["metadata"]["name"], "train")) == 3
    assert "No more retries left" in json.dumps(live["status"]["nodes"])
    judged = health.assess(live)
    assert judged.state is State.FAILED
    assert "exit code 75" in judged.message


def test_a_run_that_can_not_start_comes_to_an_end(told: Stories, engine: Engine) -> None:
    waiting, live = told.of("never starts")
    assert waiting.state is State.PROGRESSING
    assert "prepare(0)" in waiting.message
    assert live["status"]["phase"] in ("Failed", "Error")
    assert engine.started(live["metadata"]["name"]) == ["prepare"]


def test_two_runs_that_share_a_training_run_it_one_after_the_other(told: Stories) -> None:
    held, waiting, live = told.of("twins")
    assert held.state is State.PROGRESSING
    assert waiting.state is State.QUEUED, waiting
    assert "train waits for lock" in waiting.message
    assert live["status"]["phase"] == "Succeeded"


def test_digests_below_unpinned_data_reach_the_steps(told: Stories, engine: Engine) -> None:
    run, digests, live = told.of("unpinned")
    assert live["status"]["phase"] == "Succeeded"
    for step in run.steps:
        [pod] = engine.pods_of(run.name, step.name)
        main = engine.pods[pod]["spec"]["containers"][-1]
        known = [text for text in main["args"] if text.startswith("--known=")]
        wanted = ",".join(f"{name}={digests[name]}" for name in step.after)
        assert known == ([f"--known={wanted}"] if wanted else []), step.name


# Stories


def _run(engine: Engine, model: str) -> ir.Run:
    found = next(each.bundle.run for each in engine.compiled().models if each.bundle.model == model)
    assert found is not None
    return found


def _before(run: ir.Run, *steps: str) -> dict[str, frozenset[str]]:
    """The part of the graph with these steps only."""
    return {step: before for step, before in dag(run).items() if step in steps}


def _faulty(engine: Engine, model: str, fault: Fault) -> tuple[ir.Run, Object]:
    """The training ends badly; where it is tried again it goes well."""
    run = _run(engine, model)
    engine.play(run.name, _before(run, "prepare"))
    if model in NOT_WORTH_ONE:
        fault(engine, engine.pod(run.name, "train"))
        return run, engine.wait_phase(run.name, "Failed")
    _second_try(engine, run.name, fault)
    # One is enough to see that a second try is as good as a first.
    return run, _to_the_end(engine, run) if model == "unreachable" else engine.workflow(run.name)


def _second_try(engine: Engine, workflow: str, fault: Fault) -> None:
    """Let the training end badly, until it runs again."""
    first = engine.pod(workflow, "train")
    uid = engine.pods[first]["metadata"]["uid"]
    fault(engine, first)

    def again() -> bool:
        pod = engine.running(workflow).get("train")
        return pod is not None and engine.pods[pod]["metadata"]["uid"] != uid

    engine.wait(f"{workflow} trains again", again)


def _to_the_end(engine: Engine, run: ir.Run) -> Object:
    """Let all steps from the training on end well."""
    for step in ("train", "evaluate", "gate", "export-onnx", "verify-onnx", "register"):
        engine.end(engine.pod(run.name, step))
    return engine.wait_phase(run.name, "Succeeded")


def _gate(engine: Engine) -> Object:
    run = _run(engine, "gate")
    engine.play(run.name, _before(run, "prepare", "train", "evaluate"))
    engine.end(engine.pod(run.name, "gate"), "fail", 1)
    return engine.wait_phase(run.name, "Failed")


def _gate_after_a_second_try(engine: Engine) -> Object:
    name = engine.start(_like(engine, "gate", "second-try", backoff="1s"))
    engine.end(engine.pod(name, "prepare"))
    _second_try(engine, name, WORTH_ANOTHER_TRY["unreachable"])
    for step in ("train", "evaluate"):
        engine.end(engine.pod(name, step))
    engine.end(engine.pod(name, "gate"), "fail", 1)
    return engine.wait_phase(name, "Failed")


def _exhausted(engine: Engine) -> Object:
    """The training fails at every try; the time between two is cut short."""
    name = engine.start(_like(engine, "gate", "exhausted", backoff="1s"))
    engine.end(engine.pod(name, "prepare"))
    for _ in range(3):
        seen = {*engine.pods_of(name, "train")}
        engine.wait(f"{name} tries {len(seen) + 1} times", lambda seen=seen: _trains(engine, name) - seen)
        [pod] = _trains(engine, name) - seen
        engine.end(pod, "fail", 75)
    return engine.wait_phase(name, "Failed")


def _trains(engine: Engine, name: str) -> set[str]:
    return {pod for step, pod in engine.running(name).items() if step == "train"}


def _never_starts(engine: Engine) -> tuple[Any, Object]:
    """An image can't be pulled; the month that a run may take is cut short."""
    workflow = _like(engine, "gate", "never-starts")
    workflow["spec"]["activeDeadlineSeconds"] = 15
    workflow["spec"]["podMetadata"]["annotations"][OUTCOME] = "bad-image"
    name = engine.start(workflow)
    judged: list[health.Health] = []

    def told() -> bool:
        judged.append(health.assess(engine.workflow(name)))
        return "prepare(0)" in judged[-1].message and judged[-1].phase not in ("Running", "Pending")

    engine.wait(f"{name} is seen to wait for its image", told)
    time.sleep(15)
    engine.nudge(name)
    engine.wait(f"{name} ends", lambda: health.ended(engine.workflow(name)))
    return judged[-1], engine.workflow(name)


def _twins(engine: Engine) -> tuple[health.Health, health.Health, Object]:
    """Of two, one trains, and fails; then the other does. Health of both while one waits, and how that one ends."""
    runs = [_run(engine, model) for model in ("twin", "other-twin")]
    for run in runs:
        engine.end(engine.pod(run.name, "prepare"))
    engine.wait("one of two trains", lambda: any(_trains(engine, run.name) for run in runs))
    [first] = [run for run in runs if _trains(engine, run.name)]
    [second] = [run for run in runs if run is not first]
    engine.wait(f"{second.name} waits", lambda: "Waiting for" in json.dumps(engine.workflow(second.name)))
    judged = [health.assess(engine.workflow(run.name)) for run in (first, second)]
    assert not _trains(engine, second.name)
    engine.end(engine.pod(first.name, "train"), "fail", 1)
    engine.wait_phase(first.name, "Failed")
    return judged[0], judged[1], _to_the_end(engine, second)


def _unpinned(engine: Engine) -> tuple[ir.Run, dict[str, str], Object]:
    """Every step whose digest others ask for tells it, as its program does."""
    run = _run(engine, "unpinned")
    digests = {step.name: digest.of_text(step.name) for step in run.steps}
    asked = {name for step in run.steps for name in step.after}

    def look(step: str, pod: str) -> None:
        if step in asked:
            engine.tell(pod, digest=digests[step])

    engine.play(run.name, dag(run), look)
    return run, digests, engine.wait_phase(run.name, "Succeeded")


def _like(engine: Engine, model: str, name: str, backoff: str = "30s") -> Object:
    """The Workflow of a model under another name, with a lock of its own."""
    found = next(each for each in engine.compiled().models if each.bundle.model == model)
    [workflow] = [each.object for each in found.manifests if each.kind == "Workflow"]
    text = json.dumps(workflow).replace(workflow["metadata"]["name"], name)
    text = text.replace('"duration": "30s"', f'"duration": "{backoff}"').replace('"name": "aif-', f'"name": "{name}-')
    copied: Object = json.loads(text)
    return copied
