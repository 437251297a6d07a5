"""What the status of a step's Job and of its pods means: how it ended, or what it waits for. Pure; plain values in.

Sources: https://kubernetes.io/docs/concepts/workloads/controllers/job/, …/pods/pod-lifecycle/, and KEP-3329 (Jobs
replace pods that the cluster took away without counting them, so those never come here).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aifctl import contract
from aifctl.runtime.launcher import Ended, Verdict

VERDICTS = {
    0: Verdict.DONE,
    contract.EXIT_FAILED: Verdict.FAILED,
    contract.EXIT_RETRY: Verdict.RETRY,
    137: Verdict.KILLED,  # SIGKILL
    143: Verdict.KILLED,  # SIGTERM
}
SIGNALS = range(129, 160)
"""Exit codes of processes that a signal ended, as shells and container runtimes count them."""
STUCK = frozenset(
    {
        "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
        "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
    }
)  # fmt: skip
"""Why a container does not start that hardly ever goes away by itself."""
LATE = "DeadlineExceeded"
STEP = "aif.dev/step"
"""Label of a step's Job and pods."""
MEMORY_HINT = "raise the memory of its `hardware`, or use a smaller batch or fewer loaders"
TAKEN_HINT = "look at the namespace's events: a node may have gone, or somebody deleted the pod"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a Job that has not ended waits for. `text` is for people."""

    text: str
    stuck: bool = False
    """It will hardly start by itself."""


def outcome(job: Mapping[str, Any]) -> str | None:
    """Complete or Failed, None while it goes on (also while its last pods end)."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"])
    return None


def is_leaving(job: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in job["metadata"]


def ended(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Ended:
    """How a Job that has an outcome ended."""
    pod = _last(pods, "Succeeded" if outcome(job) == "Complete" else "Failed")
    if outcome(job) == "Complete":
        return Ended(verdict=Verdict.DONE, how="exit code 0", result=None if pod is None else result(pod))
    if pod is None:
        return Ended(verdict=Verdict.KILLED, how="its pod was deleted", hint=TAKEN_HINT)
    return _failed(pod)


def result(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The step's own report, from its termination message; None where that is none (the end of a log, say)."""
    try:
        value = json.loads((_terminated(pod) or {}).get("message", ""))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def waiting(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Waiting | None:
    """None where it runs."""
    if job["spec"].get("suspend"):
        return Waiting("suspended: waits in a queue")
    pod = _last([pod for pod in pods if not is_leaving(pod)], None)
    if pod is None:
        return Waiting("has no pod yet: `kubectl describe job` tells of quotas and refusals")
    if pod["status"].get("phase") != "Pending":
        return None
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Waiting(f"waits for a node: {_line(scheduled.get('message'))}")
    state = _state(pod).get("waiting") or {}
    reason = str(state.get("reason") or "ContainerCreating")
    return Waiting(": ".join(filter(None, (reason, _line(state.get("message"))))), reason in STUCK)


def _failed(pod: Mapping[str, Any]) -> Ended:
    status, state = pod["status"], _terminated(pod)
    reason = status.get("reason")
    if reason == LATE:
        return Ended(verdict=Verdict.FAILED, how=LATE, result={"diagnostics": [_late(pod)]})
    if state is not None and state.get("reason") == "OOMKilled":
        how = f"OOMKilled: out of memory, its limit is {_limit(pod)}"
        return Ended(verdict=Verdict.KILLED, how=how, out_of_memory=True, hint=MEMORY_HINT)
    if reason:  # Evicted, NodeLost, Terminated …: the pod's end, not the program's
        how = ": ".join(filter(None, (str(reason), _line(status.get("message")))))
        return Ended(verdict=Verdict.KILLED, how=how, hint=TAKEN_HINT)
    if state is None:
        return Ended(verdict=Verdict.KILLED, how="its pod ended without telling how", hint=TAKEN_HINT)
    code = int(state["exitCode"])
    verdict = VERDICTS.get(code, Verdict.CRASHED if code in SIGNALS else Verdict.FAILED)
    hint = TAKEN_HINT if verdict is Verdict.KILLED else None
    return Ended(verdict=verdict, how=f"exit code {code}", result=result(pod), hint=hint)


def _late(pod: Mapping[str, Any]) -> dict[str, Any]:
    step = pod["metadata"].get("labels", {}).get(STEP, "")
    limit = pod["spec"].get("activeDeadlineSeconds")
    return {
        "code": "AIF846",
        "message": f"step `{step}` was stopped after its time limit of {limit} s",
        "hint": "raise its timeout; training goes on from its last checkpoint",
    }


def _last(pods: Sequence[Mapping[str, Any]], phase: str | None) -> Mapping[str, Any] | None:
    """The youngest pod, of this phase where it is asked for."""
    found = [pod for pod in pods if phase in (None, pod.get("status", {}).get("phase"))]
    return max(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def _condition(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((each for each in pod["status"].get("conditions") or () if each.get("type") == name), {})


def _state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    statuses = pod["status"].get("containerStatuses") or ()
    return next((each.get("state") or {} for each in statuses), {})


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return _state(pod).get("terminated")


def _limit(pod: Mapping[str, Any]) -> str:
    limits = (pod["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
    return str(limits.get("memory", "that of its node"))


def _line(text: object) -> str:
    """Its first line, without the end of the sentence."""
    return next(iter(str(text or "").strip().splitlines()), "").rstrip(".")[:300]
