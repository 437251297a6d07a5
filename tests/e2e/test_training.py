"""Case 5: what becomes of training whose pod is killed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.cluster import until
from tests.e2e.conftest import Released
from tests.e2e.shop import ENVIRONMENT, TENANT, Shop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

EPOCHS = 10
HUNGRY = """\
held = []
while True:
    held.append(bytearray(1 << 24))
"""
SLOW = """
    import time
    time.sleep(1)
"""


def _only_training(spec: dict[str, Any]) -> None:
    del spec["serving"]


def test_case_5_training_that_runs_out_of_memory_is_retried_once(digits: Released) -> None:
    """It is said which limit it met, and the run ends."""
    shop = digits.shop

    def change(spec: dict[str, Any]) -> None:
        _only_training(spec)
        spec["training"]["hardware"] = {"cpu": 0.2, "memory": "600Mi"}

    shop.add("hungry", "wine-sklearn", change)
    (shop.root / "hungry/src/train.py").write_text(HUNGRY)
    shop.commit("Train something that is hungry")
    shop.aifctl("push", "hungry", "--env", ENVIRONMENT)
    shop.aifctl("apply", "--env", ENVIRONMENT)
    ended = shop.aifctl("wait", "run", "hungry", "--env", ENVIRONMENT, "--timeout", "5m", code=1)
    assert "OOMKilled" in ended.text
    assert "600Mi" in ended.text
    jobs = [job for job in shop.cluster.items(TENANT, "jobs") if "-train-" in _name(job) and "hungry" in _name(job)]
    assert len(jobs) == 2, "once, and once more"
    shop.remove("hungry")


def test_case_5_a_deleted_pod_is_replaced_and_training_goes_on(digits: Released) -> None:
    """From its checkpoint: no epoch is trained twice that was saved."""
    shop = digits.shop

    def change(spec: dict[str, Any]) -> None:
        _only_training(spec)
        spec["training"]["epochs"] = EPOCHS
        spec["training"]["hyperparameters"]["learning_rate"] = 0.004

    shop.add("slow", "digits-pytorch", change)
    code = shop.root / "slow/src/digits/cnn.py"
    slower = code.read_text().replace(
        "        validate(context, model, epoch)\n",
        f"        validate(context, model, epoch)\n{SLOW.replace('    ', '        ')}",
    )
    code.write_text(slower)
    shop.commit("Train something slow")
    shop.aifctl("push", "slow", "--env", ENVIRONMENT)
    shop.aifctl("apply", "--env", ENVIRONMENT)
    first = until(lambda: _training(shop, epochs=3), "three epochs", patience=240)
    shop.cluster.kubectl("--namespace", TENANT, "delete", "pod", first, "--grace-period=0", "--force")
    second = until(lambda: _training(shop, epochs=1, but=first), "another pod that trains", patience=240)
    events = _events(shop, second)
    (resumed,) = [event for event in events if event["event"] == "resumed"]
    assert resumed["number"] >= 2
    until(lambda: "finished" in {each["event"] for each in _events(shop, second)}, "training is done", patience=240)
    trained = [event["step"] for event in _events(shop, second) if event.get("name") == "val_loss"]
    assert trained == list(range(resumed["number"], EPOCHS)), "no epoch is trained again, none is left out"
    shop.remove("slow")


def _training(shop: Shop, epochs: int, but: str = "") -> str:
    """The pod that trains `slow` and has told of so many epochs."""
    for pod in shop.cluster.items(TENANT, "pods"):
        if (
            "slow" in _name(pod)
            and "-train-" in _name(pod)
            and _name(pod) != but
            and pod["status"]["phase"] == "Running"
        ):
            told = [event for event in _events(shop, _name(pod)) if "val_loss" in json.dumps(event)]
            if len(told) >= epochs:
                return _name(pod)
    return ""


def _events(shop: Shop, pod: str) -> list[dict[str, Any]]:
    text = shop.cluster.kubectl("--namespace", TENANT, "logs", pod, check=False)
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [each for each in found if "event" in each]


def _name(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])
