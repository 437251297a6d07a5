"""Each finding names the object, the phase it is stuck in, and what to do."""

from __future__ import annotations

from aifctl.cluster import health
from aifctl.cluster.health import Health, State, Subject, Trouble
from aifctl.diagnostics.codes import CODES

DIGITS = Subject("Deployment", "digits", "vision-prod")
WAITING = Health(state=State.PROGRESSING, phase="Starting", message="0 of 2 replicas available")
BAD_IMAGE = Trouble(
    pod="digits-1", container="server", phase="ImagePullBackOff", message="Back-off pulling image", pods=2
)


def test_a_timeout_names_the_phase_of_the_worst_pod() -> None:
    found = health.timed_out(DIGITS, WAITING, 630, BAD_IMAGE)
    assert found.code == "AIF750"
    assert found.message == (
        "Deployment vision-prod/digits is not healthy after 10m, stuck in ImagePullBackOff (0 of 2 replicas available)"
    )
    assert found.notes == ("pod digits-1, container server: ImagePullBackOff, 2 pods: Back-off pulling image",)
    assert found.hint is not None
    assert "image" in found.hint


def test_a_pod_that_is_blamed_already_is_told_once() -> None:
    found = health.timed_out(DIGITS, health.blame(WAITING, BAD_IMAGE), 90, BAD_IMAGE)
    assert found.notes == ()
    assert found.message.count("ImagePullBackOff") == 2  # the phase, and the pod's own line


def test_a_timeout_without_pods_has_the_object_s_own_phase() -> None:
    found = health.timed_out(
        Subject("Workflow", "digits"), health.assess({"kind": "Workflow", "apiVersion": "argoproj.io/v1"}), 120
    )
    assert (
        found.message
        == "Workflow digits is not healthy after 2m, stuck in NoStatus (no controller has looked at it yet)"
    )
    assert found.hint is not None
    assert "controller" in found.hint


def test_failures_say_why() -> None:
    judged = Health(state=State.FAILED, phase="ModelLoadFailed", message="no such file")
    assert (
        health.failed(DIGITS, judged).message == "Deployment vision-prod/digits failed: ModelLoadFailed (no such file)"
    )
    run = health.ended_badly(Subject("Workflow", "digits-3f", "vision"), Health(state=State.FAILED, phase="Failed"))
    assert run.message == "Workflow vision/digits-3f ended in failure: Failed"


def test_what_went_and_what_does_not_go() -> None:
    assert "deleted" in health.vanished(DIGITS).message
    held = Health(state=State.TERMINATING, phase="Terminating", message="being deleted; waits for finalizer x/y")
    found = health.never_deleted(DIGITS, held, 120)
    assert (
        found.message == "Deployment vision-prod/digits is still there after 2m: being deleted; waits for finalizer x/y"
    )


def test_every_code_is_in_the_table() -> None:
    made = (
        health.timed_out(DIGITS, WAITING, 1),
        health.failed(DIGITS, WAITING),
        health.ended_badly(DIGITS, WAITING),
        health.vanished(DIGITS),
        health.never_deleted(DIGITS, WAITING, 1),
    )
    assert [each.code for each in made] == [f"AIF75{number}" for number in range(5)]
    assert all(each.code in CODES for each in made)


def test_a_name_can_t_reach_the_terminal_s_controls() -> None:
    assert "\x1b" not in health.vanished(Subject("Widget", "a\x1b[31m")).message
