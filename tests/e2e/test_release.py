"""Cases 1 to 4 and 7: one model on a cluster with nothing but Kubernetes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.e2e.cluster import until
from tests.e2e.conftest import DIGITS, Released, pods_settled, release
from tests.e2e.shop import CLIENT, ENVIRONMENT, TENANT, Shop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TENSORFLOW = "digits-tf"
STEPS = ["prepare", "train", "evaluate", "gate", "export-onnx", "verify-onnx", "register"]
COUNTED = re.compile(r"aif_requests_total\{[^}]*batch_predict[^}]*\} (\S+)")
SEARCH = """
import json, sys, urllib.request
body = json.dumps({"experiment_ids": [str(number) for number in range(5)]}).encode()
request = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""
ASK = "import sys, urllib.request\nprint(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())"


def test_case_1_from_data_to_a_served_prediction(digits: Released, tools: str) -> None:
    """A Job a step, the gate passes, MLflow has the run, the server's answers are right and counted."""
    shop = digits.shop
    jobs = {job["metadata"]["name"]: job for job in shop.cluster.items(TENANT, "jobs")}
    (run,) = [name for name in jobs if re.fullmatch(r"digits-[0-9a-f]{10}", name)]
    steps = {name.removeprefix(f"{run}-").rsplit("-", 1)[0]: job for name, job in jobs.items() if name != run}
    assert all(job["status"].get("succeeded") == 1 for job in jobs.values())
    assert len(steps) == len(STEPS), sorted(jobs)
    assert f"{run}: " in digits.ended.text
    assert "accuracy 0.9" in digits.promoted.text

    assert shop.predict(DIGITS) >= 0.9
    pods = _servers(shop, DIGITS)
    assert len(pods) == 2
    texts = [shop.cluster.python(CLIENT, ASK, f"http://{pod['status']['podIP']}:8080/metrics") for pod in pods]
    assert all("aif_model_info{" in text for text in texts)
    counted = [
        float(n) for text in texts for n in re.findall(r"aif_requests_total\{[^}]*batch_predict[^}]*\} (\S+)", text)
    ]
    assert sum(counted) >= 1

    runs = json.loads(shop.cluster.python(CLIENT, SEARCH, f"{tools}/api/2.0/mlflow/runs/search"))["runs"]
    (tracked,) = [each for each in runs if "aif.train" in {tag["key"] for tag in each["data"]["tags"]}]
    assert tracked["info"]["status"] == "FINISHED"
    assert {"accuracy", "val_accuracy"} & {metric["key"].rpartition("/")[2] for metric in tracked["data"]["metrics"]}


def test_case_2_the_same_with_tensorflow(digits: Released) -> None:
    """Trained with TensorFlow, served as ONNX."""
    shop = digits.shop

    def change(spec: dict[str, Any]) -> None:
        spec["training"]["epochs"] = 6

    shop.add(TENSORFLOW, "digits-tensorflow", change)
    shop.commit("Add the same with TensorFlow")
    released = release(shop, TENSORFLOW)
    assert "accuracy 0.9" in released.promoted.text
    assert shop.predict(TENSORFLOW) >= 0.9
    (pod,) = _servers(shop, TENSORFLOW)
    text = shop.cluster.python(CLIENT, ASK, f"http://{pod['status']['podIP']}:8080/metrics")
    assert f'model="{TENSORFLOW}"' in text
    shop.remove(TENSORFLOW)
    until(lambda: _servers(shop, TENSORFLOW) == [], "its server is gone")


def test_case_3_a_new_release_loses_no_request(digits: Released) -> None:
    """50 requests a second through the Service, each on a connection of its own, while all pods are replaced."""
    shop = digits.shop
    before = shop.cluster.get(TENANT, "deployment", DIGITS)["metadata"]["generation"]
    with shop.load(DIGITS, rate=50) as load:
        load.running()
        # An export of another kind: nothing is trained again, and the server gets another bundle.
        shop.model(DIGITS, lambda spec: spec["export"][0].update(opset=19))
        shop.commit("Export for newer runtimes")
        shop.aifctl("apply", "--env", ENVIRONMENT)
        shop.aifctl("wait", "run", DIGITS, "--env", ENVIRONMENT, "--timeout", "5m")
        shop.aifctl("promote", DIGITS, "--env", ENVIRONMENT)
        shop.commit("Release it")
        shop.aifctl("apply", "--env", ENVIRONMENT, "--wait", "--timeout", "4m")
        pods_settled(shop, DIGITS, 2)
    found = load.result
    print(found)
    assert shop.cluster.get(TENANT, "deployment", DIGITS)["metadata"]["generation"] > before
    assert found["sent"] > 500
    assert found["lost"] == []
    assert len(found["versions"]) == 2, "the former release answered first, then the new one"


def test_case_4_a_release_that_fails_its_probe_goes_back(digits: Released) -> None:
    """Its bundle is not what the release says: the server refuses it, `status` says why, the old one serves on.

    Who waits does not wait for 8 minutes: a crash loop of a minute is enough."""
    shop = digits.shop
    good = shop.cluster.get(TENANT, "deployment", DIGITS)["spec"]["template"]["spec"]["containers"][0]["args"]

    def spoil(value: dict[str, Any]) -> None:
        value["stable"]["exports"]["onnx"]["sha256"] = "0" * 64

    shop.edit(f"releases/{ENVIRONMENT}/{DIGITS}.yaml", spoil)
    shop.commit("Release what is not there")
    try:
        applying = shop.start("apply", "--env", ENVIRONMENT, "--rollback-on-failure", "--timeout", "8m")
        try:
            told = until(lambda: _told(shop.aifctl("status", "--env", ENVIRONMENT, code=None).text), "status says why")
            text, _ = applying.communicate(timeout=300)
        finally:
            applying.kill()
        print(text)
        assert "applying" in told
        assert applying.returncode == 1
        assert "rolled back" in text
        pods_settled(shop, DIGITS, 2)
        live = shop.cluster.get(TENANT, "deployment", DIGITS)
        assert live["spec"]["template"]["spec"]["containers"][0]["args"] == good
        assert live["status"]["readyReplicas"] == 2
        assert shop.predict(DIGITS) >= 0.9

        held = shop.aifctl("apply", "--env", ENVIRONMENT, code=None)
        assert "held" in held.text
    finally:  # later cases must not find it
        shop.git("revert", "--no-edit", "HEAD")
    shop.aifctl("apply", "--env", ENVIRONMENT, "--wait", "--timeout", "2m")
    assert shop.aifctl("status", "--env", ENVIRONMENT).code == 0


def _servers(shop: Shop, model: str) -> list[dict[str, Any]]:
    pods = shop.cluster.items(TENANT, "pods", f"aif.dev/model={model}")
    return [pod for pod in pods if pod["spec"]["containers"][0]["name"] == "server"]


def _told(text: str) -> str:
    """A status that names the phase, and has the server's own words; between two tries it is starting."""
    return text if "CrashLoopBackOff" in text and "AIF832" in text else ""


def test_case_7_a_scaled_model_keeps_replicas_out_of_the_plan(digits: Released) -> None:
    """An autoscaler owns `replicas`: what it sets is no drift, and an apply does not set it back."""
    shop = digits.shop

    def scale(spec: dict[str, Any]) -> None:
        del spec["serving"]["replicas"]
        spec["serving"]["autoscaling"] = {"min": 1, "max": 3, "metric": "cpu", "target": 70}

    def declare(value: dict[str, Any]) -> None:
        value["spec"]["environments"][0]["capabilities"] = {"metrics-server": "0.8"}

    shop.edit("platform.yaml", declare)
    shop.model(DIGITS, scale)
    shop.commit("Let it scale")
    shop.aifctl("apply", "--env", ENVIRONMENT)
    shop.cluster.kubectl("--namespace", TENANT, "scale", f"deployment/{DIGITS}", "--replicas=3")
    pods_settled(shop, DIGITS, 3)
    plan = shop.aifctl("plan", "--env", ENVIRONMENT, "--against", "cluster")
    assert "replicas" not in plan.text
    shop.aifctl("apply", "--env", ENVIRONMENT)
    assert shop.cluster.get(TENANT, "deployment", DIGITS)["spec"]["replicas"] == 3
