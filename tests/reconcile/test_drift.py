"""What changes in the cluster, and not in Git: repaired, left alone, or just told; and that rest is rest."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from typing import Any

from tests.controlplane.proxy import FaultProxy
from tests.delivery.garden import GOOD, Garden
from tests.reconcile.conftest import Start
from tests.reconcile.process import Reconciler

LEASES = "/leases/"


def settled(process: Reconciler) -> None:
    """Everything was looked at, and the looks that follow an apply are over."""
    process.wait("synced")
    process.until(lambda: process.metric("queue_depth") == 0)


def image(value: str) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "server", "image": value}]}}}}


def uid(garden: Garden, kind: str, version: str) -> str:
    live = garden.live(kind, "rose", version)
    return str(live["metadata"]["uid"]) if live is not None else ""


def is_new(garden: Garden, kind: str, version: str, old: str) -> bool:
    return uid(garden, kind, version) not in ("", old)


def command(garden: Garden, *words: str) -> None:
    options = ("--env", garden.environment, "--kubeconfig", str(garden.cluster.kubeconfig), "--context", "test")
    done = subprocess.run(
        [sys.executable, "-m", "aifctl", *words, *options], cwd=garden.root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_an_edit_and_a_deletion_are_repaired(garden: Garden, start: Start) -> None:
    with start() as process:
        settled(process)
        begun = time.monotonic()
        service = garden.live("Service", "rose", "v1")
        garden.cluster.patch(service, {"metadata": {"labels": {"aif.dev/model": "tulip"}}}, manager="kubectl-edit")
        process.until(lambda: garden.live("Service", "rose", "v1")["metadata"]["labels"]["aif.dev/model"] == "rose")
        edited = time.monotonic() - begun
        for kind, version in (("Service", "v1"), ("Deployment", "apps/v1")):
            old = uid(garden, kind, version)
            begun = time.monotonic()
            garden.cluster.delete(garden.reference(kind, "rose", version))
            process.until(partial(is_new, garden, kind, version, old))
            print(f"{kind} back after {time.monotonic() - begun:.2f} s; edit repaired after {edited:.2f} s")
        process.until(lambda: process.metric("drift_repairs_total") >= 3)
        process.wait("repaired", unit="rose")
        name = f"aif.{garden.environment}.garden.rose"
        events = garden.cluster.list("v1", "Event", "aif-system", fieldSelector=f"involvedObject.name={name}")
        assert {"Applied", "DriftRepaired"} <= {each["reason"] for each in events}


def test_what_others_own_is_left_alone(garden: Garden, start: Start) -> None:
    with start() as process:
        settled(process)
        written = process.metric('objects_written_total{what="changed"}')
        there = garden.live("Service", "rose", "v1")
        garden.cluster.patch(there, {"metadata": {"annotations": {"note": "mine"}}}, manager="somebody")
        time.sleep(2)
        assert garden.live("Service", "rose", "v1")["metadata"]["annotations"]["note"] == "mine"
        assert process.metric('objects_written_total{what="changed"}') == written


def test_a_conflict_is_told_and_holds_up_no_other(garden: Garden, start: Start) -> None:
    with start() as process:
        settled(process)
        there = garden.live("Service", "rose", "v1")
        garden.cluster.patch(there, {"metadata": {"labels": {"aif.dev/model": "mine"}}}, manager="robot")
        found = process.wait("finding", code="AIF720", unit="rose")
        assert "owned by robot" in found["message"]
        other = GOOD.replace("serve@", "serve-two@")
        garden.release("tulip", other).commit()
        process.until(lambda: garden.image("tulip") == other)
        assert process.metric('units{state="failed"}') == 1
        # The robot gives in: it is tried again at once, not when the back-off is over.
        garden.cluster.patch(there, {"metadata": {"labels": {"aif.dev/model": "rose"}}}, manager="robot")
        process.until(lambda: process.metric('units{state="failed"}') == 0)


def test_a_suspended_model_is_left_alone_until_it_is_resumed(garden: Garden, start: Start) -> None:
    with start() as process:
        settled(process)
        command(garden, "suspend", "rose", "--reason", "incident 42")
        found = process.wait("finding", code="AIF777")
        assert "incident 42" in found["message"]
        garden.cluster.delete(garden.reference("Service", "rose", "v1"))
        garden.cluster.delete(garden.reference("Service", "tulip", "v1"))
        process.until(lambda: garden.live("Service", "tulip", "v1"))
        commit = garden.release("rose", GOOD.replace("serve@", "serve-two@")).commit()
        process.wait("commit", commit=commit[:10])
        # It is seen, told and counted, and that is all: what Git has meanwhile is no drift.
        assert "Service" in process.wait("drifted", unit="rose")["objects"]
        process.until(lambda: process.metric('drifted_objects{state="suspended"}') == 1)
        assert garden.live("Service", "rose", "v1") is None
        assert garden.image("rose") == GOOD
        process.until(lambda: "Drifted" in events(garden, "rose"))
        command(garden, "resume", "rose")
        process.until(lambda: garden.live("Service", "rose", "v1"))
        process.until(lambda: garden.image("rose") != GOOD)
        process.until(lambda: process.metric('drifted_objects{state="suspended"}') == 0)


def events(garden: Garden, model: str) -> set[str]:
    name = f"aif.{garden.environment}.garden.{model}"
    found = garden.cluster.list("v1", "Event", "aif-system", fieldSelector=f"involvedObject.name={name}")
    return {each["reason"] for each in found}


def test_drift_of_a_suspended_model_that_a_person_puts_right_is_forgotten(garden: Garden, start: Start) -> None:
    with start() as process:
        settled(process)
        command(garden, "suspend", "rose", "--reason", "incident 42")
        process.wait("finding", code="AIF777")
        garden.edited("rose", "other:1")
        process.until(lambda: process.metric('drifted_objects{state="suspended"}') == 1)
        command(garden, "apply")
        assert garden.image("rose") == GOOD
        process.until(lambda: process.metric('drifted_objects{state="suspended"}') == 0)
        time.sleep(4)
        assert len(process.said("drifted")) == 1


def test_a_model_that_is_suspended_and_as_it_was_left_has_not_drifted(garden: Garden, start: Start) -> None:
    """Nor does what a person applies to it, before the watch has told of all of it."""
    with start() as process:
        settled(process)
        command(garden, "suspend", "rose", "--reason", "incident 42")
        process.wait("finding", code="AIF777")
        garden.release("rose", GOOD.replace("serve@", "serve-two@")).commit()
        command(garden, "apply")
        process.until(lambda: garden.image("rose") != GOOD)
        time.sleep(4)
        assert process.metric('units{state="suspended"}') == 1
        assert process.metric('drifted_objects{state="suspended"}') == 0
        assert not process.said("drifted")


def test_at_rest_there_is_nothing_but_watches(garden: Garden, start: Start) -> None:
    with FaultProxy(garden.cluster) as proxy, start(kubeconfig=proxy.kubeconfig) as process:
        settled(process)
        time.sleep(4)
        proxy.clear()
        time.sleep(6)
        assert proxy.writes(ignoring=LEASES) == []
        assert proxy.reads_of_objects(ignoring=LEASES) == []
        assert proxy.seen("list") == []
        assert len(proxy.seen("update", path=LEASES)) in (1, 2)


def test_detection_writes_nothing_and_says_so_by_its_code(garden: Garden, start: Start) -> None:
    with FaultProxy(garden.cluster) as proxy:
        with start("--once", "--detect-only", kubeconfig=proxy.kubeconfig) as process:
            assert process.ended() == 2
        with start("--once") as process:
            assert process.ended() == 0
        with start("--once", "--detect-only", kubeconfig=proxy.kubeconfig) as process:
            assert process.ended() == 0
        there = garden.live("Service", "rose", "v1")
        garden.cluster.patch(there, {"metadata": {"labels": {"aif.dev/model": "mine"}}}, manager="kubectl-edit")
        with start("--once", "--detect-only", kubeconfig=proxy.kubeconfig) as process:
            assert process.ended() == 2
            assert process.said("drifted", unit="rose", why="changed in the cluster")
        assert proxy.writes() == []
        garden.edit("models/tulip/model.yaml", "export: linear\n", "export: nowhere\n").commit()
        with start("--once", "--detect-only", kubeconfig=proxy.kubeconfig) as process:
            assert process.ended() == 1
        assert proxy.writes() == []


def test_detection_goes_on_and_on_too(garden: Garden, start: Start) -> None:
    with start("--once") as process:
        assert process.ended() == 0
    with FaultProxy(garden.cluster) as proxy, start("--detect-only", kubeconfig=proxy.kubeconfig) as process:
        process.wait("synced")
        there = garden.live("Service", "rose", "v1")
        garden.cluster.patch(there, {"metadata": {"labels": {"aif.dev/model": "mine"}}}, manager="kubectl-edit")
        process.wait("drifted", unit="rose")
        assert process.metric('units{state="drifted"}') == 1
        with start("--once", state="other") as other:
            assert other.ended() == 0
        process.until(lambda: process.metric('units{state="drifted"}') == 0)
        assert proxy.writes() == []
        assert process.terminate() == 0


def test_who_fights_over_a_field_is_met_less_and_less_often(garden: Garden, start: Start) -> None:
    with start() as process:
        settled(process)
        there = garden.live("Service", "rose", "v1")
        mine = {"metadata": {"labels": {"aif.dev/model": "mine"}}}
        for _ in range(40):
            garden.cluster.patch(there, mine, manager="kubectl-edit")
            time.sleep(0.25)
        process.wait("fight", unit="rose")
        assert process.metric("drift_repairs_total") < 12
        process.until(lambda: garden.live("Service", "rose", "v1")["metadata"]["labels"]["aif.dev/model"] == "rose", 90)
