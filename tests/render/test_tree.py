from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml12

from aifctl.diagnostics import Report
from aifctl.manifest import Manifest
from aifctl.render.bundles import render
from aifctl.render.tree import tree
from tests.render import bundles


def owned(kind: str, name: str, version: str = "v1", **labels: str) -> Manifest:
    found = {"aif.dev/model": "m", "app.kubernetes.io/component": "serve", **labels}
    return Manifest(
        {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "ns", "labels": found}}
    )


def test_each_object_lies_in_a_file_of_its_own() -> None:
    manifests = render(bundles.everything())
    files = tree(manifests, "lab")
    run = bundles.run()
    assert set(files) == {
        f"rendered/lab/vision/digits/{path}.yaml"
        for path in (
            "setup/serviceaccount-digits-run",
            "setup/role-digits-run",
            "setup/rolebinding-digits-run",
            "setup/secret-digits-run.service-account-token",
            f"run/configmap-digits-code-{bundles.code().digest[:10]}",
            f"run/workflow-{run.name}",
            "serve/serviceaccount-digits",
            "serve/service-digits",
            "serve/deployment-digits",
            "serve/horizontalpodautoscaler-digits",
            "serve/poddisruptionbudget-digits",
            "serve/networkpolicy-digits",
        )
    }
    assert [yaml12.parse_yaml(files[path].decode()) for path in sorted(files)] == [
        next(each.object for each in manifests if each.to_yaml().encode() == files[path]) for path in sorted(files)
    ]


def test_the_order_of_manifests_changes_nothing() -> None:
    manifests = render(bundles.everything())
    assert tree(manifests, "lab") == tree(reversed(manifests), "lab")


def test_the_group_is_named_where_two_kinds_would_meet() -> None:
    core, other, apart = owned("Service", "a"), owned("Service", "a", "serving.knative.dev/v1"), owned("Service", "b")
    assert sorted(tree([core, other, apart], "lab")) == [
        "rendered/lab/ns/m/serve/service-a.yaml",
        "rendered/lab/ns/m/serve/service-b.yaml",
        "rendered/lab/ns/m/serve/service.serving.knative.dev-a.yaml",
    ]


def test_what_is_of_no_model_lies_apart() -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "a"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "vision"}}
    assert sorted(tree([Manifest(role), Manifest(quota)], "lab")) == [
        "rendered/lab/_cluster/clusterrole-a.yaml",
        "rendered/lab/_cluster/vision/resourcequota-q.yaml",
    ]


@pytest.mark.parametrize(
    "manifest",
    [
        owned("Service", "../../x"),
        owned("Service", "a", **{"aif.dev/model": ".."}),
        owned("Service", "a", **{"app.kubernetes.io/component": "../../.."}),
        owned("Service", "a/b"),
        owned("Service", "a\0b"),
        owned("Service", "x" * 300),
        owned("../Service", "a"),
        owned("Service", "a", **{"aif.dev/model": ".hidden"}),
    ],
)
def test_no_name_leads_out_of_the_tree(manifest: Manifest) -> None:
    with pytest.raises(Report) as caught:
        tree([manifest], "lab")
    assert {each.code for each in caught.value.diagnostics} == {"AIF512"}


def test_an_environment_s_name_is_looked_at_too() -> None:
    with pytest.raises(Report) as caught:
        tree([owned("Service", "a")], "../prod")
    assert {each.code for each in caught.value.diagnostics} == {"AIF512"}


def test_two_manifests_of_one_object_are_refused() -> None:
    with pytest.raises(Report) as caught:
        tree([owned("Service", "a"), owned("Service", "a")], "lab")
    assert [each.code for each in caught.value.diagnostics] == ["AIF501"]


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, 2**70, "\ud800"])
def test_values_that_yaml_has_no_place_for_are_refused(value: object) -> None:
    found = owned("ConfigMap", "a")
    with pytest.raises(Report) as caught:
        tree([Manifest({**found.object, "data": value})], "lab")
    assert [each.code for each in caught.value.diagnostics] == ["AIF506"]


SCRIPT = """
import sys
from aifctl import digest
from aifctl.render.bundles import render
from aifctl.render.tree import tree
from tests.render import bundles
files = tree(render(bundles.everything()), "lab") | tree(render(bundles.bundle(run=bundles.scheduled())), "prod")
print(digest.of_files({path: digest.of_bytes(content) for path, content in files.items()}))
"""


def test_the_same_bytes_in_another_folder_locale_time_zone_and_hash_seed(tmp_path: Path) -> None:
    checkout = str(Path(__file__).resolve().parents[2])
    found = set()
    for seed, zone, locale in (
        ("0", "UTC", "C"),
        ("1", "Asia/Tokyo", "tr_TR.UTF-8"),
        ("77", "America/Lima", "de_DE.UTF-8"),
    ):
        settings = {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "PYTHONPATH": checkout}
        folder = tmp_path / seed
        folder.mkdir()
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=folder,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(run.stdout)
    assert len(found) == 1
