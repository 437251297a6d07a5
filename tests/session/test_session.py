"""docs/session.md is what the commands really say."""

from __future__ import annotations

from pathlib import Path

from tests.controlplane.cluster import Cluster
from tests.delivery import garden
from tests.session import record


def test_the_recorded_session(control_plane: Cluster, nodes: Cluster, tmp_path: Path, update_golden: bool) -> None:
    found = garden.new(tmp_path / "acme", control_plane, "iris", "rose", environment=record.name())
    document = record.record(found)
    found.fell()
    if update_golden:
        record.DOCUMENT.write_text(document, "utf-8")
    assert record.comparable(document) == record.comparable(record.DOCUMENT.read_text("utf-8"))
