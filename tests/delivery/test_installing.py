"""`aifctl init --reconciler`: which environment it is for, and what is left of a former call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from aifctl.delivery.installing import Wish, install
from aifctl.diagnostics import Report
from tests.delivery.repositories import EXAMPLES

WISH = Wish(repository="https://git.example/models", image="registry.example/aifctl:1")
PLATFORM = (EXAMPLES / "platform.yaml").read_text("utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "platform.yaml").write_text(PLATFORM, "utf-8")
    return tmp_path


def refused(root: Path, wish: Wish) -> str:
    with pytest.raises(Report) as caught:
        install(root, wish)
    (found,) = caught.value.diagnostics
    assert found.code == "AIF625"
    assert not (root / "reconciler").exists()
    return found.message


def test_it_is_for_the_environment_that_aifctl_delivers(root: Path) -> None:
    written = install(root, WISH)
    assert {path.parent for path in written} == {root / "reconciler/lab"}
    assert written[0].name == "00-namespace-aif-system.yaml"
    assert sorted(written) == written, "kubectl applies files in the order of their names"
    role = next(path for path in written if "clusterrole-aifctl-reconciler-lab" in path.name)
    assert "aifctl-deployer" in role.read_text("utf-8")


def test_the_account_is_the_environments(root: Path) -> None:
    text = PLATFORM.replace('      namespace: "{tenant}"\n', "      apply: {account: robot}\n")
    (root / "platform.yaml").write_text(text, "utf-8")
    role = next(path for path in install(root, WISH) if "-clusterrole-" in path.name)
    (rule,) = [each for each in yaml.safe_load(role.read_text("utf-8"))["rules"] if each["verbs"] == ["impersonate"]]
    assert rule["resourceNames"] == ["robot"]


def test_what_a_former_call_left_goes_and_others_files_stay(root: Path) -> None:
    before = set(install(root, replace(WISH, admin=True)))
    mine = root / "reconciler/lab/99-secret.yaml"
    mine.write_text("kind: Secret\n")
    after = set(install(root, WISH))
    assert {path.name.partition("-")[2] for path in before - after} >= {"serviceaccount-aifctl-admin.yaml"}
    assert set((root / "reconciler/lab").iterdir()) == {*after, mine}


def test_elsewhere(root: Path) -> None:
    written = install(root, replace(WISH, namespace="ml-system"), root / "deploy")
    assert {path.parent for path in written} == {root / "deploy/lab"}
    assert written[0].name == "00-namespace-ml-system.yaml"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (replace(WISH, environment="prod"), "environment `prod` is delivered by `argocd`"),
        (replace(WISH, environment="local"), "environment `local` has no cluster"),
        (replace(WISH, namespace="Aif"), "`Aif` can't be the name of a namespace"),
        (replace(WISH, git_secret="a_b"), "`a_b` can't be the name of a Secret"),
        (replace(WISH, replicas=0), "a reconciler needs at least one replica, not 0"),
    ],
)
def test_what_can_not_be(root: Path, wish: Wish, words: str) -> None:
    assert words in refused(root, wish)


def test_an_environment_that_is_none(root: Path) -> None:
    with pytest.raises(Report, match="AIF212"):
        install(root, replace(WISH, environment="labb"))


def test_which_of_several(root: Path) -> None:
    (root / "platform.yaml").write_text(PLATFORM.replace("deliverer: argocd", "deliverer: aifctl"), "utf-8")
    assert refused(root, WISH) == "environments that aifctl delivers: `lab`, `prod`"
    assert install(root, replace(WISH, environment="prod"))[0].parent.name == "prod"


def test_without_a_platform_file_the_environment_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path, WISH) == "there is no platform file to take an environment from"
    assert "there is no platform" in refused(tmp_path, replace(WISH, environment="../x"))
    assert install(tmp_path, replace(WISH, environment="lab"))[0].parent == tmp_path / "reconciler/lab"
