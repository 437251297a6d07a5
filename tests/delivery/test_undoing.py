"""Back to a former revision of a model, and out of the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controlplane.stages import simulate
from tests.delivery.garden import BAD, GOOD, Garden

OTHER = GOOD.replace("serve@", "newer@")


def revisions(garden: Garden, name: str = "iris") -> list[tuple[int, str, str]]:
    found = garden.on("history", name, "-o", "json").json["revisions"]
    return [(each["number"], each["outcome"], each["commit"]) for each in found]


@pytest.fixture
def two(garden: Garden) -> Garden:
    """Two revisions of iris."""
    garden.applied()
    garden.release("iris", OTHER)
    garden.commit("a newer server")
    return garden.applied()


def commits(garden: Garden) -> list[str]:
    return garden.git("log", "--format=%H").split()[::-1]


def test_a_rollback_brings_the_former_revision_back_and_holds_the_one_it_leaves(two: Garden) -> None:
    first, second = commits(two)
    assert two.image("iris") == OTHER
    done = two.on("rollback", "iris")
    assert done.code == 0, done.err
    unit = f"{two.environment}/garden/iris"
    assert done.out == f"{unit}: back at revision 1 (commit {first[:10]}); the one left is held\n"
    assert two.image("iris") == GOOD
    assert revisions(two) == [(1, "applied", first), (2, "applied", second), (3, "rolled-back", first)]
    refused = two.on("apply")
    assert refused.code == 1
    assert f"error[AIF760]: {unit} is held: what Git has was rolled back" in refused.err
    assert (two.root / f"releases/{two.environment}/iris.yaml").read_text().count(OTHER) == 1, "Git is not touched"

    two.git("revert", "--no-edit", "HEAD")
    assert two.on("apply").code == 0
    two.git("revert", "--no-edit", "HEAD")
    assert two.on("apply").code == 1, "what was rolled back once stays held until somebody releases it"
    assert two.on("apply", "--release-hold").code == 0
    assert two.image("iris") == OTHER


def test_a_rollback_to_a_revision_by_its_number(two: Garden) -> None:
    two.release("iris", OTHER.replace("newer", "newest"))
    two.commit()
    two.applied()
    done = two.on("rollback", "iris", "--to", "1")
    assert done.code == 0, done.err
    assert two.image("iris") == GOOD
    back = two.on("rollback", "iris", "--to", "2")
    assert (back.code, two.image("iris")) == (0, OTHER)
    assert two.on("history", "iris", "-o", "json").json["held"]


def test_a_rollback_to_what_is_there_says_so_and_repairs_drift(two: Garden) -> None:
    done = two.on("rollback", "iris", "--to", "2")
    assert (done.code, "is as revision 2" in done.out) == (0, True)
    two.edited("iris", "hacked:1")
    done = two.on("rollback", "iris", "--to", "2")
    assert done.code == 0
    assert "back at revision 2" in done.out
    assert "held" not in done.out
    assert two.image("iris") == OTHER
    assert two.on("apply").code == 0


def test_a_rollback_works_although_the_spec_is_broken_now(two: Garden) -> None:
    two.edit("models/iris/model.yaml", "task: classification", "task: clasification")
    two.commit()
    assert two.on("rollback", "iris").code == 0
    assert two.image("iris") == GOOD


def test_a_rollback_works_although_the_model_is_gone_from_git(two: Garden) -> None:
    (two.root / "models/iris/model.yaml").unlink()
    two.commit()
    assert two.on("rollback", "iris").code == 0
    assert two.image("iris") == GOOD


def test_objects_of_the_revision_that_is_left_are_pruned(garden: Garden) -> None:
    garden.edit("platform.yaml", "roles: [serve]", 'roles: [serve]\n      capabilities: {metrics-server: "0.8"}')
    garden.commit()
    garden.applied()
    scaled = "batching: {max: 32}\n    autoscaling: {min: 1, max: 2, metric: cpu, target: 60}"
    garden.edit("models/iris/model.yaml", "batching: {max: 32}", scaled)
    garden.commit()
    garden.applied()
    assert garden.live("HorizontalPodAutoscaler", "iris", "autoscaling/v2") is not None
    assert garden.on("rollback", "iris").code == 0
    assert garden.live("HorizontalPodAutoscaler", "iris", "autoscaling/v2") is None


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("rose",), "AIF761", "has no other good revision to go back to"),
        (("iris", "--to", "9"), "AIF761", "has no revision 9 to go back to"),
        (("ires",), "AIF746", "no model `ires` is on record"),
    ],
)
def test_there_must_be_such_a_revision(words: tuple[str, ...], code: str, said: str, two: Garden) -> None:
    done = two.on("rollback", *words)
    assert done.code == 1
    assert f"error[{code}]" in done.err
    assert said in done.err
    assert two.image("iris") == OTHER


def test_what_was_never_committed_can_not_be_brought_back(garden: Garden) -> None:
    garden.release("iris", OTHER).applied()
    garden.release("iris", GOOD)
    garden.applied()
    done = garden.on("rollback", "iris", "--to", "1")
    assert done.code == 1
    assert "error[AIF762]" in done.err
    assert garden.image("iris") == GOOD


def test_a_commit_that_is_not_in_this_clone(two: Garden) -> None:
    two.git("checkout", "--quiet", "--orphan", "other")
    two.commit("all history is gone")
    two.git("branch", "-D", "main")
    two.git("reflog", "expire", "--expire=now", "--all")
    two.git("gc", "--quiet", "--prune=now")
    done = two.on("rollback", "iris")
    assert done.code == 1
    assert "error[AIF762]" in done.err
    assert two.image("iris") == OTHER


def test_a_commit_that_compiles_otherwise_now(two: Garden) -> None:
    """As after an upgrade: the record names another tree than what is compiled."""
    head = two.inventory("iris")
    document = head["data"]["unit.json"]
    tree = two.on("history", "iris", "-o", "json").json["revisions"][0]["tree"]
    two.cluster.patch(head, {"data": {"unit.json": document.replace(tree, "f" * 64)}})
    done = two.on("rollback", "iris")
    assert done.code == 1
    assert "error[AIF763]" in done.err
    assert two.image("iris") == OTHER
    assert two.on("rollback", "iris", "--any-tree").code == 0
    assert two.image("iris") == GOOD


def test_a_rollback_waits_if_it_is_asked_to(two: Garden, nodes: object) -> None:
    two.release("iris", BAD)
    two.commit()
    two.applied()
    two.release("iris", GOOD)
    two.commit()
    two.applied("--wait")
    done = two.on("rollback", "iris", "--to", "3", "--wait", "--timeout", "2s")
    assert done.code == 1
    assert "stuck in ImagePullBackOff" in done.err
    assert two.on("rollback", "iris", "--to", "1", "--wait").code == 0


# Destroy


def gone(garden: Garden, name: str) -> bool:
    garden.cluster.wait_gone(garden.reference("Deployment", name))
    return all(garden.live(kind, name, "v1") is None for kind in ("Service", "ServiceAccount"))


def test_a_model_is_destroyed_with_all_that_is_on_record_of_it(garden: Garden) -> None:
    garden.applied()
    done = garden.on("destroy", "iris", "--yes")
    assert done.code == 0, done.err
    assert f"- Deployment.apps {garden.namespace}/iris\n" in done.out
    assert done.out.endswith(f"{garden.environment}: destroyed {garden.environment}/garden/iris; 4 deleted\n")
    assert gone(garden, "iris")
    assert garden.inventory("iris") is None
    assert garden.deployment("rose") is not None
    assert garden.on("apply").code == 0
    assert garden.deployment("iris") is not None, "it is still in Git"


def test_all_is_destroyed_models_before_what_they_stand_on(garden: Garden) -> None:
    garden.applied()
    done = garden.on("destroy", "--all", "--yes")
    assert done.code == 0, done.err
    order = [line.split()[1] for line in done.err.splitlines() if line.strip().startswith("deleted")]
    assert order.index("RoleBinding.rbac.authorization.k8s.io") > max(
        index for index, kind in enumerate(order) if kind == "Deployment.apps"
    )
    assert "a Namespace is never pruned" in done.out
    assert garden.cluster.get(garden.reference("Namespace", garden.namespace, "v1")) is not None
    assert gone(garden, "iris")
    done = garden.on("destroy", "--all", "--yes", "--with-data", "--wait")
    assert done.code == 0, done.err
    assert garden.cluster.get(garden.reference("Namespace", garden.namespace, "v1")) is None
    done = garden.on("destroy", "--all")
    assert (done.code, done.out) == (0, f"{garden.environment}: nothing is on record here\n")


def test_runs_that_would_be_killed_are_named(garden: Garden, nodes: object) -> None:
    garden.run("apply", "--env", garden.lab)
    job = _run_of_iris(garden)
    garden.cluster.wait(job, lambda live: live["status"].get("succeeded"))
    ended = garden.run("destroy", "iris", "--env", garden.lab)
    assert ended.code == 1
    assert "kills" not in ended.out
    _revive(garden, job)
    done = garden.run("destroy", "iris", "--env", garden.lab)
    assert f"kills Job.batch garden-{garden.lab}/{job['metadata']['name']}, which has not ended" in done.out
    assert done.code == 1
    assert garden.cluster.get(job) is not None
    assert garden.run("destroy", "iris", "--env", garden.lab, "--yes").code == 0
    garden.cluster.wait_gone(job)


def _run_of_iris(garden: Garden) -> Any:
    jobs = garden.cluster.list("batch/v1", "Job", f"garden-{garden.lab}")
    (found,) = (each for each in jobs if each["metadata"]["name"].startswith("iris-"))
    return {"apiVersion": "batch/v1", "kind": "Job", **found}


def _revive(garden: Garden, job: Any) -> None:
    """The same run once more, and this time it takes long."""
    garden.cluster.delete(job)
    garden.cluster.wait_gone(job)
    metadata = {key: job["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    template = {**job["spec"]["template"], "metadata": {"annotations": simulate("complete", after="600s")}}
    made = {**job, "metadata": metadata, "spec": {"template": template}}
    made.pop("status")
    garden.cluster.create(made)
    assert garden.run("apply", "--env", garden.lab).code == 0


def test_a_protected_environment_is_not_destroyed(garden: Garden) -> None:
    garden.edit("platform.yaml", "roles: [serve]", "roles: [serve]\n      apply: {protect: true}").applied()
    done = garden.on("destroy", "--all", "--yes", "--with-data")
    assert done.code == 1
    assert "error[AIF744]" in done.err
    assert garden.deployment("iris") is not None


def test_a_model_that_nobody_applied_can_not_be_destroyed(garden: Garden) -> None:
    garden.applied()
    done = garden.on("destroy", "ires", "--yes")
    assert done.code == 1
    assert "error[AIF746]" in done.err
    assert "did you mean `iris`" in done.err


def test_a_name_or_all_and_not_both(garden: Garden) -> None:
    for words in ((), ("iris", "--all")):
        done = garden.on("destroy", *words, "--yes")
        assert done.code == 1
        assert "name the models, or take --all of them" in done.err


def test_a_damaged_inventory_stays_and_is_told(garden: Garden) -> None:
    garden.applied()
    garden.cluster.patch(garden.inventory("iris"), {"data": {"unit.json": "{"}})
    done = garden.on("destroy", "--all", "--yes")
    assert done.code == 1
    assert "error[AIF742]" in done.err
    assert garden.deployment("iris") is not None
    assert gone(garden, "rose")
