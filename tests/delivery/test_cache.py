"""What is remembered spares compiling, and hides no change of anything that a render depends on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aifctl.delivery import cache
from aifctl.diagnostics import Report
from benchmarks import fleet_specs
from tests.delivery.repositories import Renders, compiled, examples, fleet_of, on_disk, spec_of

DIGITS, WINE = "digits-pytorch", "wine-sklearn"
BOTH = [DIGITS, WINE]
WORKFLOW = "rendered/lab/vision/digits/run"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "repository").mkdir()
    folder = examples(tmp_path / "repository")
    monkeypatch.chdir(folder)
    Renders(folder)()
    return folder


def entries(root: Path) -> list[Path]:
    return sorted((root / ".aif/cache").glob("render-*"))


def workflow(root: Path) -> Path:
    return next((root / WORKFLOW).glob("workflow-*.yaml"))


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def release(root: Path) -> None:
    text = (
        fleet_specs._release(0)
        .replace("name: model-00000", "name: digits")
        .replace("environment: both", "environment: prod")
    )
    (root / "releases/prod").mkdir(parents=True)
    (root / "releases/prod/digits.yaml").write_text(text)


def lock(root: Path) -> None:
    head = "apiVersion: aif.dev/v1alpha1\nkind: Lock\nmetadata: {name: digits}\n"
    lines = f"{head}retry: {{lab: {{run: digits-0000000000, attempt: 2}}}}\n"
    (root / DIGITS / "digits.lock.yaml").write_text(lines)


def same_size_and_mtime(path: Path) -> None:
    """An edit that neither size nor mtime gives away."""
    found = path.stat()
    text = path.read_bytes()
    path.write_bytes(text.replace(b"a", b"b", 1))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "spec": (lambda root: replaced(root / DIGITS / "model.yaml", "epochs: 8", "epochs: 9"), [DIGITS]),
    "comment": (lambda root: replaced(root / DIGITS / "model.yaml", "# Hand", "# All hand"), [DIGITS]),
    "lock": (lock, [DIGITS]),
    "release": (release, [DIGITS]),
    "code edited": (lambda root: same_size_and_mtime(root / DIGITS / "src/digits/cnn.py"), [DIGITS]),
    "code added": (lambda root: (root / DIGITS / "src/digits/more.py").write_text("x = 1\n"), [DIGITS]),
    "code removed": (lambda root: (root / DIGITS / "src/digits/__init__.py").unlink(), [DIGITS]),
    "folder of code": (lambda root: (root / DIGITS / "src/digits/deep").mkdir(), [DIGITS]),
    "data": (lambda root: same_size_and_mtime(root / DIGITS / "data/digits.csv"), [DIGITS]),
    "data moved": (lambda root: (root / DIGITS / "data").rename(root / DIGITS / "date"), [DIGITS]),
    "requirements": (lambda root: (root / DIGITS / "requirements.txt").write_text("# none\n"), [DIGITS]),
    "platform": (lambda root: replaced(root / "platform.yaml", "aif-system:5000", "aif-system:5001"), BOTH),
    "output edited": (lambda root: same_size_and_mtime(workflow(root)), [DIGITS]),
    "output deleted": (lambda root: workflow(root).unlink(), [DIGITS]),
    "output added": (lambda root: shutil.copy(workflow(root), workflow(root).with_name("job-x.yaml")), [DIGITS]),
    "tree deleted": (lambda root: shutil.rmtree(root / "rendered"), BOTH),
    "spec deleted": (lambda root: (root / WINE / "model.yaml").unlink(), []),
    "spec added": (
        lambda root: shutil.copytree(Path(__file__).parents[2] / "examples/specs/minimal", root / "minimal"),
        ["minimal"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_noticed(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    before = on_disk(root)
    act, again = CHANGES[change]
    act(root)
    seen = compiled(monkeypatch)
    done = Renders(root)()
    plain = Renders(root).plain(tmp_path / "plain")
    if plain.failed:
        assert done.findings == plain.findings
        assert on_disk(root) == before, "what does not compile keeps its files"
    else:
        assert on_disk(root) == on_disk(tmp_path / "plain")
    assert seen == again


def test_what_did_not_change_is_not_compiled(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiled(monkeypatch)
    for dry in (False, True):
        done = Renders(root)(dry=dry)
        assert (seen, done.failed, done.written.differs) == ([], False, False)
        assert done.written.unchanged == tuple(sorted(on_disk(root)))
    Renders(root)(cached=False)
    assert seen == BOTH


def test_a_comment_changes_no_byte(root: Path) -> None:
    replaced(root / DIGITS / "model.yaml", "# Hand", "# All hand")
    assert not Renders(root)().written.differs


def test_a_check_with_changes_finds_them_and_keeps_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(root / DIGITS / "model.yaml", "epochs: 8", "epochs: 9")
    kept = entries(root)[0].read_bytes()
    would = Renders(root)(dry=True).written
    assert (len(would.new), len(would.removed)) == (1, 1)
    assert entries(root)[0].read_bytes() == kept
    assert Renders(root)().written == would


def test_the_program_is_a_part_of_what_is_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiled(monkeypatch)
    monkeypatch.setattr(cache, "__version__", "next")
    Renders(root)()
    assert seen == BOTH


def test_the_program_is_all_its_files() -> None:
    told = set(cache._program())
    here = Path(cache.__file__)
    assert {str(here), str(here.parents[1] / "lowering/identity.py")} <= told
    assert any(path.endswith("argo/workflow.yaml.j2") for path in told)
    assert any(path.endswith("jinja2/__init__.py") for path in told)


def test_environments_and_places_are_remembered_apart(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = compiled(monkeypatch)
    Renders(root, name="lab")()
    Renders(root, out=tmp_path / "elsewhere")()
    assert seen == BOTH * 2
    Renders(root)()
    Renders(root, name="lab")()
    Renders(root, out=tmp_path / "elsewhere")()
    assert seen == BOTH * 2
    assert len(entries(root)) == 3


def test_a_part_of_the_repository_leaves_the_rest_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiled(monkeypatch)
    replaced(root / DIGITS / "model.yaml", "epochs: 8", "epochs: 9")
    Renders(root)(root / DIGITS)
    assert seen == [DIGITS]
    Renders(root)()
    assert seen == [DIGITS]


def test_a_model_with_a_warning_is_compiled_each_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(root / DIGITS / "model.yaml", "Handwritten digits of 8 x 8 pixels", "yes")
    replaced(root / "platform.yaml", "policies:\n", "policies:\n    gate-required: warning\n")
    replaced(root / WINE / "model.yaml", "evaluation: {gate", "evaluation: {} # {gate")
    first = Renders(root)()
    assert {d.code for d in first.findings}
    seen = compiled(monkeypatch)
    assert Renders(root)().findings == first.findings
    assert seen == BOTH


def test_warnings_of_the_platform_are_told_each_time(root: Path) -> None:
    replaced(root / "platform.yaml", "metadata:\n  name: example", "metadata:\n  name: yes")
    first = Renders(root)()
    assert [d.code for d in first.findings] == ["AIF108"]
    assert Renders(root)().findings == first.findings


def test_what_changed_while_it_was_read_is_not_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Renders(root)(cached=False)
    monkeypatch.setattr(cache, "TICK", 10**18)
    replaced(root / DIGITS / "model.yaml", "epochs: 8", "epochs: 9")
    replaced(root / DIGITS / "model.yaml", "epochs: 9", "epochs: 8")
    monkeypatch.setattr(cache, "settle", lambda: None)
    Renders(root)()
    seen = compiled(monkeypatch)
    Renders(root)()
    assert seen == [DIGITS]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"files":["rendered', '"files":["endered', 1),
        lambda text: "\0\xff" + text,
        lambda text: "[]\n" + text,
        lambda text: json.dumps({**json.loads(text.partition("\n")[0]), "format": 0}) + "\n" + text.partition("\n")[2],
    ],
)
def test_a_damaged_or_foreign_file_is_as_none(
    root: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[str], str]
) -> None:
    (file,) = entries(root)
    file.write_text(damage(file.read_text()))
    seen = compiled(monkeypatch)
    assert not Renders(root)().written.differs
    assert seen == BOTH
    Renders(root)()
    assert seen == BOTH, "and it is written anew"


def test_a_repository_without_room_for_a_cache_is_rendered(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / ".aif")
    (root / ".aif").write_text("in the way\n")
    replaced(root / DIGITS / "model.yaml", "epochs: 8", "epochs: 9")
    assert Renders(root)().written.differs
    Renders(root).plain(tmp_path / "plain")
    assert on_disk(root) == on_disk(tmp_path / "plain")


def test_a_link_above_the_tree_is_refused_as_ever(root: Path) -> None:
    (root / "rendered/lab").rename(root / "moved")
    (root / "rendered/lab").symlink_to(root / "moved")
    with pytest.raises(Report, match="AIF520"):
        Renders(root)()


def test_code_that_moves_behind_a_link_is_refused_as_ever(root: Path, tmp_path: Path) -> None:
    (root / DIGITS / "data").rename(tmp_path / "outside")
    (root / DIGITS / "data").symlink_to(tmp_path / "outside")
    assert Renders(root)().failed


def test_git_sees_nothing_of_it(root: Path) -> None:
    assert (root / ".aif/cache/.gitignore").read_text() == "*\n"
    assert {path.name for path in (root / ".aif/cache").iterdir()} == {".gitignore", *(e.name for e in entries(root))}


def test_the_facts_of_a_repository_are_kept_for_checks_of_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fleet_of(tmp_path / "repository", 3)
    monkeypatch.chdir(root)
    Renders(root)()
    spec_of(root, 2).write_text(fleet_specs.model(0).replace("seed: 0", "seed: 5"))
    assert [d.code for d in Renders(root)().findings] == ["AIF211"]


def test_an_input_that_vanished_meanwhile_is_no_input_that_was_not_there(tmp_path: Path) -> None:
    place = cache.Place(root=tmp_path, out=tmp_path, platform=None)
    entry = cache.Entry(spec="m.yaml", named=False, inputs=("gone.yaml",))
    began = 2**63
    from aifctl.render.write import Written

    assert cache.sealed(place, entry, Written(), began) is None
    assert cache.sealed(place, replace(entry, absent=("gone.yaml",)), Written(), began) is not None
