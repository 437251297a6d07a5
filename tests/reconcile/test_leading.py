"""Of several reconcilers one writes; and it ends well, or is replaced."""

from __future__ import annotations

import signal
import time
from typing import Any

from tests.controlplane.proxy import Call, FaultProxy, Respond, Rule
from tests.delivery.garden import GOOD, Garden
from tests.reconcile.conftest import Start

OTHER = GOOD.replace("serve@", "serve-two@")


def reference(garden: Garden) -> dict[str, Any]:
    name = f"aifctl-reconcile-{garden.environment}"
    return garden.reference("Lease", name, "coordination.k8s.io/v1", "aif-system")


def lease(garden: Garden) -> dict[str, Any]:
    live = garden.cluster.get(reference(garden))
    assert live is not None
    return dict(live["spec"])


def test_one_leads_and_the_other_takes_over_when_it_is_killed(garden: Garden, start: Start) -> None:
    with FaultProxy(garden.cluster) as proxy, start(state="one") as first:
        first.wait("synced")
        with start(state="two", kubeconfig=proxy.kubeconfig) as second:
            second.wait("standby")
            second.until(lambda: second.get("/readyz") == (200, "standing by\n"))
            assert second.metric("leader") == 0
            assert first.metric("leader") == 1
            time.sleep(3)
            assert proxy.seen("watch") == []
            assert proxy.writes() == []
            first.kill()
            garden.release("rose", OTHER).commit()
            garden.cluster.delete(garden.reference("Service", "tulip", "v1"))
            begun = time.monotonic()
            second.wait("lead")
            second.until(lambda: garden.image("rose") == OTHER)
            second.until(lambda: garden.live("Service", "tulip", "v1"))
            print(f"taken over after {time.monotonic() - begun:.1f} s")


def test_a_leader_whose_lease_is_taken_stops_writing(garden: Garden, start: Start) -> None:
    with start() as process:
        process.wait("synced")
        garden.cluster.patch(reference(garden), {"spec": {"holderIdentity": "somebody/else"}})
        process.wait("lost")
        garden.cluster.delete(garden.reference("Service", "rose", "v1"))
        time.sleep(2)
        assert garden.live("Service", "rose", "v1") is None
        # Nobody renews it, so it is free again after its time.
        process.until(lambda: garden.live("Service", "rose", "v1"))


def test_a_stop_gives_the_lease_back_and_lets_nothing_half_written(garden: Garden, start: Start) -> None:
    with FaultProxy(garden.cluster) as proxy, start(kubeconfig=proxy.kubeconfig) as process:
        process.wait("synced")
        stop = Call(lambda seen: process.process.send_signal(signal.SIGTERM))
        space = f"/namespaces/{garden.namespace}/"
        proxy.add(Rule("apply", stop, path=f"{space}.*/rose$", query="^((?!dryRun).)*$", times=1))
        garden.edit("models/rose/model.yaml", "batching: {max: 32}", "batching: {max: 16}")
        garden.release("rose", OTHER).commit()
        begun = time.monotonic()
        process.wait("stop")
        assert process.ended(30) == 0
        print(f"ended after {time.monotonic() - begun:.1f} s")
    assert lease(garden)["holderIdentity"] == ""
    annotations = garden.inventory("rose")["metadata"].get("annotations") or {}
    assert "aif.dev/holder" not in annotations
    with start() as again:
        again.wait("synced")
        assert garden.image("rose") == OTHER
    assert '"outcome": "failed"' not in garden.inventory("rose")["data"]["unit.json"]


def test_one_look_waits_for_no_other_that_leads(garden: Garden, start: Start) -> None:
    with start(state="one") as first:
        first.wait("synced")
        with start("--once", state="two") as second:
            assert second.ended(60) == 1
            assert "AIF773" in second.faults or second.said("finding", code="AIF773")


def test_a_server_that_takes_no_renewal_ends_the_lead(garden: Garden, start: Start) -> None:
    with FaultProxy(garden.cluster) as proxy, start(kubeconfig=proxy.kubeconfig) as process:
        process.wait("synced")
        proxy.add(Rule("update", Respond(500), path="/leases/"))
        process.wait("lost", 30)
        proxy.clear()
        process.until(lambda: process.metric("leader") == 1)
