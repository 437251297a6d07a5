"""`aifctl gc`: what releases, recent history and recent runs reach stays; nothing goes without `--delete`."""

from __future__ import annotations

import subprocess

import pytest

from aifctl.delivery import collecting, promotion
from aifctl.delivery.promotion import Request
from aifctl.diagnostics import Report
from aifctl.runtime import gc, runs
from tests.delivery.acme import GOOD, WORSE, Acme


def promote(acme: Acme, strength: float) -> set[str]:
    """Digests of the steps of the run that is released now."""
    (record,) = [r for r in runs.list_runs(acme.here).records if r.parameters["params.C"] == strength]
    promotion.promote(acme.load(), "wine", Request(environment="local", run=record.run, allow_worse=True))
    return {str(step.digest) for step in record.steps.values()}


def steps(acme: Acme) -> set[str]:
    return set(acme.here.names("steps"))


def collect(acme: Acme, keep_runs: int = 0, older_than: float = 0) -> set[str]:
    """Digests of the steps that are left."""
    gc.collect(collecting.plan(acme.root, older_than, keep_runs))
    return steps(acme)


def git(acme: Acme, *words: str) -> None:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(acme.root), *settings, *words], capture_output=True, check=True)


def commit(acme: Acme, *, date: str | None = None) -> None:
    git(acme, "add", "-A", "releases")
    stamp = [] if date is None else ["-c", "core.commentChar=#"]
    subprocess.run(
        ["git", "-C", str(acme.root), "-c", "user.name=a", "-c", "user.email=a@b", *stamp, "commit", "-qm", "release"],
        capture_output=True,
        check=True,
        env=None if date is None else {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date, "PATH": "/usr/bin:/bin"},
    )


def test_planning_deletes_nothing(acme: Acme) -> None:
    before = steps(acme)
    plan = collecting.plan(acme.root, 0, 0)
    assert {item.path.name for item in plan.garbage} == before
    assert steps(acme) == before


def test_what_a_release_stands_on_stays_whole(acme: Acme) -> None:
    """Its run with all steps: the proof can be looked at, and its test rows asked again."""
    mine = promote(acme, GOOD)
    assert mine < steps(acme)
    assert collect(acme) == mine
    assert promote(acme, GOOD) == mine


def test_newest_runs_stay(acme: Acme) -> None:
    before = steps(acme)
    assert collect(acme, keep_runs=2) == before
    newest = runs.list_runs(acme.here).records[0]
    assert collect(acme, keep_runs=1) == {str(step.digest) for step in newest.steps.values()}


def test_what_is_young_stays(acme: Acme) -> None:
    before = steps(acme)
    assert collect(acme, older_than=3600) == before


def test_a_release_that_a_revert_would_bring_back_stays(acme: Acme) -> None:
    git(acme, "init", "-q")
    former, latter = promote(acme, GOOD), promote(acme, WORSE)
    promote(acme, GOOD)
    commit(acme)
    promote(acme, WORSE)
    commit(acme)
    assert collect(acme, older_than=3600) == former | latter
    plan = collecting.plan(acme.root, 3600, 0)
    assert not [item for item in plan.garbage if item.path.name in former | latter]


def test_but_not_for_ever(acme: Acme) -> None:
    git(acme, "init", "-q")
    former = promote(acme, GOOD)
    commit(acme, date="2020-01-01T00:00:00Z")
    latter = promote(acme, WORSE)
    commit(acme, date="2020-01-02T00:00:00Z")
    assert collect(acme) == latter
    assert former - latter


def test_history_of_a_broken_release_does_not_matter(acme: Acme) -> None:
    git(acme, "init", "-q")
    acme.release("local").parent.mkdir(parents=True)
    acme.release("local").write_text("kind: [")
    commit(acme)
    acme.release("local").unlink()
    kept = promote(acme, GOOD)
    commit(acme)
    assert collect(acme) == kept


@pytest.mark.parametrize("text", ["kind: [", "kind: Release\n", "", "[]\n", "\0"])
def test_a_release_that_can_not_be_read_stops_everything(text: str, acme: Acme) -> None:
    """What it names must not be taken for garbage."""
    promote(acme, GOOD)
    acme.release("local").write_text(text)
    with pytest.raises(Report):
        collecting.plan(acme.root, 0, 0)


def test_releases_of_clusters_are_not_about_this_machine(acme: Acme) -> None:
    promotion.promote(acme.load(), "wine", Request(environment="prod"))
    assert collect(acme) == set()


def test_a_machine_that_has_run_nothing(new_acme: Acme) -> None:
    assert collecting.plan(new_acme.root, 0, 0).garbage == ()


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("90s", 90), ("1h30m", 5400), ("7d", 604800)])
def test_ages(text: str, seconds: float) -> None:
    assert collecting.age(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "-1d", "soon", "1 d", "nan"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(Report) as caught:
        collecting.age(text)
    assert caught.value.diagnostics[0].code == "AIF208"


def test_views(acme: Acme) -> None:
    plan = collecting.plan(acme.root, 0, 0)
    text = collecting.as_text(plan.garbage, deleted=False)
    assert text.splitlines()[-1].split(None, 1) == [f"{plan.bytes:,}", "bytes could be freed; delete with --delete"]
    assert collecting.as_text((), deleted=True) == "nothing to free"
    value = collecting.as_json(plan.garbage, deleted=False)
    assert sum(item["bytes"] for item in value["items"]) == plan.bytes
