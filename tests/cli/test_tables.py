"""Tables for people: what is in them, at any width."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from aifctl.cli import tables
from aifctl.cluster.health import Health, State, Trouble
from aifctl.cluster.inventory import Inventory, Revision, Unit
from aifctl.cluster.standing import Ailing, Standing, Sync
from aifctl.delivery.status import Status
from aifctl.manifest import Identity

HEALTHY = Health(state=State.HEALTHY, phase="Available")
SERVER = Identity("apps", "Deployment", "vision-prod", "digits")
STUCK = Health(state=State.PROGRESSING, phase="ImagePullBackOff", message="1 of 3 replicas available")
PULL = Trouble(pod="digits-5c-x", container="server", phase="ImagePullBackOff", message="not found")


def drawn(table: RenderableType, width: int = 140, colour: bool = False) -> list[str]:
    text = StringIO()
    system: Any = "standard" if colour else None
    Console(file=text, width=width, color_system=system, force_terminal=colour, highlight=False).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def standing(model: str = "digits", **facts: Any) -> Standing:
    return Standing(**({"unit": Unit("prod", "vision", model), "sync": Sync.SYNCED, "health": HEALTHY} | facts))


def status(*standings: Standing, **facts: Any) -> Status:
    return Status(**({"environment": "prod", "standings": standings, "troubles": {}} | facts))


def test_a_row_tells_a_model() -> None:
    since = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    run = Health(state=State.PROGRESSING, phase="Running")
    each = standing(run="digits-0011223344", run_health=run, serving="digits-9988776655", since=since)
    header, row = drawn(tables.status(status(each)))
    assert header.split() == ["MODEL", "ENVIRONMENT", "SYNC", "HEALTH", "RUN", "SERVING", "SINCE"]
    assert row.split() == [
        "digits",
        "prod",
        "synced",
        "healthy",
        "digits-0011223344",
        "Running",
        "digits-9988776655",
        "5h",
    ]


def test_what_is_not_known_is_a_dash() -> None:
    (_, row) = drawn(tables.status(status(standing(unit=Unit("prod")))))
    assert row.split() == ["(platform)", "prod", "synced", "healthy", "-", "-", "-"]


def test_what_is_wrong_stands_below_in_whole_sentences() -> None:
    ailing = Ailing(identity=SERVER, health=STUCK)
    bad = standing(sync=Sync.FAILED, note="stuck in ImagePullBackOff", health=STUCK, ailing=(ailing,))
    found = status(bad, standing("rose"), troubles={SERVER: (PULL, ("Traceback …", "[bold]ValueError[/bold]"))})
    lines = drawn(tables.status(found))
    assert lines[3:] == [
        "",
        "digits",
        "  failed: stuck in ImagePullBackOff",
        "  Deployment.apps vision-prod/digits: progressing ImagePullBackOff: 1 of 3 replicas available",
        "    pod digits-5c-x, container server: ImagePullBackOff: not found",
        "    | Traceback …",
        "    | [bold]ValueError[/bold]",
    ]


def test_long_words_are_broken_and_keep_their_indent() -> None:
    note = "a very long explanation " * 12
    lines = drawn(tables.status(status(standing(sync=Sync.FAILED, note=note)), 80), 80)
    assert max(map(len, lines)) <= 80
    assert all(line.startswith("  ") for line in lines[4:])
    assert " ".join(" ".join(lines[4:]).split()) == f"failed: {note}".strip()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 140, 240])
def test_no_line_is_wider_than_the_terminal_and_every_row_is_one_line(width: int) -> None:
    name = "a-model-whose-name-is-very-lon"
    run = Health(state=State.QUEUED, phase="QuotaReserved")
    each = standing(name, sync=Sync.DRIFTED, health=STUCK, run=f"{name}-0011223344", run_health=run,
                    serving=f"{name}-9988776655", since="2020-01-01T00:00:00Z")  # fmt: skip
    lines = drawn(tables.status(status(each, standing("b")), width), width)
    assert len(lines) == 3
    assert max(map(len, lines)) <= width


def test_a_narrow_table_leaves_out_what_can_be_guessed() -> None:
    each = standing(health=STUCK, serving="digits-9988776655", since="2020-01-01T00:00:00Z")
    narrow = drawn(tables.status(status(each), 80), 80)
    assert narrow[0].split()[1] == "ENV"
    assert narrow[1].split()[3:6] == ["ImagePullBackOff", "-", "9988776655"]


def test_states_have_colours() -> None:
    lines = drawn(tables.status(status(standing(), standing("b", sync=Sync.HELD, health=STUCK))), colour=True)
    assert "\x1b[32mhealthy" in lines[1]
    assert "\x1b[31mheld" in lines[2]
    assert "\x1b[33mprogressing ImagePullBackOff" in lines[2]


@pytest.mark.parametrize(("count", "said"), [(5, None), (7, "and 2 more")])
def test_of_many_objects_some_are_told_and_the_rest_is_counted(count: int, said: str | None) -> None:
    gone = Health(state=State.MISSING, phase="Missing", message="it is not there")
    names = [Identity("", "Service", "vision-prod", f"s{number}") for number in range(count)]
    each = standing(health=gone, ailing=tuple(Ailing(identity=name, health=gone) for name in names))
    lines = drawn(tables.status(status(each)))
    assert sum("Service vision-prod/s" in line for line in lines) == 5
    assert lines[4] == "  Service vision-prod/s0: missing: it is not there"
    assert (lines[-1].strip() == said) is bool(said)
    drift = standing(sync=Sync.DRIFTED, note=f"{count} of 9 objects: {names[0]}", drifted=tuple(names))
    lines = drawn(tables.status(status(drift)))
    assert lines[4:6] == [
        f"  drifted: {count} of 9 objects: Service vision-prod/s0",
        "  drifted: Service vision-prod/s1",
    ]


def test_an_empty_environment() -> None:
    assert drawn(tables.status(status())) == ["prod: nothing is applied here yet"]
    assert drawn(tables.history(Inventory(unit=Unit("prod", "vision", "digits")))) == [
        "prod/vision/digits: no revisions yet"
    ]


def test_history_tells_the_newest_first_and_which_revision_came_back() -> None:
    made = {"at": "2026-01-02T03:04:05Z", "by": "ann@laptop"}
    revisions = (
        Revision(number=3, tree="a" * 64, commit="1" * 40, **made),
        Revision(number=4, tree="b" * 64, commit="", outcome="failed", message="stuck [in] it", **made),
        Revision(number=5, tree="a" * 64, commit="1" * 40, outcome="rolled-back", **made),
    )
    lines = drawn(tables.history(Inventory(unit=Unit("prod", "vision", "digits"), revisions=revisions, held="b" * 64)))
    assert [line.split() for line in lines[1:4]] == [
        ["5", "rolled-back", 10 * "1", 10 * "a", made["at"], made["by"]],
        ["4", "failed", "(held)", "uncommitted", 10 * "b", made["at"], made["by"]],
        ["3", "applied", 10 * "1", 10 * "a", made["at"], made["by"]],
    ]
    assert lines[4:] == ["", "5: revision 3 again", "4: stuck [in] it"]


def test_a_script_gets_lines_that_are_neither_folded_nor_filled(capsys: pytest.CaptureFixture[str]) -> None:
    assert not sys.stdout.isatty()
    note = "word " * 200 + "end"
    tables.show(tables.status(status(standing(sync=Sync.FAILED, note=note), standing("b"))))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[-1].endswith(" end")
    assert all(line == line.rstrip() for line in lines)


def test_a_run_that_failed_is_explained_and_its_model_is_not_well() -> None:
    run = Health(state=State.FAILED, phase="OOMKilled", message="step train: out of memory, twice")
    found = status(standing(run="digits-0011223344", run_health=run))
    assert not found.healthy
    assert drawn(tables.status(found))[-1].split() == (
        ["run", "digits-0011223344:", "failed", "OOMKilled:", "step", "train:", "out", "of", "memory,", "twice"]
    )
    assert status(standing()).healthy
