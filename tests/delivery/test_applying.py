"""Plan and apply of a repository against a real API server: what is written, left alone, pruned, brought back."""

from __future__ import annotations

from typing import Any

from tests.controlplane.proxy import FaultProxy
from tests.delivery.garden import BAD, GOOD, Garden

QUICK = ("--wait", "--timeout", "2s")


def results(done: Any) -> dict[str, str]:
    return {unit["model"]: unit["result"] for unit in done.json["units"]}


def test_a_plan_tells_by_its_exit_code_whether_anything_would_change(garden: Garden) -> None:
    planned = garden.on("plan", "--against", "cluster")
    assert (planned.code, planned.err) == (2, "")
    assert f"+ Deployment.apps {garden.namespace}/iris" in planned.out
    assert "plan: 13 to create, 0 to change, 0 to delete" in planned.out
    assert garden.cluster.get(garden.reference("Namespace", garden.namespace, "v1")) is None
    applied = garden.on("apply")
    assert (applied.code, applied.out) == (0, f"{garden.environment}: 3 applied; 13 created\n")
    again = garden.on("plan", "--against", "cluster")
    assert (again.code, again.out) == (0, "plan: no changes (13 objects compared)\n")


def test_a_second_apply_writes_nothing_not_even_the_inventory(garden: Garden, nodes: object) -> None:
    garden.applied("--wait")
    with FaultProxy(garden.cluster) as proxy:
        again = garden.on("apply", "--kubeconfig", proxy.kubeconfig)
        waited = garden.on("apply", "--wait", "--kubeconfig", proxy.kubeconfig)
        assert proxy.writes() == []
    for done in (again, waited):
        assert (done.code, done.out) == (0, f"{garden.environment}: 3 unchanged; nothing written\n")


def test_a_dry_run_writes_nothing(garden: Garden) -> None:
    dry = garden.on("apply", "--dry-run")
    assert dry.code == 0
    assert "13 to create" in dry.out
    assert garden.cluster.get(garden.reference("Namespace", garden.namespace, "v1")) is None
    assert garden.inventory("iris") is None


def test_a_broken_spec_freezes_its_model_and_no_other(garden: Garden) -> None:
    garden.applied()
    garden.edit("models/iris/model.yaml", "task: classification", "task: clasification")
    garden.edit("models/rose/model.yaml", "batching: {max: 32}", "batching: {max: 16}")
    before = garden.deployment("iris")["metadata"]["generation"]
    planned = garden.on("plan", "--against", "cluster")
    assert planned.code == 1
    assert "AIF206" in planned.err
    assert "0 to create, 1 to change, 0 to delete" in planned.out
    done = garden.on("apply")
    assert done.code == 1
    assert "AIF206" in done.err
    assert done.out == f"{garden.environment}: 1 unchanged, 1 applied, 1 left as it is; 1 changed\n"
    assert garden.deployment("iris")["metadata"]["generation"] == before
    assert results(garden.on("apply", "-o", "json")) == {"": "unchanged", "rose": "unchanged"}


def test_a_spec_that_can_not_even_be_read_prunes_nothing(garden: Garden) -> None:
    garden.applied()
    garden.edit("models/iris/model.yaml", "task: classification", "task: [classification")
    done = garden.on("apply", "-o", "json")
    assert done.code == 1
    assert "iris" not in results(done)
    assert garden.deployment("iris") is not None


def test_an_apply_of_some_paths_prunes_no_other_model(garden: Garden) -> None:
    garden.applied()
    (garden.root / "models/rose/model.yaml").unlink()
    done = garden.on("apply", "models/iris")
    assert (done.code, done.out) == (0, f"{garden.environment}: 1 unchanged; nothing written\n")
    assert garden.deployment("rose") is not None
    planned = garden.on("plan", "models/iris", "--against", "cluster")
    assert (planned.code, "to delete" in planned.out) == (0, False)
    whole = garden.on("apply")
    assert (whole.code, whole.out) == (0, f"{garden.environment}: 2 unchanged, 1 applied; 4 deleted\n")
    garden.cluster.wait_gone(garden.reference("Deployment", "rose"))
    assert garden.inventory("rose") is None
    assert garden.deployment("iris") is not None


def test_no_apply_takes_all_models_away(garden: Garden) -> None:
    garden.applied()
    for name in ("iris", "rose"):
        (garden.root / f"models/{name}/model.yaml").unlink()
    (garden.root / "models/lily.yaml").write_text("kind: Other\n")
    done = garden.on("apply")
    assert done.code == 1
    assert garden.deployment("iris") is not None
    (garden.root / "models/lily.yaml").unlink()
    done = garden.on("apply")
    assert done.code == 1
    assert garden.deployment("iris") is not None
    assert garden.deployment("rose") is not None


def test_drift_is_shown_field_by_field_and_repaired(garden: Garden) -> None:
    garden.applied()
    garden.edited("iris", "hacked:1")
    garden.cluster.patch(garden.deployment("iris"), {"metadata": {"labels": {"note": "mine"}}}, manager="somebody")
    planned = garden.on("plan", "--against", "cluster", "-o", "json")
    assert planned.code == 2
    (changed,) = [change for change in planned.json["changes"] if change["action"] == "change"]
    (field,) = changed["fields"]
    assert (field["path"], field["before"], field["after"]) == (
        "spec.template.spec.containers[server].image", "hacked:1", GOOD,
    )  # fmt: skip
    assert garden.on("apply").code == 0
    assert garden.image("iris") == GOOD
    assert garden.deployment("iris")["metadata"]["labels"]["note"] == "mine"
    assert len(_history(garden, "iris")) == 1, "drift that was repaired is no new revision"


def test_a_conflict_names_field_and_owner_and_can_be_forced(garden: Garden) -> None:
    garden.applied()
    garden.edited("iris", "other:1", "image-updater")
    for done in (garden.on("plan", "--against", "cluster"), garden.on("apply")):
        assert done.code == 1
        assert "error[AIF720]" in done.err
        assert "image-updater" in done.err
        assert "image" in done.err
    assert garden.image("iris") == "other:1"
    assert garden.on("apply", "--force-conflicts").code == 0
    assert garden.image("iris") == GOOD


def test_healthy_servers_end_a_wait_well(garden: Garden, nodes: object) -> None:
    done = garden.on("apply", "--wait", "--timeout", "60s")
    assert done.code == 0, done.err
    assert f"healthy {garden.environment}/garden/iris" in done.err
    assert garden.deployment("iris")["status"]["readyReplicas"] == 1


def test_a_bad_image_ends_a_wait_with_its_phase_and_container(garden: Garden, nodes: object) -> None:
    garden.release("iris", BAD)
    done = garden.on("apply", *QUICK)
    assert done.code == 1
    assert f"Deployment {garden.namespace}/iris is not healthy after 2s, stuck in ImagePullBackOff" in done.err
    assert "container server" in done.err
    assert done.out.startswith(f"{garden.environment}: 2 applied, 1 failed;")
    (last,) = _history(garden, "iris")
    assert last["outcome"] == "failed"
    assert "ImagePullBackOff" in last["message"]
    assert garden.on("apply").code == 0, "without --wait what is there is as it should be"


def test_what_an_unhealthy_revision_replaces_is_not_pruned_before(garden: Garden, nodes: object) -> None:
    """Order: apply, wait, prune."""
    garden.edit("platform.yaml", "roles: [serve]", 'roles: [serve]\n      capabilities: {metrics-server: "0.8"}')
    garden.edit(
        "models/iris/model.yaml",
        "batching: {max: 32}",
        "batching: {max: 32}\n    autoscaling: {min: 1, max: 2, metric: cpu, target: 60}",
    )
    garden.applied()
    assert garden.live("HorizontalPodAutoscaler", "iris", "autoscaling/v2") is not None
    garden.edit("models/iris/model.yaml", "autoscaling: {min: 1, max: 2, metric: cpu, target: 60}", "")
    garden.release("iris", BAD)
    assert garden.on("apply", *QUICK).code == 1
    assert garden.live("HorizontalPodAutoscaler", "iris", "autoscaling/v2") is not None


def test_a_rollback_on_failure_brings_the_former_revision_back_and_holds_the_bad_one(
    garden: Garden, nodes: object
) -> None:
    first = garden.git("rev-parse", "HEAD").strip()
    garden.applied("--wait")
    garden.release("iris", BAD)
    second = garden.commit("a server that can't be pulled")
    done = garden.on("apply", "--rollback-on-failure", "--timeout", "2s", "-o", "json")
    assert done.code == 1
    assert results(done) == {"": "unchanged", "iris": "failed", "rose": "unchanged"}
    (rollback,) = done.json["rollbacks"]
    assert (rollback["model"], rollback["result"], rollback["revision"]) == ("iris", "applied", 1)
    assert garden.image("iris") == GOOD
    revisions = _history(garden, "iris")
    assert [(r["number"], r["outcome"], r["commit"]) for r in revisions] == [
        (1, "applied", first), (2, "failed", second), (3, "rolled-back", first),
    ]  # fmt: skip
    assert revisions[0]["tree"] == revisions[2]["tree"] != revisions[1]["tree"]

    again = garden.on("apply")
    assert again.code == 1
    assert "error[AIF760]" in again.err
    assert garden.image("iris") == GOOD
    planned = garden.on("plan", "--against", "cluster")
    assert planned.code == 2
    assert "warning[AIF760]" in planned.err

    garden.release("iris", BAD, run="iris-abcdefabcd")
    garden.commit("another bad one")
    done = garden.on("apply", "--rollback-on-failure", "--timeout", "2s")
    assert done.code == 1
    assert f"{garden.environment}/garden/iris: rolled back to revision 3" in done.out

    garden.release("iris", run="iris-abcdefabcd")
    garden.commit("a good one")
    assert garden.on("apply", "--wait").code == 0
    assert garden.on("history", "iris", "-o", "json").json["held"] == ""


def test_a_hold_can_be_released(garden: Garden, nodes: object) -> None:
    garden.applied()
    garden.release("iris", BAD)
    garden.commit()
    assert garden.on("apply", "--rollback-on-failure", "--timeout", "1s").code == 1
    assert garden.image("iris") == GOOD
    done = garden.on("apply", "--release-hold")
    assert done.code == 0, done.err
    assert garden.image("iris") == BAD
    assert garden.on("apply").code == 0


def test_a_first_revision_that_fails_has_nothing_to_go_back_to(garden: Garden, nodes: object) -> None:
    garden.release("iris", BAD)
    garden.commit()
    done = garden.on("apply", "--rollback-on-failure", "--timeout", "1s")
    assert done.code == 1
    assert "error[AIF750]" in done.err
    assert "error[AIF761]" in done.err
    assert f"{garden.environment}/garden/iris: not rolled back" in done.out
    assert garden.image("rose") == GOOD


def test_what_was_applied_from_no_commit_can_not_be_brought_back(garden: Garden, nodes: object) -> None:
    garden.edit("models/iris/model.yaml", "batching: {max: 32}", "batching: {max: 16}")
    garden.applied()
    garden.release("iris", BAD)
    garden.commit()
    done = garden.on("apply", "--rollback-on-failure", "--timeout", "1s")
    assert done.code == 1
    assert "error[AIF762]" in done.err
    assert "revision 1 has no commit on record" in done.err


def test_the_platform_file_may_say_how_long_a_wait_is(garden: Garden, nodes: object) -> None:
    garden.edit("platform.yaml", "roles: [serve]", "roles: [serve]\n      apply: {timeout: 1s}")
    garden.release("iris", BAD)
    assert "is not healthy after 1s" in garden.on("apply", "--wait").err
    assert "is not healthy after 2s" in garden.on("apply", *QUICK).err


def test_runs_are_accepted_and_then_waited_for_to_the_end(garden: Garden, nodes: object) -> None:
    done = garden.run("apply", "--wait", "--timeout", "60s", "--env", garden.lab)
    assert done.code == 0, done.err
    waited = garden.run("wait", "run", "iris", "--env", garden.lab)
    assert (waited.code, waited.err) == (0, "")
    assert waited.out.endswith(": Complete\n")
    garden.edit("models/iris/model.yaml", "C: 0.5", "C: 0.7")
    assert garden.run("apply", "--env", garden.lab).code == 0
    jobs = garden.cluster.list("batch/v1", "Job", f"garden-{garden.lab}")
    assert len([job for job in jobs if job["metadata"]["name"].startswith("iris-")]) == 2, (
        "a run outlives its spec's edit"
    )


def _history(garden: Garden, name: str) -> Any:
    return garden.on("history", name, "-o", "json").json["revisions"]


def test_a_file_that_is_broken_beyond_recognition_takes_no_model_away(garden: Garden) -> None:
    garden.applied()
    spec = garden.root / "models/rose/model.yaml"
    for text in ("{{{", "", "- a list\n"):
        spec.write_text(text)
        done = garden.on("apply")
        assert done.code == 1
        assert "AIF748" in done.err
        assert "models/rose/model.yaml" in done.err
        assert garden.deployment("rose")
    spec.unlink()
    assert garden.on("apply").code == 0
    garden.cluster.wait_gone(garden.reference("Deployment", "rose"))
