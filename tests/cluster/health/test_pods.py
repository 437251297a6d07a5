"""What ails a workload's pods, from their statuses as the kubelet and the scheduler write them."""

from __future__ import annotations

from typing import Any

import pytest

from aifctl.cluster import health
from aifctl.cluster.health import Health, State, Trouble

SCHEDULED = {"type": "PodScheduled", "status": "True"}


def pod(name: str = "digits-1", phase: str = "Pending", **status: Any) -> dict[str, Any]:
    conditions = status.pop("conditions", [SCHEDULED])
    return {"metadata": {"name": name}, "status": {"phase": phase, "conditions": conditions, **status}}


def container(name: str = "server", ready: bool = False, restarts: int = 0, **state: Any) -> dict[str, Any]:
    last = state.pop("last", None)
    made: dict[str, Any] = {
        "name": name,
        "ready": ready,
        "restartCount": restarts,
        **state.pop("more", {}),
        "state": state,
    }
    return made | ({"lastState": {"terminated": last}} if last else {})


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"reason": reason, "message": message}


RUNNING = pod(
    "fine", "Running", containerStatuses=[container(ready=True, running={"startedAt": "2026-11-20T10:00:00Z"})]
)

UNSCHEDULABLE = pod(
    "pending",
    conditions=[
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ],
)
BAD_IMAGE = pod(
    "image", containerStatuses=[container(waiting=waiting("ImagePullBackOff", 'Back-off pulling image "x:v9"'))]
)
NO_SECRET = pod(
    "secret", containerStatuses=[container(waiting=waiting("CreateContainerConfigError", 'secret "hf" not found'))]
)
CRASHING = pod(
    "crash",
    "Running",
    containerStatuses=[
        container(
            restarts=5,
            waiting=waiting("CrashLoopBackOff", "back-off 2m40s"),
            last={"exitCode": 1, "reason": "Error"},
        )
    ],
)
OUT_OF_MEMORY = pod(
    "memory",
    "Running",
    containerStatuses=[
        container(restarts=3, waiting=waiting("CrashLoopBackOff"), last={"exitCode": 137, "reason": "OOMKilled"})
    ],
)
EVICTED = pod("evicted", "Failed", reason="Evicted", message="The node was low on resource: memory.")
INIT_FAILS = pod(
    "init",
    initContainerStatuses=[
        container(
            "storage-initializer",
            restarts=4,
            waiting=waiting("CrashLoopBackOff"),
            last={"exitCode": 1, "reason": "Error", "message": "no such bucket"},
        )
    ],
    containerStatuses=[container(waiting=waiting("PodInitializing"))],
)
DOWNLOADING = pod(
    "download",
    initContainerStatuses=[container("storage-initializer", running={"startedAt": "2026-11-20T10:00:00Z"})],
    containerStatuses=[container(waiting=waiting("PodInitializing"))],
)
LOADING = pod(
    "loading", "Running", containerStatuses=[container(running={}, more={"started": False})], conditions=[SCHEDULED]
)
UNREADY = pod("unready", "Running", containerStatuses=[container(running={"startedAt": "x"}, more={"started": True})])
GATED = pod(
    "gated",
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "gates"}],
)
MOUNTING = pod("mounting", containerStatuses=[container(waiting=waiting("ContainerCreating"))])
ENDED = pod("ended", "Failed", containerStatuses=[container(terminated={"exitCode": 139, "reason": "Error"})])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (UNSCHEDULABLE, "pod pending: Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        (BAD_IMAGE, 'pod image, container server: ImagePullBackOff: Back-off pulling image "x:v9"'),
        (NO_SECRET, 'pod secret, container server: CreateContainerConfigError: secret "hf" not found'),
        (
            CRASHING,
            "pod crash, container server: CrashLoopBackOff, exit code 1, 5 restarts: back-off 2m40s",
        ),
        (OUT_OF_MEMORY, "pod memory, container server: OOMKilled, exit code 137 (SIGKILL), 3 restarts"),
        (EVICTED, "pod evicted: Evicted: The node was low on resource: memory."),
        (
            INIT_FAILS,
            "pod init, init container storage-initializer: CrashLoopBackOff, exit code 1, 4 restarts: no such bucket",
        ),
        (DOWNLOADING, "pod download, init container storage-initializer: Initializing: still runs"),
        (LOADING, "pod loading, container server: Starting: its startup probe has not passed yet"),
        (UNREADY, "pod unready, container server: NotReady: its readiness probe does not pass"),
        (GATED, "pod gated: SchedulingGated: gates"),
        (MOUNTING, "pod mounting, container server: ContainerCreating"),
        (ENDED, "pod ended, container server: Error, exit code 139 (SIGSEGV)"),
        (pod("new", conditions=[]), "pod new: Pending: no container has been started"),
    ],
    ids=lambda value: value["metadata"]["name"] if isinstance(value, dict) else "",
)
def test_trouble_is_named(found: dict[str, Any], said: str) -> None:
    assert str(health.stuck([RUNNING, found])) == said


@pytest.mark.parametrize(
    "found",
    [
        RUNNING,
        pod("done", "Succeeded", containerStatuses=[container(terminated={"exitCode": 0, "reason": "Completed"})]),
        {**CRASHING, "metadata": {"name": "crash", "deletionTimestamp": "2026-11-20T10:00:00Z"}},
    ],
)
def test_pods_that_run_or_are_done_or_go_away_are_no_trouble(found: dict[str, Any]) -> None:
    assert health.stuck([found]) is None


def test_no_pods_are_no_trouble() -> None:
    assert health.stuck([]) is None


def test_the_worst_comes_first_and_counts_the_pods_that_share_it() -> None:
    """What no waiting will mend comes before what it may."""
    order = [
        NO_SECRET,
        BAD_IMAGE,
        OUT_OF_MEMORY,
        CRASHING,
        EVICTED,
        UNSCHEDULABLE,
        UNREADY,
        LOADING,
        DOWNLOADING,
        GATED,
    ]
    for worst in range(len(order)):
        trouble = health.stuck(reversed(order[worst:]))
        assert trouble is not None
        assert trouble.pod == order[worst]["metadata"]["name"]
    twin = {**BAD_IMAGE, "metadata": {"name": "image-2"}}
    trouble = health.stuck([UNSCHEDULABLE, twin, BAD_IMAGE])
    assert trouble is not None
    assert (trouble.pod, trouble.pods) == ("image", 2)
    assert "2 pods" in str(trouble)


def test_an_oom_kill_shows_while_the_container_runs_again() -> None:
    again = container(restarts=2, running={}, more={"started": True}, last={"exitCode": 137, "reason": "OOMKilled"})
    trouble = health.stuck([pod("again", "Running", containerStatuses=[again])])
    assert trouble is not None
    assert (trouble.phase, trouble.exit_code, trouble.restarts) == ("OOMKilled", 137, 2)


def test_a_service_that_calls_itself_ready_is_not_while_a_pod_crashes() -> None:
    """kserve#1859: Ready=True, and the pod is in Init:CrashLoopBackOff."""
    ready = Health(state=State.HEALTHY, phase="Ready", message="http://digits.example.com")
    blamed = health.blame(ready, health.stuck([INIT_FAILS]))
    assert (blamed.state, blamed.phase) == (State.PROGRESSING, "CrashLoopBackOff")
    assert "storage-initializer" in blamed.message


@pytest.mark.parametrize("trouble", [UNSCHEDULABLE, EVICTED, LOADING, GATED])
def test_a_healthy_workload_stays_so_while_it_scales(trouble: dict[str, Any]) -> None:
    ready = Health(state=State.HEALTHY, phase="Running", message="2 replicas available")
    assert health.blame(ready, health.stuck([trouble])) == ready


def test_a_workload_under_way_takes_the_phase_of_its_pods() -> None:
    under_way = Health(state=State.PROGRESSING, phase="Starting", message="0 of 2 replicas available")
    blamed = health.blame(under_way, health.stuck([UNSCHEDULABLE]))
    assert (blamed.state, blamed.phase) == (State.PROGRESSING, "Unschedulable")
    assert blamed.message.startswith("0 of 2 replicas available; pod pending: Unschedulable")
    assert health.blame(under_way, None) == under_way


@pytest.mark.parametrize("state", [State.QUEUED, State.SUSPENDED, State.TERMINATING, State.MISSING, State.PENDING])
def test_pods_do_not_matter_where_none_should_run(state: State) -> None:
    judged = Health(state=state, phase="Queued")
    assert health.blame(judged, Trouble(pod="p", phase="CrashLoopBackOff")) == judged


@pytest.mark.parametrize(
    ("version", "kind", "more", "labels"),
    [
        ("apps/v1", "Deployment", {"spec": {"selector": {"matchLabels": {"app": "digits"}}}}, {"app": "digits"}),
        ("argoproj.io/v1alpha1", "Rollout", {"spec": {"selector": {"matchLabels": {"app": "d"}}}}, {"app": "d"}),
        ("argoproj.io/v1alpha1", "Rollout", {"spec": {"workloadRef": {"name": "digits"}}}, None),
        ("batch/v1", "Job", {}, {"batch.kubernetes.io/job-name": "digits"}),
        ("argoproj.io/v1alpha1", "Workflow", {}, {"workflows.argoproj.io/workflow": "digits"}),
        ("trainer.kubeflow.org/v1alpha1", "TrainJob", {}, {"jobset.sigs.k8s.io/jobset-name": "digits"}),
        ("jobset.x-k8s.io/v1alpha2", "JobSet", {}, {"jobset.sigs.k8s.io/jobset-name": "digits"}),
        ("kubeflow.org/v1", "PyTorchJob", {}, {"training.kubeflow.org/job-name": "digits"}),
        ("kubeflow.org/v1beta1", "Experiment", {}, {"katib.kubeflow.org/experiment": "digits"}),
        ("serving.kserve.io/v1beta1", "InferenceService", {}, {"serving.kserve.io/inferenceservice": "digits"}),
        ("ray.io/v1", "RayJob", {"status": {"rayClusterName": "digits-8kz"}}, {"ray.io/cluster": "digits-8kz"}),
        ("ray.io/v1", "RayJob", {}, None),
        (
            "ray.io/v1",
            "RayService",
            {"status": {"activeServiceStatus": {"rayClusterName": "digits-9aa"}}},
            {"ray.io/cluster": "digits-9aa"},
        ),
        ("v1", "ConfigMap", {}, None),
        ("example.org/v1", "Widget", {"spec": {"selector": {"matchLabels": {"app": "x"}}}}, None),
    ],
)
def test_pods_are_found_by_the_labels_their_controllers_set(
    version: str, kind: str, more: dict[str, Any], labels: dict[str, str] | None
) -> None:
    assert health.selector({"apiVersion": version, "kind": kind, "metadata": {"name": "digits"}, **more}) == labels
