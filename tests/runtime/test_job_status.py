from __future__ import annotations

import json
from typing import Any

import pytest

from aifctl.runtime import job_status
from aifctl.runtime.launcher import Verdict

LABELS = {"aif.dev/step": "train"}
LIMITS = {"resources": {"limits": {"memory": "4Gi"}}}


def job(outcome: str | None = "Failed", **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "FailureTarget", "status": "True"}, {"type": outcome, "status": "True"}]
    return {"metadata": {}, "spec": spec, "status": {"conditions": conditions if outcome else []}}


def pod(phase: str = "Failed", age: str = "1", **status: Any) -> dict[str, Any]:
    spec = {"containers": [LIMITS], "activeDeadlineSeconds": 60}
    return {
        "metadata": {"labels": LABELS, "creationTimestamp": age},
        "spec": spec,
        "status": {"phase": phase, **status},
    }


def terminated(code: int, reason: str = "Error", message: str = "") -> list[dict[str, Any]]:
    return [{"state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}]


def held(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [{"state": {"waiting": {"reason": reason, "message": message}}}]


@pytest.mark.parametrize(
    ("code", "reason", "verdict", "how"),
    [
        (1, "Error", Verdict.FAILED, "exit code 1"),
        (2, "Error", Verdict.FAILED, "exit code 2"),
        (75, "Error", Verdict.RETRY, "exit code 75"),
        (137, "Error", Verdict.KILLED, "exit code 137"),
        (143, "Error", Verdict.KILLED, "exit code 143"),
        (139, "Error", Verdict.CRASHED, "exit code 139"),
        (137, "OOMKilled", Verdict.KILLED, "OOMKilled: out of memory, its limit is 4Gi"),
        (1, "OOMKilled", Verdict.KILLED, "OOMKilled: out of memory, its limit is 4Gi"),
    ],
)
def test_how_a_container_ended(code: int, reason: str, verdict: Verdict, how: str) -> None:
    found = job_status.ended(job(), [pod(containerStatuses=terminated(code, reason))])
    assert (found.verdict, found.how) == (verdict, how)
    assert found.out_of_memory == (reason == "OOMKilled")


@pytest.mark.parametrize(
    ("reason", "message", "how"),
    [
        ("Evicted", "The node was low on resource: memory.", "Evicted: The node was low on resource: memory"),
        ("NodeLost", "", "NodeLost"),
        ("Preempting", "x\ny", "Preempting: x"),
    ],
)
def test_a_pod_that_was_taken_away(reason: str, message: str, how: str) -> None:
    """Also where its program said something with its last breath: that is not why it ended."""
    found = job_status.ended(job(), [pod(reason=reason, message=message, containerStatuses=terminated(137))])
    assert (found.verdict, found.how, found.out_of_memory) == (Verdict.KILLED, how, False)


def test_no_pod_is_left() -> None:
    assert job_status.ended(job(), []).verdict is Verdict.KILLED
    assert job_status.ended(job(), [pod(containerStatuses=[])]).how == "its pod ended without telling how"


def test_a_time_limit_is_a_failure_with_its_finding() -> None:
    found = job_status.ended(job(), [pod(reason="DeadlineExceeded", containerStatuses=terminated(75))])
    assert found.verdict is Verdict.FAILED
    assert found.result is not None
    (finding,) = found.result["diagnostics"]
    assert (finding["code"], finding["message"]) == ("AIF846", "step `train` was stopped after its time limit of 60 s")


def test_the_result_is_the_youngest_pods_message() -> None:
    old = pod("Failed", "1", containerStatuses=terminated(75, message='{"digest": "old"}'))
    new = pod("Succeeded", "2", containerStatuses=terminated(0, "Completed", json.dumps({"digest": "new"})))
    found = job_status.ended(job("Complete"), [new, old])
    assert (found.verdict, found.result) == (Verdict.DONE, {"digest": "new"})
    assert job_status.ended(job("Complete"), []).result is None


@pytest.mark.parametrize("message", ["", "Traceback (most recent call last):", "[1]", '{"digest": "cut sh'])
def test_a_message_that_is_no_result(message: str) -> None:
    assert job_status.ended(job(), [pod(containerStatuses=terminated(1, message=message))]).result is None


def test_what_has_not_ended_yet() -> None:
    assert job_status.outcome(job(None)) is None
    assert job_status.outcome({"status": {}}) is None
    assert job_status.outcome(job("Complete")) == "Complete"


SCHEDULED = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."}


@pytest.mark.parametrize(
    ("spec", "pods", "text", "stuck"),
    [
        ({"suspend": True}, [], "suspended: waits in a queue", False),
        ({}, [], "has no pod yet: `kubectl describe job` tells of quotas and refusals", False),
        (
            {},
            [pod("Pending", conditions=[SCHEDULED])],
            "waits for a node: 0/3 nodes are available: 3 Insufficient cpu",
            False,
        ),
        ({}, [pod("Pending")], "ContainerCreating", False),
        ({}, [pod("Pending", containerStatuses=held("ContainerCreating"))], "ContainerCreating", False),
        (
            {},
            [pod("Pending", containerStatuses=held("ImagePullBackOff", 'Back-off pulling image "x"'))],
            'ImagePullBackOff: Back-off pulling image "x"',
            True,
        ),
        (
            {},
            [pod("Pending", containerStatuses=held("CreateContainerConfigError", 'secret "s" not found'))],
            'CreateContainerConfigError: secret "s" not found',
            True,
        ),
    ],
)
def test_what_a_job_waits_for(spec: dict[str, Any], pods: list[dict[str, Any]], text: str, stuck: bool) -> None:
    found = job_status.waiting(job(None, **spec), pods)
    assert found == job_status.Waiting(text, stuck)


def test_a_running_pod_waits_for_nothing() -> None:
    assert job_status.waiting(job(None), [pod("Running")]) is None
    leaving = pod("Running")
    leaving["metadata"]["deletionTimestamp"] = "now"
    assert job_status.waiting(job(None), [leaving, pod("Running", "2")]) is None
