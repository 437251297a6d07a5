"""Files, folders and patterns → models as environments see them; findings of one model hold up no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifctl.diagnostics import Report
from aifctl.spec import load

MODEL = """apiVersion: aif.dev/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec:
  task: regression
  datasets: [{{name: d, source: {{call: "m:load"}}}}]
  training: {{model: "m:build", epochs: {epochs}}}
"""
PLATFORM = """apiVersion: aif.dev/v1alpha1
kind: Platform
metadata: {name: p}
spec:
  environments:
    - {name: lab, roles: [train], cluster: {context: lab}}
    - {name: prod, roles: [serve], cluster: {context: prod}}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.yaml").write_text(MODEL.format(name=name, epochs=1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(repository: load.Repository, environment: str = "local") -> list[str]:
    return [unit.name for unit in load.units(repository, repository.environment(environment))[0]]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([""], ["one", "two"]),
        (["two"], ["two"]),
        (["two/model.yaml", "one"], ["two", "one"]),
        (["*/model.yaml"], ["one", "two"]),
        (["one", "one/model.yaml"], ["one"]),
    ],
)
def test_folders_files_and_patterns(root: Path, paths: list[str], expected: list[str]) -> None:
    assert names(load.load([Path(path) for path in paths])) == expected


def test_other_peoples_yaml_is_passed_over_unless_it_is_named(root: Path) -> None:
    (root / "one/values.yaml").write_text("replicas: 3\n")
    (root / "one/broken.yaml").write_text("{{ .Values.x }}\n")
    assert load.load([Path()]).diagnostics == ()
    named = load.load([Path("one/values.yaml"), Path("two")])
    assert [d.code for d in named.diagnostics] == ["AIF201"]


def test_rendered_trees_hidden_folders_and_releases_are_not_searched(root: Path) -> None:
    for folder in ("rendered", ".git", "releases", "__pycache__"):
        (root / folder).mkdir()
        (root / folder / "x.yaml").write_text(MODEL.format(name="x", epochs="many"))
    assert names(load.load([Path()])) == ["one", "two"]


def test_a_broken_model_holds_up_no_other(root: Path) -> None:
    (root / "one/model.yaml").write_text(MODEL.format(name="one", epochs="many"))
    repository = load.load([Path()])
    units, found = load.units(repository, repository.environment("local"))
    assert [unit.name for unit in units] == ["two"]
    assert [d.code for d in found] == ["AIF205"]


def test_without_a_platform_there_is_this_machine(root: Path) -> None:
    repository = load.load([Path()])
    assert repository.platform is None
    assert [(e.name, e.local, e.roles) for e in load.environments(None)] == [("local", True, ("train", "serve"))]
    with pytest.raises(Report, match="AIF212"):
        repository.environment("prod")


def test_the_nearest_platform_counts_and_local_is_always_there(root: Path) -> None:
    (root / "platform.yaml").write_text(PLATFORM)
    repository = load.load([Path("two/model.yaml")])
    assert repository.root == root
    assert repository.platform_file == "platform.yaml"
    assert [e.name for e in load.environments(repository.platform)] == ["local", "lab", "prod"]
    assert names(repository, "prod") == ["two"]


def test_a_broken_platform_ends_it_with_positions_and_texts(root: Path) -> None:
    (root / "platform.yaml").write_text(PLATFORM.replace("roles: [train]", "roles: [trian]"))
    with pytest.raises(Report) as raised:
        load.load([Path()])
    (found,) = raised.value.diagnostics
    assert (found.code, found.position.line if found.position else None) == ("AIF206", 6)
    assert "platform.yaml" in raised.value.texts


def test_models_of_one_name_are_told_at_the_second(root: Path) -> None:
    (root / "two/model.yaml").write_text("# second\n" + MODEL.format(name="one", epochs=1))
    repository = load.load([Path()])
    units, (found,) = load.units(repository, repository.environment("local"))
    assert len(units) == 1
    assert (found.code, found.where.file if found.where else None) == ("AIF211", "two/model.yaml")


def test_lock_and_release_are_found_beside_the_spec_and_below_the_root(root: Path) -> None:
    (root / "platform.yaml").write_text(PLATFORM)
    header = "apiVersion: aif.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: one{more}}}\n"
    (root / "one/one.lock.yaml").write_text(header.format(kind="Lock", more=""))
    (root / "releases/prod").mkdir(parents=True)
    digest = "ab" * 32
    release = f"stable: {{run: one-1, train: {digest}, signature: {{}}, exports: {{}}}}\n"
    (root / "releases/prod/one.yaml").write_text(header.format(kind="Release", more=", environment: prod") + release)
    repository = load.load([Path()])
    (one, two), found = load.units(repository, repository.environment("prod"))
    assert found == []
    assert one.lock is not None
    assert one.release is not None
    assert (two.lock, two.release) == (None, None)
    assert load.units(repository, repository.environment("lab"))[0][0].release is None


def test_a_broken_lock_is_a_finding_in_the_lock(root: Path) -> None:
    text = "apiVersion: aif.dev/v1alpha1\nkind: Lock\nmetadata: {name: one}\ndatasets: {d: {sha256: 12}}\n"
    (root / "one/one.lock.yaml").write_text(text)
    repository = load.load([Path()])
    units, found = load.units(repository, repository.environment("local"))
    assert [unit.name for unit in units] == ["two"]
    assert {d.where.file for d in found if d.where} == {"one/one.lock.yaml"}


def test_what_is_set_on_the_command_line_is_checked_like_the_rest(root: Path) -> None:
    repository = load.load([Path("one")])
    local = repository.environment("local")
    (unit,), found = load.units(repository, local, {("training", "epochs"): 7})
    assert (unit.spec.training.epochs, found) == (7, [])
    assert [d.code for d in load.units(repository, local, {("training", "epochs"): "x"})[1]] == ["AIF205"]
    assert [d.code for d in load.units(repository, local, {("datasets", "e", "name"): "x"})[1]] == ["AIF120"]


def test_a_place_in_a_merged_value_is_a_place_in_the_file(root: Path) -> None:
    text = MODEL.format(name="one", epochs=1) + "  environments: {local: {training: {epochs: 2}}}\n"
    (root / "one/model.yaml").write_text(text)
    repository = load.load([Path("one")])
    (unit,), _ = load.units(repository, repository.environment("local"))
    assert unit.at("spec", "training", "epochs").path == ("spec", "environments", "local", "training", "epochs")
    assert unit.at("spec", "training", "model").path == ("spec", "training", "model")
