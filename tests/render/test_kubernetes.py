from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aifctl import ir
from aifctl.diagnostics import Report
from aifctl.manifest import Manifest
from aifctl.render.bundles import render
from tests.render import bundles, schemas

GPU = ir.Accelerator(
    name="l4", resource="nvidia.com/gpu", per_node=1, node_selector={"gpu": "l4"}, tolerations=({"operator": "Exists"},)
)
SHAPES = {
    "scaled": bundles.service(),
    "by cpu": bundles.service(autoscaling=ir.Autoscaling(min=1, max=3, metric="cpu", target=70)),
    "by own metric": bundles.service(autoscaling=ir.Autoscaling(min=1, max=3, metric="queue_depth", target=0.5)),
    "fixed": bundles.service(autoscaling=None, replicas=3),
    "single": bundles.service(autoscaling=None, replicas=1, low_confidence=None, variables=(), secrets=()),
    "gpu": bundles.service(accelerator=GPU),
}


def objects(service: ir.Service, **target: Any) -> dict[str, Manifest]:
    return {each.kind: each for each in render(bundles.bundle(service=service, target=bundles.target(**target)))}


def pod(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = manifest.object["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_all_objects_are_what_kubernetes_takes(shape: str) -> None:
    for store_secret in ("s3-writer", None):
        for manifest in objects(SHAPES[shape], store_secret=store_secret).values():
            schemas.validate(manifest)


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ("scaled", {"HorizontalPodAutoscaler", "PodDisruptionBudget"}),
        ("by cpu", {"HorizontalPodAutoscaler"}),
        ("fixed", {"PodDisruptionBudget"}),
        ("single", set()),
    ],
)
def test_there_is_an_autoscaler_and_a_budget_where_they_mean_something(shape: str, kinds: set[str]) -> None:
    always = {"ServiceAccount", "Service", "Deployment", "NetworkPolicy"}
    assert set(objects(SHAPES[shape])) == always | kinds


def test_replicas_are_left_to_the_autoscaler() -> None:
    assert "replicas" not in objects(SHAPES["scaled"])["Deployment"].object["spec"]
    assert objects(SHAPES["fixed"])["Deployment"].object["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("shape", "name", "value"), [("scaled", "aif_requests_in_flight", "20"), ("by own metric", "queue_depth", "500m")]
)
def test_autoscaling_by_a_metric_of_the_pods(shape: str, name: str, value: str) -> None:
    target = {"type": "AverageValue", "averageValue": value}
    metric = {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}
    assert objects(SHAPES[shape])["HorizontalPodAutoscaler"].object["spec"]["metrics"] == [metric]


def test_autoscaling_by_the_cpu() -> None:
    target = {"type": "Utilization", "averageUtilization": 70}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    assert objects(SHAPES["by cpu"])["HorizontalPodAutoscaler"].object["spec"]["metrics"] == [metric]


def test_the_concurrency_metric_is_one_that_the_server_exports() -> None:
    from pathlib import Path

    from aifctl.render.backends.kubernetes import IN_FLIGHT

    source = Path(__file__).resolve().parents[2] / "aifctl/runtime/server/metrics.py"
    assert f'"{IN_FLIGHT}"' in source.read_text(encoding="utf-8")


def test_the_server_is_told_what_the_release_says_in_flags_it_knows() -> None:
    from dataclasses import fields

    from aifctl.runtime.server.options import ServerOptions, check

    service = SHAPES["scaled"]
    [container] = pod(objects(service)["Deployment"])["containers"]
    flags = dict(each.removeprefix("--").split("=", 1) for each in container["args"])
    kinds = {each.name: each.type for each in fields(ServerOptions)}
    given = {name.replace("-", "_"): value for name, value in flags.items()}
    read = {name: {"int": int, "float": float}.get(str(kinds[name]), str)(value) for name, value in given.items()}
    options = ServerOptions(**read)
    assert list(check(options)) == []
    assert (options.bundle, options.sha256) == (service.bundle.uri, service.bundle.sha256)
    assert (options.max_batch, options.batch_delay, options.low_confidence) == (32, 0.005, 0.5)
    grace = pod(objects(service)["Deployment"])["terminationGracePeriodSeconds"]
    assert grace > options.drain_delay + options.grace


def test_the_selector_picks_the_pods_and_only_the_servers() -> None:
    found = objects(SHAPES["scaled"])
    spec = found["Deployment"].object["spec"]
    selector = spec["selector"]["matchLabels"]
    assert selector.items() <= spec["template"]["metadata"]["labels"].items()
    assert selector == found["Service"].object["spec"]["selector"]
    assert selector == found["NetworkPolicy"].object["spec"]["podSelector"]["matchLabels"]
    assert selector == found["PodDisruptionBudget"].object["spec"]["selector"]["matchLabels"]
    run = render(bundles.bundle(run=bundles.run()))
    [workflow] = [each for each in run if each.kind == "Workflow"]
    assert not selector.items() <= workflow.object["spec"]["podMetadata"]["labels"].items()


@pytest.mark.parametrize("shape", SHAPES)
def test_pods_are_restricted(shape: str) -> None:
    found = objects(SHAPES[shape])
    spec = pod(found["Deployment"])
    [container] = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert found["ServiceAccount"].object["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
    assert {each["mountPath"] for each in container["volumeMounts"]} == {"/tmp", "/aif/work"}


def test_a_rollout_never_takes_a_ready_server_away_first() -> None:
    spec = objects(SHAPES["scaled"])["Deployment"].object["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    [container] = pod(objects(SHAPES["scaled"])["Deployment"])["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_a_large_bundle_has_longer_to_start() -> None:
    def seconds(size: int) -> int:
        service = bundles.service()
        found = objects(replace(service, bundle=replace(service.bundle, size=size)))["Deployment"]
        [container] = pod(found)["containers"]
        probe = container["startupProbe"]
        assert found.object["spec"]["progressDeadlineSeconds"] > probe["periodSeconds"] * probe["failureThreshold"]
        return int(probe["periodSeconds"] * probe["failureThreshold"])

    assert seconds(0) == 120
    assert seconds(20 << 30) >= 120 + 1024


def test_the_network_policy_lets_in_the_port_and_out_names_and_the_store() -> None:
    spec = objects(SHAPES["scaled"])["NetworkPolicy"].object["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8080}]}]
    assert [[each["port"] for each in rule["ports"]] for rule in spec["egress"]] == [[53, 53], [443, 9000]]


@pytest.mark.parametrize(
    ("store", "ports"),
    [
        ("s3://bucket/path:99", [443]),
        ("http://store.local/x", [80, 443]),
        ("https://store.local:8443/x", [443, 8443]),
        ("http://[fd00::1]:7000/x", [443, 7000]),
        ("http://user:1234@store:5000", [443, 5000]),
        ("http://store:99999/x", [443]),
    ],
)
def test_the_port_of_a_store_of_one_s_own(store: str, ports: list[int]) -> None:
    spec = objects(SHAPES["single"], store=store)["NetworkPolicy"].object["spec"]
    assert [each["port"] for each in spec["egress"][1]["ports"]] == ports


def test_devices_of_a_server() -> None:
    spec = pod(objects(SHAPES["gpu"])["Deployment"])
    [container] = spec["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"gpu": "l4"}, [{"operator": "Exists"}])


def test_a_dollar_in_a_variable_or_address_is_kept_from_the_kubelet() -> None:
    service = bundles.service(variables=(ir.Variable(name="A", value="$(HOME) $$ {{x}}"),))
    [container] = pod(objects(service)["Deployment"])["containers"]
    assert {"name": "A", "value": "$$(HOME) $$$$ {{x}}"} in container["env"]


def test_a_service_without_an_image_is_refused() -> None:
    with pytest.raises(Report) as caught:
        render(bundles.bundle(service=bundles.service(image="")))
    assert [each.code for each in caught.value.diagnostics] == ["AIF507"]


def test_findings_of_both_back_ends_come_together() -> None:
    bundle = bundles.bundle(service=bundles.service(image=""), run=bundles.run(), target=bundles.target(store=None))
    with pytest.raises(Report) as caught:
        render(bundle)
    assert len(caught.value.diagnostics) == 2


def test_nothing_is_rendered_for_a_bundle_with_neither() -> None:
    assert render(bundles.bundle()) == []
