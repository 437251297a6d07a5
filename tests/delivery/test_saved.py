"""A plan in a file is applied exactly so, or not at all."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from aifctl.delivery import saved
from aifctl.diagnostics import Report
from tests.delivery.garden import GOOD, Garden


def plan(garden: Garden, *words: str, code: int = 2) -> None:
    done = garden.on("plan", *words, "--against", "cluster", "--save", "approved.plan")
    assert done.code == code, done.err


def bigger(garden: Garden) -> Garden:
    """With something to apply."""
    return garden.edit("models/iris/model.yaml", "batching: {max: 32}", "batching: {max: 16}")


def test_what_was_planned_is_applied_and_nothing_else(garden: Garden) -> None:
    bigger(garden.applied())
    plan(garden)
    done = garden.run("apply", "--plan", "approved.plan")
    assert (done.code, done.out) == (0, f"{garden.environment}: 2 unchanged, 1 applied; 1 changed\n")
    again = garden.run("apply", "--plan", "approved.plan")
    assert again.code == 1
    assert f"Deployment.apps {garden.namespace}/iris needs no change any more" in again.err


def test_the_first_plan_of_all_can_be_approved_too(garden: Garden) -> None:
    plan(garden)
    done = garden.run("apply", "--plan", "approved.plan")
    assert (done.code, done.out) == (0, f"{garden.environment}: 3 applied; 13 created\n")


def test_a_field_that_moved_voids_it(garden: Garden) -> None:
    bigger(garden.applied())
    plan(garden)
    garden.edited("rose", "other:1")
    done = garden.run("apply", "--plan", "approved.plan")
    assert done.code == 1
    assert "error[AIF734]" in done.err
    assert f"Deployment.apps {garden.namespace}/rose would be changed too (change)" in done.err
    garden.edited("rose", GOOD)
    garden.edited("iris", "other:1")
    done = garden.run("apply", "--plan", "approved.plan")
    assert f"Deployment.apps {garden.namespace}/iris differs by other fields now" in done.err
    assert garden.image("iris") == "other:1", "nothing was written"


def test_a_dry_run_of_it_says_so_too(garden: Garden) -> None:
    bigger(garden.applied())
    plan(garden)
    assert garden.run("apply", "--plan", "approved.plan", "--dry-run").code == 0
    garden.edited("rose", "other:1")
    done = garden.run("apply", "--plan", "approved.plan", "--dry-run")
    assert (done.code, "AIF734" in done.err) == (1, True)


def test_another_object_of_the_name_voids_it(garden: Garden) -> None:
    garden.applied()
    (garden.root / "models/rose/model.yaml").unlink()
    plan(garden)
    service = garden.live("Service", "rose", "v1")
    garden.cluster.delete(service)
    garden.cluster.wait_gone(service)
    kept = {key: value for key, value in service["metadata"].items() if key in ("name", "namespace", "labels")}
    garden.cluster.apply(
        {**service, "metadata": kept, "spec": {"ports": [{"port": 80}]}, "status": None}, manager="aifctl"
    )
    done = garden.run("apply", "--plan", "approved.plan")
    assert done.code == 1
    assert "Service" in done.err
    assert garden.deployment("rose") is not None


def test_a_status_that_moved_does_not(garden: Garden) -> None:
    bigger(garden.applied())
    (garden.root / "models/rose/model.yaml").unlink()
    plan(garden)
    for name in ("iris", "rose"):  # one that is changed, and one that is deleted
        live = garden.deployment(name)
        garden.cluster.patch(live, {"status": {"replicas": 7}}, manager="controller", subresource="status")
        assert garden.deployment(name)["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]
    done = garden.run("apply", "--plan", "approved.plan")
    assert done.code == 0, done.err
    garden.cluster.wait_gone(garden.reference("Deployment", "rose"))


def test_a_spec_that_changed_voids_it(garden: Garden) -> None:
    bigger(garden.applied())
    plan(garden)
    garden.edit("models/rose/model.yaml", "batching: {max: 32}", "batching: {max: 8}")
    done = garden.run("apply", "--plan", "approved.plan")
    assert done.code == 1
    assert f"{garden.environment}/garden/rose is compiled to other objects now" in done.err
    (garden.root / "models/rose/model.yaml").unlink()
    assert "is compiled to other objects now" in garden.run("apply", "--plan", "approved.plan").err


def test_a_plan_of_some_models_is_applied_to_these_from_any_folder(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    garden.applied()
    bigger(garden).edit("models/rose/model.yaml", "batching: {max: 32}", "batching: {max: 8}")
    plan(garden, "models/iris")
    monkeypatch.chdir(garden.root / "models")
    done = garden.run("apply", "--plan", "../approved.plan")
    assert (done.code, done.out) == (0, f"{garden.environment}: 1 applied; 1 changed\n")


def test_no_value_of_a_secret_is_in_it(garden: Garden) -> None:
    """Not of a Secret in the cluster, and not of a variable that would show it."""
    garden.applied()
    value, new = "hunter2-in-the-clear", "its-successor-in-the-clear"
    (name,) = (
        each["metadata"]["name"]
        for each in garden.cluster.list("apps/v1", "Deployment", garden.namespace)
        if each["metadata"]["name"] == "iris"
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "token",
            "namespace": garden.namespace,
            "labels": {"aif.dev/environment": garden.environment},
        },
        "stringData": {"token": value},
    }
    garden.cluster.create(secret)
    garden.edited(name, f"registry.example/{value}:1")
    garden.edit("platform.yaml", "roles: [serve]", f"roles: [serve]\n      pod_defaults: {{env: {{TOKEN: {new}}}}}")
    plan(garden)
    text = (garden.root / "approved.plan").read_text()
    for each in (value, new, base64.b64encode(value.encode()).decode(), "registry.example"):
        assert each not in text
    assert {"objects", "trees", "salt", "commit"} <= set(json.loads(text))


def test_it_keeps_what_was_allowed(garden: Garden) -> None:
    garden.edit("platform.yaml", "roles: [serve]", "roles: [serve]\n      apply: {prune: {limit: 0}}").applied()
    release = garden.root / f"releases/{garden.environment}/iris.yaml"
    release.unlink()
    garden.edit("models/iris/model.yaml", "batching: {max: 32}", "batching: {max: 16}")
    done = garden.on("plan", "--against", "cluster", "--save", "approved.plan")
    assert (done.code, "AIF74" in done.err) == (1, True)
    assert garden.run("apply", "--plan", "approved.plan").code == 1
    garden.on("plan", "--against", "cluster", "--save", "approved.plan", "--allow-prune")
    assert json.loads((garden.root / "approved.plan").read_text())["allow_prune"] is True


def test_it_says_itself_what_is_applied_and_where(garden: Garden) -> None:
    bigger(garden.applied())
    plan(garden)
    for words in (("models/iris",), ("--env", garden.lab)):
        done = garden.run("apply", *words, "--plan", "approved.plan")
        assert done.code == 1
        assert "it says what is applied, and where" in done.err


def test_only_a_plan_against_a_cluster_can_be_saved(garden: Garden) -> None:
    done = garden.on("plan", "--save", "approved.plan")
    assert done.code == 1
    assert "only a plan against a cluster can be saved" in done.err
    assert not (garden.root / "approved.plan").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", "null", "\0", '{"format": 99}', '{"format": 1, "environment": "x", "salt": "zz"}'],
)
def test_a_file_that_is_no_plan(text: str, tmp_path: Path) -> None:
    path = tmp_path / "approved.plan"
    path.write_text(text)
    with pytest.raises(Report) as raised:
        saved.load(path)
    (found,) = raised.value.diagnostics
    assert found.code == "AIF735"
    assert "approved.plan is no saved plan" in found.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Report) as raised:
        saved.load(tmp_path / "approved.plan")
    assert raised.value.diagnostics[0].code == "AIF735"
