"""A repository of specs as a user has one, in a folder of its own, and the commands that a user types."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.cluster import CHECKOUT, Cluster

ENVIRONMENT = "node"
TENANT = "e2e-vision"
TOOLS = "e2e-tools"
CLIENT = (TOOLS, "client")
EXAMPLES = CHECKOUT / "examples/specs"
LOAD = Path(__file__).with_name("load.py")
HARDWARE = {"cpu": 0.2, "memory": "2Gi"}
PREDICT = """
import json, sys, urllib.request
url, rows = sys.argv[1], json.loads(sys.argv[2])
body = json.dumps({"rows": rows}).encode()
request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""


@dataclass(frozen=True, slots=True)
class Said:
    """A command that has ended: both streams, as the terminal shows them."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Load:
    process: subprocess.Popen[str]
    result: dict[str, Any] = field(default_factory=dict)
    """Empty while it goes on."""

    def running(self) -> None:
        """Waits until the first requests are under way."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "running\n"


@dataclass(frozen=True, slots=True)
class Shop:
    root: Path
    cluster: Cluster

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "aifctl", *arguments], cwd=self.root, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment(),
        )  # fmt: skip

    def aifctl(self, *arguments: str, code: int | None = 0, timeout: float = 600) -> Said:
        """`code` None takes any."""
        process = self.start(*arguments)
        try:
            text, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
        print(f"$ aifctl {' '.join(arguments)}\n{text}")
        if code is not None and process.returncode != code:
            raise AssertionError(f"aifctl {' '.join(arguments)} ended with {process.returncode}, not {code}:\n{text}")
        return Said(process.returncode, text)

    def edit(self, file: str, change: Callable[[dict[str, Any]], None]) -> None:
        path = self.root / file
        value = yaml.safe_load(path.read_text())
        change(value)
        path.write_text(yaml.safe_dump(value, sort_keys=False))

    def model(self, name: str, change: Callable[[dict[str, Any]], None] = lambda spec: None) -> None:
        self.edit(f"{name}/model.yaml", lambda value: change(value["spec"]))

    def add(self, name: str, example: str, change: Callable[[dict[str, Any]], None]) -> None:
        """A copy of an example as model `name`, small enough for two cores."""
        shutil.copytree(EXAMPLES / example, self.root / name, ignore=shutil.ignore_patterns("__pycache__", ".aif"))

        def small(value: dict[str, Any]) -> None:
            value["metadata"] = {"name": name, "tenant": TENANT}
            spec = value["spec"]
            spec.pop("environments", None)
            spec["training"]["hardware"] = dict(HARDWARE)
            spec["serving"] |= {"resources": {"cpu": 0.1, "memory": "1Gi"}}
            change(spec)

        self.edit(f"{name}/model.yaml", small)

    def remove(self, name: str) -> None:
        """From Git and from the cluster: what comes after it has the machine for itself."""
        self.git("rm", "-r", "--quiet", "--ignore-unmatch", name, f"releases/{ENVIRONMENT}/{name}.yaml")
        self.commit(f"Remove {name}")
        self.aifctl("destroy", name, "--env", ENVIRONMENT, "--yes")

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=e2e", "-c", "user.email=e2e@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout

    def address(self, name: str) -> str:
        """Of a model's Service, by number: not every cluster has names."""
        spec = self.cluster.get(TENANT, "service", name)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def predict(self, name: str, count: int = 20) -> float:
        """Asks through the Service; the share of rows whose digit is right."""
        table = self.rows(name, count)
        rows = [{key: value for key, value in row.items() if key != "digit"} for row in table]
        url = f"{self.address(name)}/batch_predict"
        answer = json.loads(self.cluster.python(CLIENT, PREDICT, url, json.dumps(rows)))
        right = [int(given["label"]) == row["digit"] for given, row in zip(answer["predictions"], table, strict=True)]
        return sum(right) / len(right)

    @contextmanager
    def load(self, name: str, rate: float) -> Iterator[Load]:
        """Requests from a pod, through the Service, until the block ends; `result` is there then."""
        end = f"/tmp/{uuid.uuid4().hex}"
        arguments = (f"{self.address(name)}", json.dumps(self.rows(name, 1)[0]), str(rate), end)
        namespace, pod = CLIENT
        process = subprocess.Popen(
            ["kubectl", "--kubeconfig", str(self.cluster.kubeconfig), "--namespace", namespace, "exec", pod, "--",
             "python", "-c", LOAD.read_text(), *arguments],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        load = Load(process)
        try:
            yield load
            self.cluster.kubectl("--namespace", namespace, "exec", pod, "--", "touch", end)
            text, _ = process.communicate(timeout=60)
            load.result.update(json.loads(text.splitlines()[-1]))
        finally:
            process.kill()
            self.cluster.kubectl("--namespace", namespace, "exec", pod, "--", "touch", end)

    def rows(self, name: str, count: int) -> list[dict[str, float]]:
        """Raw rows of a model's table, label included."""
        with (self.root / name / "data/digits.csv").open(newline="") as file:
            table = [row for row, _ in zip(csv.DictReader(file), range(count), strict=False)]
        return [{key: float(value) for key, value in row.items()} for row in table]

    def _environment(self) -> dict[str, str]:
        here = {"KUBECONFIG": str(self.cluster.kubeconfig), "PYTHONPATH": str(CHECKOUT)}
        return {**os.environ, **here, "COLUMNS": "160", "OMP_NUM_THREADS": "1"}


def platform(cluster: Cluster, tracking: str) -> Mapping[str, Any]:
    images = cluster.images
    environment = {
        "name": ENVIRONMENT,
        "cluster": {"context": cluster.context},
        "deliverer": "aifctl",
        "pod_security": "privileged",
        "store": {"uri": f"file://{cluster.store}/artifacts"},
        "pod_defaults": {
            "volumes": cluster.volumes,
            "volume_mounts": cluster.mounts,
            **({"env": cluster.env} if cluster.env else {}),
        },
    }
    return {
        "apiVersion": "aif.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": "e2e"},
        "spec": {
            "environments": [environment],
            "tracking": {"mlflow": tracking},
            "images": {
                **{name: {"cpu": images[name]} for name in ("pytorch", "tensorflow", "custom")},
                "serve": images["serve"],
            },
            "tenants": [{"name": TENANT}],
            # Images of the tests have no registry to have a digest in.
            "policies": {"pinned-images": "off"},
        },
    }
