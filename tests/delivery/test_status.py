"""How models stand in a cluster: sync, health, run and what serves, and the waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controlplane.proxy import FaultProxy, Respond, Rule
from tests.controlplane.stages import simulate
from tests.delivery.garden import BAD, Garden


def model(garden: Garden, name: str = "iris", env: str = "") -> Any:
    found = garden.run("status", "-o", "json", "--env", env or garden.environment).json["models"]
    return next(each for each in found if each["model"] == name)


def test_what_was_never_applied_is_in_git_alone(garden: Garden) -> None:
    done = garden.on("status", "-o", "json")
    assert done.code == 1
    assert [(each["model"], each["sync"]) for each in done.json["models"]] == [
        ("", "not applied"), ("iris", "not applied"), ("rose", "not applied"),
    ]  # fmt: skip


def test_what_is_as_git_says_and_healthy(garden: Garden, nodes: object) -> None:
    garden.applied("--wait")
    commit = garden.git("rev-parse", "HEAD").strip()
    done = garden.on("status", "-o", "json")
    assert (done.code, done.json["healthy"], done.json["environment"]) == (0, True, garden.environment)
    found = model(garden)
    assert (found["sync"], found["health"]["state"], found["serving"]) == ("synced", "healthy", "iris-0123456789")
    assert (found["revision"], found["commit"], found["objects"], found["ailing"]) == (1, commit, 4, [])


def test_git_goes_on(garden: Garden) -> None:
    garden.applied()
    garden.edit("models/iris/model.yaml", "batching: {max: 32}", "batching: {max: 16}")
    assert model(garden)["sync"] == "behind"
    garden.edit("models/iris/model.yaml", "task: classification", "task: clasification")
    assert model(garden)["sync"] == "broken spec"
    (garden.root / "models/iris/model.yaml").unlink()
    assert model(garden)["sync"] == "gone from Git"


def test_drift_names_its_objects(garden: Garden) -> None:
    garden.applied()
    garden.edited("iris", "other:1")
    garden.cluster.delete(garden.reference("Service", "iris", "v1"))
    found = model(garden)
    assert found["sync"] == "drifted"
    assert {each["kind"] for each in found["drifted"]} == {"Deployment", "Service"}
    text = garden.on("status", "iris").out
    assert "drifted: 2 of 4 objects: " in text
    assert f"{garden.namespace}/iris: missing" in text


def test_drift_of_a_model_that_is_left_alone_is_shown_beside_why_it_is(garden: Garden) -> None:
    garden.applied()
    assert garden.on("suspend", "iris", "--reason", "incident 42").code == 0
    reason = model(garden)["note"]
    assert reason.endswith("incident 42")
    garden.edited("iris", "other:1")
    found = model(garden)
    assert found["sync"] == "suspended"
    assert found["note"].startswith(f"{reason}; drifted: 1 of 4 objects: ")
    assert [each["kind"] for each in found["drifted"]] == ["Deployment"]


def test_a_pod_that_can_not_start_is_named_with_what_ails_it(garden: Garden, nodes: object) -> None:
    garden.release("iris", BAD)
    assert garden.on("apply", "--wait", "--timeout", "1s").code == 1
    done = garden.on("status")
    assert done.code == 1
    row = next(line for line in done.out.splitlines() if line.startswith("iris "))
    assert "failed" in row
    assert "progressing ImagePullBackOff" in row
    assert "container server: ImagePullBackOff: Back-off pulling image" in done.out
    (ailing,) = model(garden)["ailing"]
    assert (ailing["kind"], ailing["trouble"]["container"]) == ("Deployment", "server")
    assert model(garden, "rose")["health"]["state"] == "healthy"


@pytest.mark.parametrize("answer", [Respond(503), Respond(500), Respond(403)])
def test_a_container_s_log_is_asked_for_once_and_done_without(answer: Respond, garden: Garden, nodes: object) -> None:
    """Its node may be away: what ails the pod is told at once."""
    garden.release("iris", BAD).applied()
    pods = garden.reference("Deployment", "iris")
    garden.cluster.wait(pods, lambda live: live["status"].get("unavailableReplicas"))
    with FaultProxy(garden.cluster) as proxy:
        proxy.add(Rule("get", answer, path="/log"))
        done = garden.on("status", "iris", "--kubeconfig", proxy.kubeconfig)
        logs = [each for each in proxy.requests if each.path.endswith("/log")]
    assert len(logs) == 1
    assert "container server: ImagePullBackOff" in done.out


def test_one_model_by_its_name(garden: Garden) -> None:
    garden.applied()
    done = garden.on("status", "rose", "-o", "json")
    assert [each["model"] for each in done.json["models"]] == ["rose"]
    done = garden.on("status", "platform", "-o", "json")
    assert [(each["model"], each["sync"]) for each in done.json["models"]] == [("", "synced")]
    unknown = garden.on("status", "roze")
    assert unknown.code == 1
    assert "error[AIF746]" in unknown.err
    garden.plant("lily")
    done = garden.on("status", "lily", "-o", "json")
    assert [(each["model"], each["sync"]) for each in done.json["models"]] == [("lily", "not applied")]


def test_an_inventory_that_can_not_be_read_is_told_and_the_others_are_shown(garden: Garden) -> None:
    garden.applied()
    garden.cluster.patch(garden.inventory("iris"), {"data": {"unit.json": "{"}})
    done = garden.on("status")
    assert done.code == 1
    assert "error[AIF742]" in done.err
    assert "rose" in done.out


def test_a_run_has_its_own_column(garden: Garden, nodes: object) -> None:
    assert garden.run("apply", "--wait", "--env", garden.lab).code == 0
    assert garden.run("wait", "run", "iris", "--env", garden.lab).code == 0
    found = model(garden, env=garden.lab)
    assert found["run"].startswith("iris-")
    assert found["run_health"]["phase"] == "Complete"
    assert found["serving"] == ""


def test_status_writes_nothing(garden: Garden) -> None:
    garden.applied()
    with FaultProxy(garden.cluster) as proxy:
        for words in (("status",), ("history", "iris"), ("plan", "--against", "cluster")):
            garden.on(*words, "--kubeconfig", proxy.kubeconfig)
        assert proxy.writes() == []


# Waits


def test_a_wait_for_health(garden: Garden, nodes: object) -> None:
    garden.release("rose", BAD).applied()
    done = garden.on("wait", "healthy", "iris", "--timeout", "60s")
    assert (done.code, done.out) == (0, f"{garden.environment}/garden/iris: healthy (4 objects)\n")
    done = garden.on("wait", "healthy", "rose", "--timeout", "1s")
    assert done.code == 1
    assert "error[AIF750]" in done.err
    assert "stuck in ImagePullBackOff" in done.err
    assert "container server" in done.err
    assert garden.on("wait", "healthy", "platform", "--timeout", "60s").code == 0


@pytest.mark.parametrize("outcome", ["fail", "oom"])
def test_a_run_that_fails_ends_its_wait_with_1(outcome: str, garden: Garden, nodes: object) -> None:
    """The pods' outcome is an annotation, as nobody else would say it."""
    name = _run(garden, outcome)
    done = garden.run("wait", "run", "iris", "--env", garden.lab, "--timeout", "60s")
    assert done.code == 1
    assert "error[AIF752]" in done.err
    assert name in done.err
    if outcome == "oom":
        assert "OOMKilled" in done.err


def test_a_run_that_takes_too_long(garden: Garden, nodes: object) -> None:
    name = _run(garden, "complete", after="600s")
    done = garden.run("wait", "run", "iris", "--env", garden.lab, "--timeout", "1s")
    assert done.code == 1
    assert "error[AIF750]" in done.err
    assert name in done.err


def test_a_step_that_finds_no_node_is_named(garden: Garden, nodes: object) -> None:
    """The run itself goes on: its driver waits for the step's pod."""
    name = _run(garden, "complete", after="600s")
    space = f"garden-{garden.lab}"
    jobs = garden.cluster.list("batch/v1", "Job", space)
    (pod,) = (job["spec"]["template"]["spec"] for job in jobs if job["metadata"]["name"] == name)
    pod["containers"][0]["resources"] = {"requests": {"cpu": "100000"}}
    metadata = {"name": f"{name}-train", "namespace": space, "labels": {"aif.dev/run": name}}
    garden.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    done = garden.run("wait", "run", "iris", "--env", garden.lab, "--timeout", "3s")
    assert done.code == 1
    assert f"{name}-train" in done.err
    assert "Insufficient cpu" in done.err


def test_a_run_that_has_ended_is_explained_by_its_driver(garden: Garden, nodes: object) -> None:
    name = _run(garden, "fail")
    space = f"garden-{garden.lab}"
    jobs = garden.cluster.list("batch/v1", "Job", space)
    (pod,) = (job["spec"]["template"]["spec"] for job in jobs if job["metadata"]["name"] == name)
    pod["containers"][0]["image"] = BAD
    metadata = {"name": f"{name}-train", "namespace": space, "labels": {"aif.dev/run": name}}
    garden.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    done = garden.run("wait", "run", "iris", "--env", garden.lab, "--timeout", "60s")
    assert "error[AIF752]" in done.err
    assert f"{name}-train" not in done.err


def test_a_model_without_a_run(garden: Garden) -> None:
    garden.applied()
    for words, code in ((("run", "iris"), "AIF747"), (("run", "ires"), "AIF746"), (("healthy", "ires"), "AIF746")):
        done = garden.on("wait", *words)
        assert (done.code, f"error[{code}]" in done.err) == (1, True)
    done = garden.on("wait", "healthy", "iris", "--timeout", "soon")
    assert done.code == 1
    assert "'soon' is no duration" in done.err


def _run(garden: Garden, outcome: str, after: str | None = None) -> str:
    """Applies, and replaces the run by one whose pods fare so; its name."""
    garden.run("apply", "--env", garden.lab)
    jobs = garden.cluster.list("batch/v1", "Job", f"garden-{garden.lab}")
    job = next(each for each in jobs if each["metadata"]["name"].startswith("iris-"))
    # The Job controller counts pods by their Job's name: one that goes while they are counted leaves that to the next.
    garden.cluster.wait(job, lambda live: live["status"].get("completionTime"))
    garden.cluster.delete(job)
    garden.cluster.wait_gone(job)
    metadata = {key: job["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    notes = simulate(outcome, after=after)
    spec = {
        "template": {"metadata": {"annotations": notes}, "spec": job["spec"]["template"]["spec"]},
        "backoffLimit": 0,
    }
    garden.cluster.create({**{k: job[k] for k in ("apiVersion", "kind")}, "metadata": metadata, "spec": spec})
    return str(metadata["name"])
