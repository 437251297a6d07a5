"""Runs on plain Kubernetes: what is rendered is what its API takes and the driver reads, and no more than needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from aifctl import contract, ir
from aifctl.diagnostics import Report
from aifctl.manifest import Manifest
from aifctl.render import bundles as back_ends
from aifctl.render.bundles import render
from tests.render import bundles, schemas
from tests.render.test_pods import DEFAULTS

PLAIN = bundles.target(capabilities={})
SHAPES = {
    "inline": bundles.bundle(run=bundles.run("inline"), target=PLAIN),
    "archive": bundles.bundle(run=bundles.run("archive"), target=PLAIN),
    "image": bundles.bundle(run=bundles.run("image"), target=PLAIN),
    "unpinned": bundles.bundle(run=bundles.run(pin=None), target=PLAIN),
    "scheduled": bundles.bundle(run=bundles.scheduled(), target=PLAIN),
    "bare": bundles.bundle(run=bundles.run(None), target=replace(PLAIN, store_secret=None, tracking=None)),
    "defaults": bundles.bundle(run=bundles.run(), target=replace(PLAIN, pods=DEFAULTS)),
}


def one(bundle: ir.Bundle, kind: str, name: str | None = None) -> dict[str, Any]:
    [found] = [each for each in render(bundle) if each.kind == kind and name in (None, each.name)]
    return dict(found.object)


def steps_of(bundle: ir.Bundle) -> dict[str, dict[str, Any]]:
    assert bundle.run is not None
    data = one(bundle, "ConfigMap", f"{bundle.run.name}-steps")["data"]
    return {name.removesuffix(".yaml"): yaml.safe_load(text) for name, text in data.items()}


def container(job: dict[str, Any]) -> dict[str, Any]:
    [found] = job["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_api_takes_all_objects(shape: str) -> None:
    for manifest in (*render(SHAPES[shape]), *(Manifest(each) for each in steps_of(SHAPES[shape]).values())):
        schemas.validate(manifest)


@pytest.mark.parametrize(
    ("capabilities", "engine"),
    [({}, "jobs"), ({"argo-workflows": "4.1"}, "argo"), ({"kueue": "0.19"}, "jobs")],
)
def test_one_engine_an_environment(capabilities: dict[str, str], engine: str) -> None:
    assert back_ends.engine(bundles.target(capabilities=capabilities)) == engine


def test_a_driver_is_a_run_that_is_created_once() -> None:
    bundle = SHAPES["inline"]
    assert bundle.run is not None
    job = one(bundle, "Job")
    assert job["metadata"]["name"] == bundle.run.name
    assert job["metadata"]["labels"]["app.kubernetes.io/component"] == "run"
    assert job["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false"
    assert job["metadata"]["annotations"]["aif.dev/run-digest"] == bundle.run.digest
    listed = [each for each in container(job)["args"] if each.startswith("--step=")]
    told = [contract.decode(each.removeprefix("--step=").replace("$$", "$")) for each in listed]
    assert told == [step.spec for step in bundle.run.steps]


def test_a_scheduled_run_keeps_its_name() -> None:
    found = one(SHAPES["scheduled"], "CronJob")
    assert found["metadata"]["name"] == "digits"
    assert (found["spec"]["schedule"], found["spec"]["timeZone"]) == ("0 3 * * *", "Europe/Berlin")
    plain = one(SHAPES["unpinned"], "Job")
    assert found["spec"]["jobTemplate"]["spec"].keys() == plain["spec"].keys()


def test_the_driver_may_do_what_it_does_and_nothing_else() -> None:
    rules = one(SHAPES["inline"], "Role")["rules"]
    allowed = {(group, resource, verb) for rule in rules for group in rule["apiGroups"]
               for resource in rule["resources"] for verb in rule["verbs"]}  # fmt: skip
    jobs = {("batch", "jobs", verb) for verb in ("create", "get", "list", "watch", "delete")}
    assert allowed == {*jobs, ("", "pods", "get"), ("", "pods", "list"), ("", "pods/log", "get")}
    binding = one(SHAPES["inline"], "RoleBinding")
    assert [each["name"] for each in binding["subjects"]] == ["digits-driver"]


def test_steps_run_user_code_without_any_right() -> None:
    for job in steps_of(SHAPES["inline"]).values():
        pod = job["spec"]["template"]["spec"]
        assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("digits-run", False)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container(job)["securityContext"]["readOnlyRootFilesystem"] is True


def test_each_step_has_its_own_resources_and_place() -> None:
    found = steps_of(SHAPES["inline"])
    train, gate = found["train"], found["gate"]
    assert container(train)["resources"]["limits"] == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}
    pod = train["spec"]["template"]["spec"]
    assert (pod["nodeSelector"], pod["activeDeadlineSeconds"]) == ({"gpu": "h100"}, 3600)
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}} in pod["volumes"]
    assert "HF_TOKEN" in [each["name"] for each in container(train)["env"]]
    assert "nodeSelector" not in gate["spec"]["template"]["spec"]
    assert gate["metadata"]["annotations"]["aif.dev/retries"] == "0"
    assert train["spec"]["backoffLimit"] == 0


def test_the_driver_takes_no_image_of_an_accelerator() -> None:
    run = bundles.run()
    gpu = replace(run.steps[1], image="registry.example/cuda@sha256:" + "ef" * 32)
    job = one(bundles.bundle(run=replace(run, steps=(gpu, run.steps[0], *run.steps[2:])), target=PLAIN), "Job")
    assert container(job)["image"] == bundles.IMAGE


def test_pod_defaults_reach_the_driver_and_the_steps() -> None:
    bundle = SHAPES["defaults"]
    for job in (one(bundle, "Job"), *steps_of(bundle).values()):
        pod = job["spec"]["template"]["spec"]
        assert {volume["name"] for volume in pod["volumes"]} >= {"ca", "nfs"}
        assert {"name": "nfs", "mountPath": "/data"} in container(job)["volumeMounts"]
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["nodeSelector"]["pool"] == "ml"
        assert container(job)["imagePullPolicy"] == "Never"
        assert {"name": "HTTPS_PROXY", "value": "http://p:1/$$(X)"} in container(job)["env"]
        assert {"secretRef": {"name": "proxy"}} in container(job)["envFrom"]


def test_what_can_not_run_is_refused() -> None:
    run = bundles.run()
    many = replace(run.steps[1], nodes=2)
    with pytest.raises(Report) as caught:
        render(bundles.bundle(run=replace(run, steps=(many,)), target=replace(PLAIN, store=None)))
    assert [each.code for each in caught.value.diagnostics] == ["AIF507", "AIF507"]


def test_more_steps_than_a_config_map_holds_are_refused() -> None:
    run = bundles.run()
    long = (ir.Variable(name="X", value="x" * 200_000),)
    with pytest.raises(Report) as caught:
        render(
            bundles.bundle(run=replace(run, steps=tuple(replace(s, variables=long) for s in run.steps)), target=PLAIN)
        )
    assert [each.code for each in caught.value.diagnostics] == ["AIF510"]
