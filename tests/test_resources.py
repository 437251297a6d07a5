from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aifctl import resources


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Where the files lie is looked up once a process."""
    resources._root.cache_clear()
    yield
    resources._root.cache_clear()


def test_a_template_of_the_checkout_is_found() -> None:
    found = resources.template_path("argo/workflow.yaml.j2")
    assert "kind: Workflow" in found.read_text(encoding="utf-8")


def test_what_the_wheel_carries_comes_before_what_lies_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("aifctl/_data/schemas", "schemas"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.json").write_text(place)
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "aifctl")
    assert resources.schema_path("a.json").read_text() == "aifctl/_data/schemas"


@pytest.mark.parametrize("name", ["none.yaml.j2", "../pyproject.toml", "/etc/passwd", "argo/../../README.md"])
def test_what_is_no_template_is_not_found(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="has no templates file"):
        resources.template_path(name)


def test_an_installation_without_its_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "aifctl")
    with pytest.raises(FileNotFoundError, match="lacks its templates"):
        resources.template_path("argo/workflow.yaml.j2")
