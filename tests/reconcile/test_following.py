"""What a commit does to a cluster, against a real API server."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

from tests.delivery.garden import BAD, GOOD, Garden
from tests.reconcile.conftest import Start

OTHER = GOOD.replace("serve@", "serve-two@")


def test_commits_change_the_cluster_and_a_second_look_writes_nothing(garden: Garden, start: Start) -> None:
    with start() as process:
        process.wait("synced")
        assert garden.image("rose") == GOOD
        process.until(lambda: process.get("/readyz")[0] == 200)
        before = garden.versions()
        commit = garden.release("rose", OTHER).commit()
        process.wait("commit", commit=commit[:10])
        process.until(lambda: garden.image("rose") == OTHER)
        assert garden.image("tulip") == GOOD
        assert process.metric(f'commit_info{{commit="{commit}"}}') == 1
        assert process.terminate() == 0
    after = garden.versions()
    assert not {name for name in before if "tulip" in name and "Deployment" not in name and before[name] != after[name]}
    with start("--once") as again:
        assert again.ended() == 0
    later = garden.versions()
    assert {name for name in later if "Deployment" not in name and later[name] != after[name]} == set()


def test_a_broken_spec_freezes_its_model_and_no_other(garden: Garden, start: Start) -> None:
    with start() as process:
        process.wait("synced")
        garden.edit("models/rose/model.yaml", "export: linear\n", "export: nowhere\n")
        commit = garden.release("tulip", OTHER).commit()
        process.wait("commit", commit=commit[:10], frozen="1")
        found = process.wait("finding", code="AIF772")
        assert "rose is frozen" in found["message"]
        assert "models/rose/model.yaml:" in found["notes"]
        process.until(lambda: garden.image("tulip") == OTHER)
        assert garden.image("rose") == GOOD
        assert process.metric('units{state="frozen"}') == 1
        # What it was to be last is kept up.
        garden.cluster.delete(garden.reference("Service", "rose", "v1"))
        process.until(lambda: garden.live("Service", "rose", "v1"))
        garden.edit("models/rose/model.yaml", "export: nowhere\n", "export: linear\n")
        garden.release("rose", OTHER).commit()
        process.until(lambda: garden.image("rose") == OTHER)
        process.until(lambda: process.metric('units{state="frozen"}') == 0)


def test_a_model_that_never_compiled_is_told_of(garden: Garden, start: Start) -> None:
    """It has no unit, neither in the cluster nor in any commit."""
    garden.plant("iris").edit("models/iris/model.yaml", "export: linear\n", "export: nowhere\n").commit()
    with start("--once") as process:
        assert process.ended() == 1
        assert "iris is frozen" in process.wait("finding", code="AIF772")["message"]
    with start() as process:
        process.wait("synced")
        assert process.metric('units{state="frozen"}') == 1
        garden.edit("models/iris/model.yaml", "export: nowhere\n", "export: linear\n").commit()
        process.until(lambda: garden.deployment("iris"))
        process.until(lambda: process.metric('units{state="frozen"}') == 0)


def test_a_spec_that_is_gone_is_pruned_and_one_without_a_name_prunes_nothing(garden: Garden, start: Start) -> None:
    garden.plant("iris").commit()
    with start() as process:
        process.wait("synced")
        assert garden.deployment("iris")
        garden.edit("models/tulip/model.yaml", "metadata: {name: tulip", "metadata: {label: tulip")
        shutil.rmtree(garden.root / "models/iris")
        broken = garden.commit()
        process.wait("commit", commit=broken[:10])
        process.wait("incomplete")
        garden.edit("models/tulip/model.yaml", "metadata: {label: tulip", "metadata: {name: tulip")
        assert garden.deployment("iris")
        assert garden.deployment("tulip")
        garden.commit()
        process.until(lambda: not garden.deployment("iris"))
        process.until(lambda: garden.inventory("iris") is None)
        assert garden.deployment("tulip")


def test_a_file_broken_beyond_recognition_takes_no_model_away(garden: Garden, start: Start) -> None:
    garden.plant("iris").commit()
    with start() as process:
        process.wait("synced")
        spec = garden.root / "models/iris/model.yaml"
        spec.write_text("{{{\n")
        garden.commit()
        process.wait("finding", code="AIF748")
        assert garden.deployment("iris")
        spec.unlink()
        garden.commit()
        process.until(lambda: not garden.deployment("iris"))


def test_half_an_environment_does_not_leave_unasked(garden: Garden, start: Start) -> None:
    garden.plant("iris", "lily").commit()
    with start() as process:
        process.wait("synced")
        for name in ("iris", "lily", "tulip"):
            shutil.rmtree(garden.root / "models" / name)
        garden.commit()
        process.wait("finding", code="AIF741")
        assert all(garden.deployment(name) for name in ("rose", "iris", "lily", "tulip"))


def test_a_remote_that_is_gone_stops_news_and_no_repair(garden: Garden, start: Start) -> None:
    aside = garden.root.with_name("aside")
    with start() as process:
        process.wait("synced")
        garden.root.rename(aside)
        process.wait("finding", code="AIF770")
        assert process.metric("git_up") == 0
        garden.cluster.delete(garden.reference("Service", "rose", "v1"))
        process.until(lambda: garden.live("Service", "rose", "v1"))
        assert process.terminate() == 0
    with start() as process:  # the last good commit is in its folder
        process.wait("finding", code="AIF770")
        process.wait("synced")
        aside.rename(garden.root)
        commit = garden.release("rose", OTHER).commit()
        process.wait("commit", 90, commit=commit[:10])
        process.until(lambda: garden.image("rose") == OTHER)
        process.until(lambda: process.metric("git_up") == 1)


def test_what_is_no_longer_wanted_goes_when_the_new_is_healthy(garden: Garden, start: Start, nodes: object) -> None:
    """Pods of the old release still use what only they need: here the budget that came with two replicas."""
    more = "    autoscaling: {min: 2, max: 4, metric: cpu, target: 70}\n"
    serves, batches = "      roles: [serve]\n", "    batching: {max: 32}\n"
    garden.edit("platform.yaml", serves, serves + '      capabilities: {metrics-server: "0.8"}\n')
    garden.edit("models/rose/model.yaml", batches, batches + more).commit()
    budget = garden.reference("PodDisruptionBudget", "rose", "policy/v1")
    with start() as process:
        process.wait("synced")
        process.until(lambda: garden.deployment("rose")["status"].get("readyReplicas") == 2)
        assert garden.cluster.get(budget)
        garden.edit("models/rose/model.yaml", more, "").release("rose", BAD).commit()
        process.until(lambda: garden.image("rose") == BAD)
        process.until(lambda: process.metric('units{state="settling"}') == 1)
        time.sleep(2)
        assert garden.cluster.get(budget)
        garden.release("rose", OTHER).commit()
        process.until(lambda: garden.cluster.get(budget) is None)
        process.until(lambda: process.metric('units{state="settling"}') == 0)


def test_a_held_tree_is_left_alone_until_the_model_changes(garden: Garden, start: Start) -> None:
    with start() as process:
        process.wait("synced")
        garden.release("rose", OTHER).commit()
        process.until(lambda: garden.image("rose") == OTHER)
        process.until(lambda: len(process.said("applied", unit="rose")) == 2)
        command = [sys.executable, "-m", "aifctl", "rollback", "rose", "--env", garden.environment,
                   "--kubeconfig", str(garden.cluster.kubeconfig), "--context", "test"]  # fmt: skip
        done = subprocess.run(command, cwd=garden.root, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        process.wait("held", unit="rose")
        assert garden.image("rose") == GOOD
        # Against what was applied last, not against what is held.
        garden.cluster.delete(garden.reference("Service", "rose", "v1"))
        assert "Service" in process.wait("drifted", unit="rose")["objects"]
        assert process.metric('drifted_objects{state="held"}') == 1
        third = GOOD.replace("serve@", "serve-three@")
        garden.release("rose", third).commit()
        process.until(lambda: garden.image("rose") == third)
