"""The sessions in docs/ are what the commands really say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.controlplane.cluster import Cluster
from tests.delivery import garden
from tests.session import record


@pytest.mark.parametrize("name", record.DOCUMENTS)
def test_a_recorded_session(
    name: str, control_plane: Cluster, nodes: Cluster, tmp_path: Path, update_golden: bool
) -> None:
    found = garden.new(tmp_path / "acme", control_plane, "iris", "rose", environment=record.name())
    page = record.DOCS / name
    text = page.read_text("utf-8")
    again = record.recorded(text, found)
    found.fell()
    if update_golden:
        page.write_text(again, "utf-8")
    assert record.comparable(again) == record.comparable(page.read_text("utf-8"))


def test_what_is_taken_out_before_pages_are_compared() -> None:
    told = "3         rolled-back    e7fabe4196  175995f4af  2026-11-21T16:26:39Z  ann@laptop"
    assert record.comparable(told) == "3 rolled-back DIGEST DIGEST TIME ann@laptop"
    assert record.comparable(" healthy b\n created a\nend 12s") == " created a\n healthy b\nend AGE"
    assert record.comparable("iris-85c5bb69b8-djqn9 stays") == "iris-POD stays"
