"""`aifctl init --reconciler`: which environment it is for, and what is left of a former call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from aifctl import __version__
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


IMAGES = """
  images:
    pytorch: {cpu: "other.example/aif-pytorch:1"}
    serve: "registry.example:5000/ml/aif-serve@sha256:%s"
""" % ("1" * 64)


def pod(written: list[Path]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(written[-1].read_text("utf-8"))["spec"]["template"]["spec"]
    return found


def test_the_image_is_that_of_this_version_from_where_the_platforms_are(root: Path) -> None:
    platform = yaml.safe_load(PLATFORM)
    platform["spec"]["images"] = yaml.safe_load(IMAGES)["images"]
    (root / "platform.yaml").write_text(yaml.safe_dump(platform), "utf-8")
    image = pod(install(root, replace(WISH, image=None)))["containers"][0]["image"]
    assert image == f"registry.example:5000/ml/aif-reconciler:v{__version__}"
    assert pod(install(root, WISH))["containers"][0]["image"] == WISH.image


def test_without_a_platforms_images_one_is_named(root: Path) -> None:
    platform = yaml.safe_load(PLATFORM)
    del platform["spec"]["images"]
    (root / "platform.yaml").write_text(yaml.safe_dump(platform), "utf-8")
    assert refused(root, replace(WISH, image=None)) == "there is no image to run the reconciler from"


@pytest.mark.parametrize(
    ("volume", "level"), [({"configMap": {"name": "ca"}}, "restricted"), ({"hostPath": {"path": "/srv"}}, "privileged")]
)
def test_it_gets_the_environments_pod_defaults_and_the_level_that_these_need(
    root: Path, volume: dict[str, Any], level: str
) -> None:
    platform = yaml.safe_load(PLATFORM)
    (lab,) = [each for each in platform["spec"]["environments"] if each["name"] == "lab"]
    lab["pod_security"] = "privileged"
    lab["pod_defaults"] = {
        "volumes": [{"name": "shared", **volume}],
        "volume_mounts": [{"name": "shared", "mountPath": "/srv"}],
        "env": {"PYTHONPATH": "/srv/lib"},
        "image_pull_secrets": ["registry"],
    }
    (root / "platform.yaml").write_text(yaml.safe_dump(platform), "utf-8")
    written = install(root, replace(WISH, interval="5m"))
    found = pod(written)
    assert {"name": "shared", **volume} in found["volumes"]
    assert {"name": "PYTHONPATH", "value": "/srv/lib"} in found["containers"][0]["env"]
    assert found["imagePullSecrets"] == [{"name": "registry"}]
    assert "--interval=5m" in found["containers"][0]["args"]
    labels = yaml.safe_load(written[0].read_text("utf-8"))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == level


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
