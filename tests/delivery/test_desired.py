"""What an apply need not compile again is what a compile of everything gives, and is made when it is asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aifctl.cli import arguments
from aifctl.cluster.inventory import Unit
from aifctl.delivery import cache, desired
from aifctl.delivery.desired import Asked, Desired
from aifctl.diagnostics import Report
from aifctl.spec import load
from aifctl.spec.files import Chosen
from aifctl.spec.load import Repository
from tests.delivery.repositories import examples, fleet_of, spec_of
from tests.delivery.test_cache import BOTH, CHANGES, DIGITS, WINE, replaced

INPUTS = {name: change for name, change in CHANGES.items() if not name.startswith(("output", "tree"))}
LAB = "lab"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "repository").mkdir()
    folder = examples(tmp_path / "repository")
    monkeypatch.chdir(folder)
    found(folder)
    return folder


def found(root: Path, environment: str = LAB, *, cached: bool = True, part: str | None = None) -> Desired:
    """What was changed before is older than a tick of the file system's clock."""
    time.sleep(2 * cache.TICK / cache.SECOND)
    roots = [Path(part)] if part else [root.relative_to(root)]
    asked = Asked(
        roots=roots,
        whole=part is None,
        name=environment,
        choose=lambda loaded: arguments.one_environment(loaded, environment),
        cached=cached,
    )
    return desired.find(asked)


def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with the spec files that are read from now on."""
    seen: list[str] = []
    read = load.read

    def watched(ground: Repository, chosen: Chosen) -> Repository:
        seen.extend(path.parent.name for path, _ in chosen if path.name == "model.yaml")
        return read(ground, chosen)

    monkeypatch.setattr(load, "read", watched)
    return seen


def told(each: Desired) -> object:
    """All that whoever applies may ask of it."""
    units = {w.unit: (w.tree, w.objects, [dict(m.object) for m in w.manifests]) for w in each.wanted}
    findings = [(d.code, d.message, d.position) for d in each.diagnostics]
    return units, findings, each.frozen, each.specs, each.complete, each.environment, each.address, each.platform


@pytest.mark.parametrize("change", INPUTS)
def test_each_change_is_noticed(root: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    act, again = INPUTS[change]
    environment = "prod" if change == "release" else LAB
    found(root, environment)
    act(root)
    seen = compiled(monkeypatch)
    now = found(root, environment)
    assert seen == again
    assert told(now) == told(found(root, environment, cached=False))
    assert told(found(root, environment)) == told(now)


def test_nothing_is_compiled_before_it_is_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiled(monkeypatch)
    known = found(root)
    assert {each.unit.model for each in known.wanted} == {"", "digits", "wine"}
    assert seen == []
    (digits,) = (each for each in known.wanted if each.unit.model == "digits")
    assert [each.identity for each in digits.manifests] == [each.identity for each in digits.objects]
    assert digits.manifests is digits.manifests
    assert seen == [DIGITS]


def test_what_is_known_is_told_without_loading_any_schema(root: Path) -> None:
    code = """
import sys
from aifctl.cli import arguments
from aifctl.delivery import applying
known = arguments.desired(None, "lab", None)
assert {each.unit.model for each in known.wanted} == {"", "digits", "wine"}, known.wanted
assert known.address.context and known.platform
print(sorted({"pydantic", "yaml", "jinja2", "aifctl.spec.load", "aifctl.pipeline"} & set(sys.modules)))
assert known.environment.name == known.address.name
"""
    arguments.desired(None, LAB, None)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_environments_are_remembered_apart(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(root, "prod")
    seen = compiled(monkeypatch)
    for name in (LAB, "prod"):
        known = found(root, name)
        assert known.environment.name == name
        assert {each.unit.environment for each in known.wanted} <= {name}
    assert seen == []


def test_a_part_of_the_repository_leaves_the_rest_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (root / WINE / "model.yaml").open("a") as file:
        file.write("# a comment\n")
    part = found(root, part=WINE)
    assert not part.complete
    assert Unit(LAB) not in {each.unit for each in part.wanted}, "the ground is nobody's part"
    seen = compiled(monkeypatch)
    found(root)
    assert seen == []


def test_a_model_that_does_not_compile_is_frozen_and_told_each_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(root / DIGITS / "model.yaml", "epochs: 8", "epochs: -1")
    seen = compiled(monkeypatch)
    for _ in range(2):
        known = found(root)
        assert known.frozen == {"digits"}
        assert known.complete
        assert [d.position.file for d in known.diagnostics if d.position] == [f"{DIGITS}/model.yaml"]
        assert {each.unit.model for each in known.wanted} == {"", "wine"}
    assert seen == [DIGITS, DIGITS]


def test_specs_that_change_meanwhile_are_told_and_remembered_no_more(root: Path) -> None:
    known = found(root)
    (digits,) = (each for each in known.wanted if each.unit.model == "digits")
    replaced(root / DIGITS / "model.yaml", "epochs: 8", "epochs: 9")
    with pytest.raises(Report) as caught:
        _ = digits.manifests
    assert [d.code for d in caught.value.diagnostics] == ["AIF736"]
    assert told(found(root)) == told(found(root, cached=False))


def test_two_models_of_one_name_are_told_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fleet_of(tmp_path / "fleet", 3)
    monkeypatch.chdir(root)
    found(root, "both")
    replaced(spec_of(root, 2), "name: model-00002", "name: model-00001")
    known = found(root, "both")
    assert "AIF211" in [d.code for d in known.diagnostics]
    assert told(known) == told(found(root, "both", cached=False))


def test_a_twin_with_a_warning_is_a_twin(root: Path) -> None:
    """What is remembered and what is not may be of one name."""
    shutil.copytree(root / WINE, root / "other")
    with (root / "other/requirements.txt").open("a") as file:
        file.write("\nleft-pad\n")
    known = found(root)
    assert "AIF211" in [d.code for d in known.diagnostics]
    assert told(known) == told(found(root, cached=False))


def test_an_edit_meanwhile_is_seen_by_the_clock_of_the_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may be told by another machine's clock, which is not ours."""
    spec = root / DIGITS / "model.yaml"
    replaced(spec, "epochs: 8", "epochs: 9")
    read = load.read

    def slow(ground: Repository, chosen: Chosen) -> Repository:
        done = read(ground, chosen)
        replaced(spec, "epochs: 9", "epochs: 7")
        return done

    time.sleep(2 * cache.TICK / cache.SECOND)
    ahead = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: ahead() + 5 * cache.SECOND)
    monkeypatch.setattr(load, "read", slow)
    found(root)
    monkeypatch.undo()
    monkeypatch.chdir(root)
    assert told(found(root)) == told(found(root, cached=False))


def test_a_damaged_cache_is_as_none(root: Path) -> None:
    (file,) = (root / ".aif/cache").glob("units-*")
    for text in ("", "{}\n", file.read_text()[:-40], file.read_text().replace('"units"', '"unlts"')):
        file.write_text(text)
        assert told(found(root)) == told(found(root, cached=False))


def test_a_folder_without_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "platform.yaml").write_text(
        "apiVersion: aif.dev/v1alpha1\nkind: Platform\nmetadata: {name: acme}\n"
        "spec: {environments: [{name: lab, roles: [serve], cluster: {context: c}}]}\n"
    )
    for cached in (True, True, False):
        with pytest.raises(Report) as caught:
            found(tmp_path, cached=cached)
        assert [d.code for d in caught.value.diagnostics] == ["AIF114"]


def test_a_repository_whose_specs_are_gone(root: Path) -> None:
    for name in BOTH:
        (root / name / "model.yaml").unlink()
    with pytest.raises(Report) as caught:
        found(root)
    assert [d.code for d in caught.value.diagnostics] == ["AIF114"]


def test_both_examples_are_models_of_their_own(root: Path) -> None:
    assert found(root).specs == {f"{name}/model.yaml" for name in BOTH}
