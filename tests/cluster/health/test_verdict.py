"""What a wait asks: is it over, has a run ended, how long may it take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from aifctl.cluster import health
from aifctl.cluster.health import Health, State, kinds

DATA = Path(__file__).parent / "data"


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DATA / f"{name}.yaml").read_text("utf-8"))
    return found


def is_settled(name: str) -> bool:
    found = recorded(name)
    return health.settled(found, health.assess(found))


SERVICES = ("deployment", "inferenceservice", "rollout", "scaledobject", "persistentvolumeclaim", "httproute")
RUNS = ("workflow", "job", "trainjob", "jobset", "pytorchjob", "tfjob", "experiment", "rayjob")


@pytest.mark.parametrize(
    "path", [path for path in DATA.glob("*.yaml") if path.name.startswith(SERVICES)], ids=lambda p: p.stem
)
def test_a_service_settles_when_healthy_or_suspended(path: Path) -> None:
    found = recorded(path.stem)
    judged = health.assess(found)
    assert health.settled(found, judged) == (judged.state in (State.HEALTHY, State.SUSPENDED))


@pytest.mark.parametrize(
    "path", [path for path in DATA.glob("*.yaml") if path.name.startswith(RUNS)], ids=lambda p: p.stem
)
def test_a_run_settles_when_it_was_accepted(path: Path) -> None:
    state = path.stem.split("-")[1]
    assert is_settled(path.stem) == (state not in ("pending", "failed", "terminating"))


@pytest.mark.parametrize(("completed", "ended"), [("true", True), ("false", False), (None, False)])
def test_of_a_workflow_the_metadata_says_whether_it_has_ended(completed: str | None, ended: bool) -> None:
    labels = {"workflows.argoproj.io/completed": completed}
    metadata = {"name": "train", "labels": labels}
    assert health.ended({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata}) is ended


def test_a_rule_that_gave_a_job_up_is_no_phase() -> None:
    """As seen on a driver whose step was out of memory."""
    said = "Container driver for pod e2e/hungry-x failed with exit code 1 matching FailJob rule at index 1"
    condition = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": said}
    found = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "hungry"},
        "spec": {},
        "status": {"conditions": [condition], "failed": 1},
    }
    judged = health.assess(found)
    assert (judged.state, judged.phase) == (State.FAILED, "Failed")
    assert said in judged.message


def test_nothing_settles_by_being_away() -> None:
    assert not health.settled(None, health.assess(None))
    assert not health.settled({"kind": "Job"}, Health(state=State.FAILED))


@pytest.mark.parametrize(
    "path", [path for path in DATA.glob("*.yaml") if path.name.startswith(RUNS)], ids=lambda p: p.stem
)
def test_a_run_has_ended_when_it_says_so(path: Path) -> None:
    state = path.stem.split("-")[1]
    assert health.ended(recorded(path.stem)) == (state in ("healthy", "failed"))


def test_only_runs_end() -> None:
    assert not health.ended(recorded("deployment-healthy"))
    assert not health.ended(recorded("deployment-failed-deadline"))
    assert not health.ended(None)


def test_a_job_whose_pods_still_stop_has_failed_and_not_ended() -> None:
    job = recorded("job-failed")
    job["status"]["conditions"] = [each for each in job["status"]["conditions"] if each["type"] == "FailureTarget"]
    assert health.assess(job).state is State.FAILED
    assert not health.ended(job)


def test_kinds_that_run_to_an_end() -> None:
    runs = {kind for (_, kind), each in kinds.KINDS.items() if each.run}
    assert {"Workflow", "Job", "TrainJob", "JobSet", "PyTorchJob", "TFJob", "RayJob", "Experiment"} <= runs
    assert health.is_run("batch", "Job")
    assert not health.is_run("", "Job")
    assert not health.is_run("apps", "Deployment")
    assert not health.is_run("argoproj.io", "CronWorkflow")


def test_time_by_kind() -> None:
    assert health.timeout("serving.kserve.io", "InferenceService") > health.timeout("apps", "Deployment")
    assert health.timeout("apps", "Deployment") > health.timeout("", "ConfigMap")
    assert health.timeout("example.org", "Widget") == kinds.UNKNOWN.seconds


def test_a_deployment_may_take_its_own_deadline_and_then_tells_itself() -> None:
    def asks(deadline: Any) -> float:
        spec = {"progressDeadlineSeconds": deadline}
        return health.timeout_of({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec})

    assert asks(3600) == 3630
    assert asks(10) == asks(None) == asks("soon") == health.timeout("apps", "Deployment")
    assert asks(2147483647) == 86400, "the largest deadline means none: a wait still ends"


def test_a_rollout_may_take_the_pauses_of_its_canary() -> None:
    steps = [{"setWeight": 10}, {"pause": {"duration": "5m"}}, {"pause": {"duration": 1200}}, {"pause": {}}]
    found = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "spec": {"strategy": {"canary": {"steps": steps}}},
    }
    assert health.timeout_of(found) == 600 + 30 + 300 + 1200


def test_kinds_that_look_for_others_may_fail_for_a_while() -> None:
    assert health.grace("keda.sh", "ScaledObject") > 0
    assert health.grace("gateway.networking.k8s.io", "HTTPRoute") > 0
    assert health.grace("batch", "Job") == 0
    assert all(each.grace <= each.seconds for each in kinds.KINDS.values())


def test_every_rule_of_the_table_is_there() -> None:
    for each in {*kinds.KINDS.values(), kinds.UNKNOWN}:
        for path in filter(None, (each.rule, each.ended, each.asks)):
            module, _, name = path.partition(".")
            assert callable(getattr(__import__(f"aifctl.cluster.health.{module}", fromlist=[name]), name))


def test_rules_are_imported_on_use_and_no_client_with_them() -> None:
    program = (
        "import sys; from aifctl.cluster import health;"
        "health.assess({'apiVersion': 'v1', 'kind': 'ConfigMap'});"
        "print(*sorted(set(sys.modules) & {'kubernetes', 'aiohttp', 'aifctl.cluster.health.argo'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
