"""Starts are whole: every file of a template arrives, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifctl.delivery import starting
from aifctl.diagnostics import Report
from aifctl.resources import template_path


@pytest.mark.parametrize("framework", ["custom", "pytorch", "tensorflow"])
def test_every_file_of_the_templates_arrives(framework: str, tmp_path: Path) -> None:
    written = {path.relative_to(tmp_path).as_posix(): path for path in starting.start(tmp_path, framework)}
    expected = {}
    for part in ("common", framework):
        root = template_path(f"init/{part}")
        expected |= {
            path.relative_to(root).as_posix(): path
            for path in root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    expected[".gitignore"] = expected.pop("gitignore")
    for name, path in expected.items():
        assert written[name].read_bytes() == path.read_bytes()
    assert set(written) - set(expected) == {".aifctl/model.schema.json", ".aifctl/platform.schema.json"}


def test_unknown_framework(tmp_path: Path) -> None:
    with pytest.raises(Report) as caught:
        starting.start(tmp_path / "x", "common")
    assert caught.value.diagnostics[0].code == "AIF624"
    assert not (tmp_path / "x").exists()


def test_twice(tmp_path: Path) -> None:
    starting.start(tmp_path, "pytorch")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(Report) as caught:
        starting.start(tmp_path, "custom")
    assert caught.value.diagnostics[0].code == "AIF623"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
