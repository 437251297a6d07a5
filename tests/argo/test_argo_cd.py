"""Argo CD's view of the rendered tree: once a file is synced, comparing it with the cluster gives no difference.

Two of its rules are applied, each to every object of all examples in all environments, the ground included:
- ServerSideDiff: what a server-side dry-run of the file would make of the live object is the live object;
- the older comparison: every field of the file stands in the live object, with the value of the file.

Between the sync and the comparison Kubernetes' own controllers have been at work.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from aifctl.render.tree import tree
from tests.controlplane.cluster import Cluster, Object
from tests.controlplane.fixtures import install_crds
from tests.golden import repository

ENVIRONMENTS = ("lab", "prod", "plain")
MANAGER = "argocd-controller"
PREFIX = "argocd.argoproj.io/"
# The order of kinds in which Argo CD syncs; the rest comes after these.
ORDER = (
    "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodDisruptionBudget", "ServiceAccount", "Secret",
    "ConfigMap", "Role", "RoleBinding", "Service", "Deployment", "HorizontalPodAutoscaler", "Job",
)  # fmt: skip
# What Argo CD reads on an object, from its documentation (sync-options.md, compare-options.md); waves and hooks beside.
KNOWN = {
    "sync-options": {
        "Prune=false", "Prune=confirm", "Delete=false", "Delete=confirm", "Validate=false", "PruneLast=true",
        "SkipDryRunOnMissingResource=true", "Replace=true", "Force=true", "ServerSideApply=true",
        "ServerSideApply=false", "ClientSideApplyMigration=false",
    },
    "compare-options": {
        "IgnoreExtraneous", "ServerSideDiff=true", "ServerSideDiff=false", "IncludeMutationWebhook=true",
    },
}  # fmt: skip
SCHEDULES = ("CronWorkflow", "CronJob")
SYSTEM = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")


@dataclass(frozen=True)
class Synced:
    """A rendered tree, by file, and the cluster that it was synced to."""

    cluster: Cluster
    files: Mapping[str, Object]

    def target(self, name: str) -> Object:
        """The object of a file as Argo CD applies it: with its own mark."""
        found = self.files[name]
        group, _, _ = found["apiVersion"].rpartition("/")
        metadata = found["metadata"]
        where = f"{group}/{found['kind']}:{metadata.get('namespace', '')}/{metadata['name']}"
        annotations = {**metadata.get("annotations", {}), f"{PREFIX}tracking-id": f"models:{where}"}
        return {**found, "metadata": {**metadata, "annotations": annotations}}


@pytest.fixture(scope="module")
def synced(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synced]:
    """All environments on one cluster, in namespaces of their own, and their controllers' work done."""
    install_crds(nodes, "argo-workflows")
    found = Synced(nodes, _rendered(tmp_path_factory.mktemp("argo-cd") / "specs"))
    for name in sorted(found.files, key=lambda name: _rank(found.files[name])):
        nodes.apply(found.target(name), manager=MANAGER, force=True)
    yield found
    for each in found.files.values():
        if each["kind"] == "Namespace":
            nodes.delete(each)


def test_all_kinds_that_we_render_are_here(synced: Synced) -> None:
    kinds = {each["kind"] for each in synced.files.values()}
    assert kinds >= {*ORDER, "Workflow", "CronWorkflow"}


def test_an_application_is_synced_by_server_side_diff(synced: Synced) -> None:
    different = {name: found for name in synced.files if (found := _server_side_difference(synced, name))}
    assert different == {}


def test_every_field_of_a_file_stands_in_the_cluster_as_it_is_written(synced: Synced) -> None:
    different = {}
    for name in synced.files:
        target = synced.target(name)
        live = synced.cluster.get(target)
        different[name] = list(_unlike(target, live, ""))
    assert {name: paths for name, paths in different.items() if paths} == {}


def test_a_manual_edit_is_a_difference(synced: Synced) -> None:
    """Else the two tests above would prove nothing."""
    [name] = [name for name, each in synced.files.items() if _is(each, "Service", "digits")]
    target = synced.target(name)
    edited = [{**target["spec"]["ports"][0], "targetPort": "other"}]
    synced.cluster.patch(target, {"spec": {"ports": edited}}, manager="kubectl")
    assert _server_side_difference(synced, name, seconds=0)
    assert list(_unlike(target, synced.cluster.get(target), "")) == ["/spec/ports/0/targetPort"]
    synced.cluster.apply(target, manager=MANAGER, force=True)
    assert not _server_side_difference(synced, name)


def test_annotations_for_argo_cd_are_those_that_it_knows(synced: Synced) -> None:
    written: set[str] = set()
    for name, each in synced.files.items():
        for key, value in each["metadata"].get("annotations", {}).items():
            if key.startswith(PREFIX):
                written.add(key.removeprefix(PREFIX))
                options = KNOWN[key.removeprefix(PREFIX)]
                assert set(value.split(",")) <= options, f"{name}: {key}: {value}"
        assert "app.kubernetes.io/instance" not in each["metadata"].get("labels", {}), "Argo CD's own mark"
    assert written == {"sync-options", "compare-options"}


def test_what_must_outlive_its_file_is_not_pruned(synced: Synced) -> None:
    """Runs and what they mount, and namespaces."""
    for name, each in synced.files.items():
        if "/_cluster/" in name and each["kind"] != "Namespace":
            continue
        options = each["metadata"].get("annotations", {}).get(f"{PREFIX}sync-options", "").split(",")
        lasting = each["kind"] == "Namespace" or ("/run/" in name and each["kind"] not in SCHEDULES)
        assert ("Prune=false" in options) == lasting, name


def _rendered(folder: Path) -> dict[str, Object]:
    """Path → object of all environments, and of one model that trains by schedule; the tree is as on disk."""
    repository.lay_out_plain(folder)
    _schedule(folder)
    suffix = uuid.uuid4().hex[:6]
    platform = folder / "platform.yaml"
    text = platform.read_text("utf-8")
    platform.write_text(text.replace('namespace: "{tenant}', f'namespace: "cd-{suffix}-{{tenant}}'), "utf-8")
    files: dict[str, bytes] = {}
    for environment in ENVIRONMENTS:
        found = repository.compiled(folder, environment)
        assert not found.has_errors, found.diagnostics
        files |= tree(found.manifests, environment)
    return {name: yaml.safe_load(text) for name, text in files.items()}


def _schedule(folder: Path) -> None:
    model = folder / "minimal/model.yaml"
    text = model.read_text("utf-8")
    source = "source: {path: data/iris.csv}"
    assert source in text
    text = text.replace(source, f"{source}\n      pinned: false")
    model.write_text(f'{text.rstrip()}\n  schedule: {{cron: "0 3 * * *"}}\n', "utf-8")


def _rank(found: Object) -> int:
    return ORDER.index(found["kind"]) if found["kind"] in ORDER else len(ORDER)


def _is(found: Object, kind: str, name: str) -> bool:
    return (found["kind"], found["metadata"]["name"]) == (kind, name)


def _server_side_difference(synced: Synced, name: str, seconds: float = 10) -> list[str]:
    """Paths at which the file's dry-run and the live object differ; looks again while controllers are writing."""
    target, end = synced.target(name), time.monotonic() + seconds
    while True:
        live = synced.cluster.get(target)
        predicted = synced.cluster.apply(target, manager=MANAGER, force=True, dry_run=True)
        found = [*_unlike(_normal(predicted), _normal(live), ""), *_unlike(_normal(live), _normal(predicted), "")]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def _normal(found: Object | None) -> Object:
    assert found is not None
    metadata = {key: value for key, value in found["metadata"].items() if key not in SYSTEM}
    return {**{key: value for key, value in found.items() if key != "status"}, "metadata": metadata}


def _unlike(wanted: Any, live: Any, path: str) -> Iterator[str]:
    """Paths of what is wanted and is not there, or is there as something else."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for key, value in wanted.items():
            yield from _unlike(value, live.get(key), f"{path}/{key}")
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, value in enumerate(wanted):
            yield from _unlike(value, live[index], f"{path}/{index}")
    elif wanted != live or type(wanted) is not type(live):
        yield path
