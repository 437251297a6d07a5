"""`pod_defaults` reach every pod, whichever back end makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from aifctl import ir
from aifctl.diagnostics import Report
from aifctl.render import pods
from aifctl.render.bundles import render
from tests.render import bundles, schemas

DEFAULTS = ir.PodDefaults(
    volumes=({"name": "ca", "configMap": {"name": "ca"}}, {"name": "nfs", "persistentVolumeClaim": {"claimName": "n"}}),
    mounts=({"name": "ca", "mountPath": "/etc/ca", "readOnly": True}, {"name": "nfs", "mountPath": "/data"}),
    variables=(ir.Variable(name="HTTPS_PROXY", value="http://p:1/$(X)"), ir.Variable(name="GREETING", value="yes")),
    secrets=("proxy", "s3-writer"),
    node_selector={"pool": "ml", "gpu": "any"},
    tolerations=({"key": "ml", "operator": "Exists"}, {"key": "slow", "operator": "Exists", "tolerationSeconds": 60}),
    pull_secrets=("registry",),
    pull_policy="Never",
    annotations={"sidecar.example/inject": "false", "prometheus.io/scrape": "false"},
)


def bundle(**values: Any) -> ir.Bundle:
    return replace(bundles.everything(), target=bundles.target(pods=DEFAULTS, **values))


def pods_of(given: ir.Bundle) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(pod's spec, its only container, its annotations) of each pod."""
    for manifest in render(given):
        schemas.validate(manifest)
        spec: Any = manifest.object.get("spec")
        if manifest.kind == "Workflow":
            for template in spec["templates"]:
                if "container" in template:
                    yield {**spec, **template}, template["container"], spec["podMetadata"]["annotations"]
        elif manifest.kind == "Deployment":
            pod = spec["template"]
            yield pod["spec"], pod["spec"]["containers"][0], pod["metadata"]["annotations"]


def test_every_pod_gets_them() -> None:
    found = list(pods_of(bundle()))
    assert len(found) == len(bundles.steps()) + 1
    for spec, container, notes in found:
        names = {volume["name"] for volume in spec["volumes"]}
        assert names >= {"ca", "nfs"} or "shm" in names  # a step of Argo may have volumes of its own
        assert {"name": "ca", "mountPath": "/etc/ca", "readOnly": True} in container["volumeMounts"]
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert container["imagePullPolicy"] == "Never"
        assert container["envFrom"] == [{"secretRef": {"name": "s3-writer"}}, {"secretRef": {"name": "proxy"}}]
        assert {"name": "HTTPS_PROXY", "value": "http://p:1/$$(X)"} in container["env"]
        assert spec["nodeSelector"]["pool"] == "ml"
        assert {"key": "ml", "operator": "Exists"} in spec["tolerations"]
        assert notes["sidecar.example/inject"] == "false"
        assert notes.get("prometheus.io/scrape") == "false"


def test_what_a_step_says_itself_wins() -> None:
    train = next(each for each in pods_of(bundle()) if each[0].get("name") == "train")
    spec, container, _ = train
    assert spec["nodeSelector"] == {"gpu": "h100", "pool": "ml"}
    assert [each["key"] for each in spec["tolerations"]] == ["ml", "slow", "nvidia.com/gpu"]
    assert [each["value"] for each in container["env"] if each["name"] == "GREETING"] == ["no"]


def test_a_toleration_that_both_name_is_there_once() -> None:
    both = replace(DEFAULTS, tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},))
    gpu = bundles.steps()[1].accelerator
    assert len(pods.placement(bundles.target(pods=both), gpu)["tolerations"]) == 1


def test_what_argo_would_read_as_a_tag_is_refused() -> None:
    tagged = replace(DEFAULTS, volumes=({"name": "ca", "configMap": {"name": "{{workflow.name}}"}},))
    with pytest.raises(Report) as caught:
        render(replace(bundle(), target=bundles.target(pods=tagged)))
    assert {each.code for each in caught.value.diagnostics} == {"AIF508"}
