"""The rendered tree of a repository as one compile of everything makes it, and the words for what was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifctl.delivery import tree
from aifctl.diagnostics import Diagnostic, Severity
from aifctl.render.write import Written
from aifctl.spec import load
from tests.delivery.repositories import GROUND, environments, fleet_of, on_disk, spec_of


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = fleet_of(tmp_path / "repository", 3)
    monkeypatch.chdir(folder)
    return folder


def rendered(root: Path, complete: bool = True) -> tree.Rendered:
    repository = load.load([root])
    return tree.render(repository, environments(repository), complete)


def test_dry_says_what_writing_does(root: Path) -> None:
    would = tree.put(rendered(root), None, dry=True)
    assert not (root / "rendered").exists()
    assert tree.put(rendered(root), None, dry=False) == would
    assert would.new == tuple(sorted(on_disk(root)))
    assert not tree.put(rendered(root), None, dry=True).differs


def test_a_stream_holds_every_object_once(root: Path) -> None:
    stream = rendered(root).stream()
    assert stream.count("\n---\n") + 1 == stream.count("\nkind: ") == 3 * 12 + GROUND


def test_a_broken_model_keeps_what_it_has(root: Path) -> None:
    tree.put(rendered(root), None, dry=False)
    before = on_disk(root)
    spec_of(root, 1).write_text(spec_of(root, 1).read_text().replace("epochs", "epoch"))
    found = rendered(root)
    assert found.scope.failed == {("both", "model-00001")}
    assert not tree.put(found, None, dry=False).differs
    assert on_disk(root) == before


def test_only_a_whole_repository_says_what_is_gone(root: Path) -> None:
    tree.put(rendered(root), None, dry=False)
    spec_of(root, 1).unlink()
    assert not tree.put(rendered(root, complete=False), None, dry=True).differs
    assert len(tree.put(rendered(root), None, dry=True).removed) == 12


@pytest.mark.parametrize(
    ("failed", "code", "severity", "known"),
    [
        (set(), None, Severity.ERROR, True),
        ({("lab", "a")}, None, Severity.ERROR, True),
        ({("lab", "")}, None, Severity.ERROR, False),
        (set(), "AIF104", Severity.ERROR, False),
        (set(), "AIF108", Severity.WARNING, True),
        (set(), "AIF203", Severity.ERROR, True),
    ],
)
def test_whose_a_spec_is(failed: set[tuple[str, str]], code: str | None, severity: Severity, known: bool) -> None:
    loaded = [Diagnostic(code, "x", severity=severity)] if code is not None else []
    assert tree.is_known(failed, loaded) is known


def test_words() -> None:
    written = Written(new=("b",), changed=("a",), removed=("c",), unchanged=("d", "e"))
    assert tree.as_text(written, dry=False) == "~ a\n+ b\n- c\n1 files are new, 1 changed, 1 removed, 2 unchanged"
    assert tree.as_text(written, dry=True).endswith("1 files would be new, 1 changed, 1 removed, 2 unchanged")
    assert tree.as_text(Written(unchanged=("d",)), dry=False) == "up to date: 1 files"
    assert tree.as_json(written, dry=True) == {
        "format_version": "1.0",
        "dry": True,
        "new": ["b"],
        "changed": ["a"],
        "removed": ["c"],
        "unchanged": 2,
    }
