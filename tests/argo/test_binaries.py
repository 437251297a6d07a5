"""Where the controller comes from, and what is said where it can't be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.argo.binaries import NAME, controller, version
from tests.controlplane.binaries import MissingBinaries
from tests.controlplane.fixtures import or_skip


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Go, and with nothing built."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path


def test_without_go_it_says_what_is_missing(nothing: Path) -> None:
    with pytest.raises(MissingBinaries, match=f"{NAME} is not in KUBEBUILDER_ASSETS, and building it needs Go"):
        controller()


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_its_absence_skips_and_fails_where_a_cluster_is_required(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("AIFCTL_REQUIRE_CLUSTER", required)
    with pytest.raises(outcome, match="building it needs Go"), or_skip():
        controller()


def test_a_given_one_is_taken(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = nothing / NAME
    given.write_text("#!/bin/sh\n")
    given.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(nothing))
    assert controller() == given


def test_the_version_is_that_of_the_pins() -> None:
    assert version().startswith("v3.7.")
