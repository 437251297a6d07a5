"""A scheduled run on Argo's controller: the CronWorkflow is taken, and its children run as rendered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aifctl.cluster import health
from aifctl.cluster.health import State
from tests.argo.engine import WORKFLOW, Engine, dag
from tests.controlplane.cluster import Object

DATA = "source: {path: data/digits.csv}"
MISSED = datetime.now(UTC) - timedelta(minutes=10)
HOURLY, ZONE = f"{MISSED.minute} * * * *", "Europe/Berlin"
"""No run begins by itself while this is tested."""
NAME = "nightly-model-of-thirty-letter"
"""As long as a model's name may be."""


@pytest.fixture(scope="module")
def scheduled(engine: Engine) -> Object:
    """The CronWorkflow, as the controller has taken it."""
    hourly = f"schedule: {{cron: '{HOURLY}', timezone: {ZONE}}}"
    engine.add(NAME, (DATA, f"{DATA}\n      pinned: false"), ("  registry:", f"  {hourly}\n  registry:"))
    engine.keep(NAME)
    said = engine.aifctl("apply", "--wait")
    assert said.code == 0, said.err
    return engine.cluster.wait(engine.reference(NAME, "CronWorkflow"))


@pytest.fixture(scope="module")
def child(scheduled: Object, engine: Engine) -> str:
    """The Workflow of an hour that the controller thinks to have missed: it need not be waited for."""
    last = MISSED - timedelta(minutes=55)
    as_after_a_run = {
        "metadata": {"annotations": {"cronworkflows.argoproj.io/last-used-schedule": f"CRON_TZ={ZONE} {HOURLY}"}},
        "status": {"lastScheduledTime": last.strftime("%Y-%m-%dT%H:%M:%SZ")},
    }
    engine.cluster.patch(scheduled, as_after_a_run)
    [name] = engine.wait("the missed run is made", lambda: list(engine.workflows))
    return str(name)


@pytest.fixture(scope="module")
def ended(child: str, engine: Engine) -> Object:
    """The Workflow after its last step; its steps were looked at while they ran."""
    [model] = engine.compiled().models
    run = model.bundle.run
    assert run is not None

    def look(step: str, pod: str) -> None:
        """Outputs that others ask for; the run that a step writes under is this Workflow, whatever its name."""
        found = engine.pods[pod]
        main = found["spec"]["containers"][-1]
        assert "--run=$(AIF_RUN)" in main["args"]
        [name] = [each for each in main["env"] if each["name"] == "AIF_RUN"]
        assert WORKFLOW in name["valueFrom"]["fieldRef"]["fieldPath"]
        assert found["metadata"]["labels"][WORKFLOW] == child
        engine.tell(pod, digest="a" * 64)

    engine.play(child, dag(run), look)
    return engine.wait_phase(child, "Succeeded")


def test_the_controller_takes_a_cron_workflow(scheduled: Object, engine: Engine) -> None:
    engine.wait("the controller takes it", lambda: f"CronWorkflow {engine.namespace}/{NAME} added" in engine.said())
    live = engine.cluster.get(scheduled)
    judged = health.assess(live)
    assert judged.state is State.HEALTHY, judged
    assert live is not None
    assert not [each for each in live.get("status", {}).get("conditions", []) if each["type"].endswith("Error")]


def test_a_child_runs_to_its_end_and_knows_its_own_name(ended: Object) -> None:
    metadata = ended["metadata"]
    assert metadata["labels"]["workflows.argoproj.io/cron-workflow"] == NAME
    assert metadata["labels"]["aif.dev/model"] == NAME
    assert len(metadata["name"]) <= 63
    assert health.assess(ended).state is State.HEALTHY
    assert health.ended({**ended, "status": {}}), "its labels say it too"


def test_the_run_is_on_the_schedule_s_record_and_nothing_differs(ended: Object, engine: Engine) -> None:
    reference = engine.reference(NAME, "CronWorkflow")
    live = engine.cluster.wait(reference, lambda found: found["status"].get("succeeded") == 1)
    judged = health.assess(live)
    assert (judged.state, judged.phase) == (State.HEALTHY, "Scheduled")
    assert judged.message.startswith("last run at ")
    said = engine.aifctl("plan", "--against", "cluster")
    assert said.code == 0, f"{said.out}\n{said.err}"
