"""Whose pods tell how a workload fares, by objects as the API server has them while one template replaces another."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import pytest

from aifctl.cluster import health
from aifctl.cluster.health import Streak
from aifctl.cluster.wait import LOOK, PATIENCE
from tests.cluster.health.test_pods import BAD_IMAGE, CRASHING, MOUNTING, RUNNING
from tests.cluster.health.test_streak import RECORDED

Object = dict[str, Any]
FIRST, SECOND, THIRD = "2026-11-20T10:00:00Z", "2026-11-20T10:05:00Z", "2026-11-20T10:07:00Z"


def workload(kind: str = "Deployment", version: str = "apps/v1", **more: Any) -> Object:
    status = {"observedGeneration": 2, **more.pop("status", {})}
    metadata = {"name": "digits", "generation": 2}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": more.pop("spec", {}), "status": status}


def owned(kind: str, name: str) -> Object:
    return {"ownerReferences": [{"kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}]}


def of(template: str, pod: Object, born: str, workload: str = "digits") -> Object:
    """A pod of the ReplicaSet of this template."""
    labels = {"app": "digits", "pod-template-hash": template}
    name = f"{workload}-{template}"
    metadata = {"name": f"{name}-x2x8p", "labels": labels, "creationTimestamp": born, **owned("ReplicaSet", name)}
    return {**pod, "metadata": metadata}


def revised(kind: str, revision: str, pod: Object, born: str = FIRST) -> Object:
    labels = {"app": "digits", "controller-revision-hash": revision}
    metadata = {"name": f"digits-{revision}", "labels": labels, "creationTimestamp": born, **owned(kind, "digits")}
    return {**pod, "metadata": metadata}


def replica_set(template: str, revision: int, workload: str = "digits", **metadata: Any) -> Object:
    name = f"{workload}-{template}"
    annotations = {"deployment.kubernetes.io/revision": str(revision)}
    whole = {"name": name, "uid": f"uid-{name}", "annotations": annotations, **owned("Deployment", workload)}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {**whole, **metadata}}


def names(pods: list[Any]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


SETS = [replica_set("old", 1), replica_set("new", 2)]
BROKEN = [pytest.param(CRASHING, id="crashes"), pytest.param(BAD_IMAGE, id="no image")]


@pytest.mark.parametrize("sets", [SETS, []], ids=["by sets", "by age"])
@pytest.mark.parametrize("broken", BROKEN)
def test_an_old_pod_that_is_broken_says_nothing_of_the_new(broken: Object, sets: list[Object]) -> None:
    old, new = of("old", broken, FIRST), of("new", MOUNTING, SECOND)
    trouble = health.stuck(health.newest(workload(), [old, new], sets))
    assert trouble is not None
    assert (trouble.pod, trouble.phase) == ("digits-new-x2x8p", "ContainerCreating")
    well = of("new", RUNNING, SECOND)
    assert health.stuck(health.newest(workload(), [old, well], sets)) is None


@pytest.mark.parametrize("sets", [SETS, []], ids=["by sets", "by age"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_new_pod_that_is_broken_does(broken: Object, sets: list[Object]) -> None:
    trouble = health.stuck(health.newest(workload(), [of("old", RUNNING, FIRST), of("new", broken, SECOND)], sets))
    assert trouble is not None
    assert trouble.pod == "digits-new-x2x8p"


def looked_at(old: str, new: str | None) -> float | None:
    """Seconds after which a wait gives up, where old pods fare as recorded, and new ones too or are being made."""
    recorded = {
        name: [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text("utf-8").splitlines()]
        for name in (old, new) if name
    }  # fmt: skip

    def at(name: str | None, now: float) -> Object:
        seen = [row["pod"] for row in recorded[name] if row["at"] <= now] if name else []
        return seen[-1] if seen else MOUNTING

    streak = Streak()
    for now in (step * LOOK for step in range(int(PATIENCE * 2 / LOOK))):
        pods = [of("old", at(old, now), FIRST), of("new", at(new, now), SECOND)]
        streak.note(health.stuck(health.newest(workload(), pods, SETS)), now)
        if streak.lasts(now) >= PATIENCE:
            return now
    return None


@pytest.mark.parametrize("old", ["crashes", "no-image", "out-of-memory"])
def test_a_wait_outlasts_old_pods_and_gives_up_on_new_ones(old: str) -> None:
    assert looked_at(old, None) is None
    assert looked_at(old, "crashes") is not None
    assert looked_at("crashes", "no-image") is not None


def test_where_sets_can_be_read_the_age_of_pods_does_not_matter() -> None:
    """An autoscaler, or the loss of a node, makes young pods of the old template."""
    old, new = of("old", RUNNING, THIRD), of("new", CRASHING, SECOND)
    assert names(health.newest(workload(), [old, new], SETS)) == ["digits-new-x2x8p"]
    # Gone back: the earlier set has the later number now.
    back = [replica_set("old", 3), replica_set("new", 2)]
    assert names(health.newest(workload(), [old, new], back)) == ["digits-old-x2x8p"]


def test_none_count_while_the_newest_template_has_no_pod() -> None:
    old = of("old", CRASHING, FIRST)
    assert health.newest(workload(), [old], SETS) == []
    behind = workload(status={"observedGeneration": 1})
    assert health.newest(behind, [old], [replica_set("old", 1)]) == []
    assert health.newest(workload(), [old], [replica_set("old", 1)]) == [old]


def test_a_pod_that_is_going_away_is_not_the_youngest() -> None:
    going = of("new", CRASHING, SECOND)
    going["metadata"]["deletionTimestamp"] = THIRD
    assert names(health.newest(workload(), [of("old", BAD_IMAGE, FIRST), going])) == ["digits-old-x2x8p"]


def test_two_of_one_age_both_count() -> None:
    pods = [of("old", CRASHING, FIRST), of("new", MOUNTING, FIRST)]
    assert health.newest(workload(), pods) == pods


@pytest.mark.parametrize("read", [True, False], ids=["by sets", "by age"])
def test_each_deployment_of_a_server_has_its_own_newest(read: bool) -> None:
    """A predictor that was updated beside a transformer that was not."""
    server = workload("InferenceService", "serving.kserve.io/v1beta1")
    pods = [
        of("aa", CRASHING, FIRST, "predictor"), of("bb", MOUNTING, SECOND, "predictor"),
        of("cc", BAD_IMAGE, FIRST, "transformer"),
    ]  # fmt: skip
    sets = [replica_set("aa", 1, "predictor"), replica_set("bb", 2, "predictor"), replica_set("cc", 1, "transformer")]
    assert names(health.newest(server, pods, sets if read else [])) == ["predictor-bb-x2x8p", "transformer-cc-x2x8p"]


def test_a_rollout_numbers_its_sets_itself() -> None:
    rollout = workload("Rollout", "argoproj.io/v1alpha1", status={"observedGeneration": "2"})
    sets = [
        replica_set(template, 0, annotations={"rollout.argoproj.io/revision": revision})
        for template, revision in (("old", "9"), ("new", "10"))
    ]
    pods = [of("old", CRASHING, THIRD), of("new", MOUNTING, SECOND)]
    assert names(health.newest(rollout, pods, sets)) == ["digits-new-x2x8p"]


@pytest.mark.parametrize(
    ("spec", "counted"),
    [
        ({"podManagementPolicy": "Parallel"}, ["digits-new"]),
        ({"podManagementPolicy": "Parallel", "updateStrategy": {"type": "OnDelete"}}, ["digits-old", "digits-new"]),
        (
            {"podManagementPolicy": "Parallel", "updateStrategy": {"rollingUpdate": {"partition": 1}}},
            ["digits-old", "digits-new"],
        ),
        ({}, ["digits-old", "digits-new"]),
    ],
    ids=["parallel", "by hand", "partition", "in order"],
)
def test_an_old_pod_of_a_stateful_set_counts_where_it_holds_up_the_new(spec: Object, counted: list[str]) -> None:
    found = workload("StatefulSet", spec=spec, status={"updateRevision": "new"})
    pods = [revised("StatefulSet", "old", CRASHING), revised("StatefulSet", "new", MOUNTING)]
    assert names(health.newest(found, pods)) == counted


def test_the_youngest_pod_of_a_daemon_set_is_of_its_newest_template() -> None:
    pods = [revised("DaemonSet", "old", CRASHING), revised("DaemonSet", "new", MOUNTING, SECOND)]
    assert names(health.newest(workload("DaemonSet"), pods)) == ["digits-new"]
    by_hand = workload("DaemonSet", spec={"updateStrategy": {"type": "OnDelete"}})
    assert names(health.newest(by_hand, pods)) == ["digits-old", "digits-new"]


def test_pods_that_do_not_say_what_made_them_all_count() -> None:
    pods = [CRASHING, MOUNTING]
    for kind, version in (("Deployment", "apps/v1"), ("StatefulSet", "apps/v1"), ("DaemonSet", "apps/v1")):
        assert health.newest(workload(kind, version), pods) == pods
    assert not health.has_sets(pods)
    assert health.has_sets([*pods, of("new", MOUNTING, SECOND)])


def test_all_pods_of_a_run_count() -> None:
    """Those of its steps are of other Jobs."""
    run = workload("Job", "batch/v1", status={"observedGeneration": 1})
    pods = [of("old", CRASHING, FIRST), of("new", MOUNTING, SECOND)]
    assert health.newest(run, pods, SETS) == pods


STRANGE: tuple[Any, ...] = (None, True, 7, "", "x", [], [None, "x"], {}, {"": None})


def test_whatever_a_pod_or_a_set_holds_there_is_an_answer() -> None:
    places = ("metadata", "labels", "ownerReferences", "annotations", "creationTimestamp", "uid")
    for place, wrong in ((place, wrong) for place in places for wrong in STRANGE):
        pods: list[Any] = [of("old", CRASHING, FIRST), of("new", MOUNTING, SECOND)]
        sets: list[Any] = [replica_set("old", 1)]
        for each in chain(pods, sets):
            holder = each if place == "metadata" else each["metadata"]
            holder[place] = wrong
        strange: list[Any] = [*pods, None]
        for kind in ("Deployment", "StatefulSet", "DaemonSet"):
            assert all(each in pods for each in health.newest(workload(kind), strange, [*sets, *strange[2:]]))
