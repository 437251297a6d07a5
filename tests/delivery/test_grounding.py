"""What is tenants' in the rendered tree: made with the whole repository, kept by its parts, gone with its tenant."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifctl.delivery import grounding, tree
from aifctl.delivery.planning import plan
from aifctl.diagnostics import Report
from aifctl.plan.change import Action
from aifctl.spec import load
from tests.delivery.repositories import GROUND, Renders, compiled, environments, fleet_of, on_disk, spec_of

TOP = "rendered/both/_cluster"
NAMESPACE = f"{TOP}/namespace-team-03.yaml"
ROLE = f"{TOP}/team-03/role-aifctl-deployer.yaml"
PROCESSES = [1, 3]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = fleet_of(tmp_path / "repository", 4)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def grounded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Environments of each time that ground is compiled."""
    seen: list[list[str]] = []
    compile_ = grounding.compiled

    def watched(repository: load.Repository, chosen: list[load.Environment]) -> grounding.Ground:
        seen.append([each.name for each in chosen])
        return compile_(repository, chosen)

    monkeypatch.setattr(grounding, "compiled", watched)
    return seen


def ground_of(root: Path) -> dict[str, bytes]:
    return {path: content for path, content in on_disk(root).items() if path.startswith(f"{TOP}/")}


def edit(root: Path, old: str, new: str) -> None:
    path = root / "platform.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("jobs", PROCESSES)
def test_it_comes_with_the_whole_repository_alone(root: Path, grounded: list[list[str]], jobs: int) -> None:
    Renders(root, jobs=jobs)(spec_of(root, 1), spec_of(root, 2))
    assert (ground_of(root), grounded) == ({}, [])
    done = Renders(root, jobs=jobs)()
    assert len(ground_of(root)) == GROUND
    assert set(ground_of(root)) <= set(done.written.new)
    (root / NAMESPACE).unlink()
    edit(root, "    - {name: team-05}\n", "")
    assert not Renders(root)(spec_of(root, 1)).written.differs, "a part of the repository says nothing of it"
    assert len(grounded) == 1


def test_it_is_not_compiled_again_as_long_as_nothing_changed(
    root: Path, grounded: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Renders(root)()
    seen = compiled(monkeypatch)
    grounded.clear()
    done = Renders(root)()
    assert (seen, grounded, done.written.differs) == ([], [], False)
    assert done.written.unchanged == tuple(sorted(on_disk(root)))
    spec_of(root, 1).write_text(spec_of(root, 1).read_text() + "# a comment\n")
    done = Renders(root)()
    assert (seen, grounded) == (["model-00001"], []), "a model's edit leaves it alone"
    assert done.written.unchanged == tuple(sorted(on_disk(root)))
    assert Renders(root)().written.unchanged == tuple(sorted(on_disk(root)))
    assert seen == ["model-00001"]


@pytest.mark.parametrize("jobs", PROCESSES)
@pytest.mark.parametrize("path", [NAMESPACE, ROLE])
def test_what_was_changed_or_lost_by_hand_is_put_right(root: Path, path: str, jobs: int) -> None:
    Renders(root, jobs=jobs)()
    before = on_disk(root)
    (root / path).write_bytes(before[path].replace(b"team-03", b"team-04"))
    assert Renders(root, jobs=jobs)(dry=True).written.changed == (path,)
    assert Renders(root, jobs=jobs)().written.changed == (path,)
    (root / path).unlink()
    assert Renders(root, jobs=jobs)().written.new == (path,)
    assert on_disk(root) == before


@pytest.mark.parametrize("cached", [True, False])
def test_the_files_of_a_tenant_go_with_it_and_others_stay(root: Path, cached: bool) -> None:
    Renders(root)()
    own = {f"{TOP}/team-05/storage.yaml": b"kind: PersistentVolumeClaim\n", f"{TOP}/README.md": b"by hand\n"}
    for path, content in own.items():
        (root / path).write_bytes(content)
    edit(root, "    - {name: team-05}\n", "")
    before = on_disk(root)
    done = Renders(root)(cached=cached)
    assert len(done.written.removed) == 5
    assert all("team-05" in path for path in done.written.removed)
    assert on_disk(root) == {path: content for path, content in before.items() if path not in done.written.removed}
    assert own.items() <= on_disk(root).items(), "what is not labelled as ours is somebody's"


def test_what_an_interrupted_write_left_is_cleared(root: Path) -> None:
    Renders(root)()
    (root / f"{TOP}/team-03/role.yaml.99.aifctl-tmp").write_text("half")
    assert Renders(root)().written.removed == (f"{TOP}/team-03/role.yaml.99.aifctl-tmp",)


def test_a_link_in_its_folder_is_refused(root: Path, tmp_path: Path) -> None:
    Renders(root)()
    elsewhere = tmp_path / "elsewhere"
    (root / TOP).rename(elsewhere)
    (root / TOP).symlink_to(elsewhere)
    with pytest.raises(Report, match="AIF520"):
        Renders(root)()


@pytest.mark.parametrize("jobs", PROCESSES)
def test_what_can_not_be_made_leaves_what_is_there(root: Path, tmp_path: Path, jobs: int) -> None:
    Renders(root)()
    before = on_disk(root)
    edit(root, 'namespace: "{tenant}"', 'namespace: "{tenant}_x"')
    done = Renders(root, jobs=jobs)()
    assert done.failed
    plain = Renders(root).plain(tmp_path / "plain")
    assert done.findings == plain.findings
    ours = [each for each in done.findings if each.position is not None and each.position.file == "platform.yaml"]
    assert {each.code for each in ours} == {"AIF509"}
    tenants = (root / "platform.yaml").read_text().splitlines().index("  tenants:") + 1
    assert {(each.position.line, each.position.column) for each in ours if each.position} == {(tenants, 3)}
    assert on_disk(root) == before


def test_a_model_called_like_an_object_of_its_tenant(root: Path) -> None:
    edit(root, "      deliverer: argocd\n", "      deliverer: argocd\n      apply: {account: model-00001}\n")
    done = Renders(root)()
    assert "AIF312" in {each.code for each in done.findings}
    assert not (root / "rendered/both/team-01").exists()
    assert len(ground_of(root)) == GROUND, "the others are not held up"


def planned(root: Path, complete: bool = True) -> list[tuple[Action, str, str]]:
    repository = load.load([root] if complete else [spec_of(root, 1)])
    found = plan(tree.render(repository, environments(repository), complete), "tree", None, [])
    return [(each.action, each.identity.kind, each.model) for each in found.changes.notable]


def test_a_plan_shows_it_under_no_model(root: Path) -> None:
    Renders(root)()
    assert planned(root) == []
    (root / ROLE).unlink()
    edit(root, "    - {name: team-05}\n", "")
    assert planned(root) == [
        (Action.UNCHANGED, "Namespace", ""),
        (Action.UNCHANGED, "NetworkPolicy", ""),
        (Action.DELETE, "ServiceAccount", ""),
        (Action.CREATE, "Role", ""),
        (Action.DELETE, "Role", ""),
        (Action.DELETE, "RoleBinding", ""),
    ]
    assert planned(root, complete=False) == [], "one model's plan says nothing of it"
