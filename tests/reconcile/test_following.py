"""What a commit does to a cluster, against a real API server."""

from __future__ import annotations

from tests.delivery.garden import BAD, GOOD, Garden
from tests.reconcile.conftest import Start


def test_commits_change_the_cluster_and_a_second_look_writes_nothing(garden: Garden, start: Start) -> None:
    with start() as process:
        process.wait("synced")
        assert garden.image("rose") == GOOD
        process.until(lambda: process.get("/readyz")[0] == 200)
        before = garden.versions()
        commit = garden.release("rose", BAD).commit()
        process.wait("commit", commit=commit[:10])
        process.until(lambda: garden.image("rose") == BAD)
        assert garden.image("tulip") == GOOD
        assert process.metric(f'commit_info{{commit="{commit}"}}') == 1
        assert process.terminate() == 0
    after = garden.versions()
    moved = {name for name in before if "tulip" in name and before[name] != after[name]}
    assert not {name for name in moved if "inventory" in name or "Service/" in name}
