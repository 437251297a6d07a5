"""A small company in Git whose environments lie on the test control plane: two models that serve, one that trains.

Its environments and namespaces carry a name of their own, so that companies never meet in one cluster. Pods are
simulated (tests/controlplane/stages.py): an image whose name contains `bad-image` can't be pulled.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aifctl import cli
from tests.controlplane.cluster import Cluster, Object, path_of

PIN = "sha256:" + "1" * 64
PLATFORM = f"""\
apiVersion: aif.dev/v1alpha1
kind: Platform
metadata: {{name: acme}}
spec:
  environments:
    - name: ENV
      roles: [serve]
      cluster: {{context: test}}
      namespace: "{{tenant}}-ENV"
    - name: ENV-lab
      roles: [train]
      cluster: {{context: test}}
      namespace: "{{tenant}}-ENV-lab"
      store: {{uri: "s3://models"}}
  images:
    custom: {{cpu: "registry.example/custom@{PIN}"}}
    serve: "registry.example/serve@{PIN}"
  tenants: [{{name: garden}}]
"""
MODEL = """\
apiVersion: aif.dev/v1alpha1
kind: Model
metadata: {name: NAME, tenant: garden}
spec:
  task: classification
  datasets:
    - name: flowers
      source: {path: flowers.csv}
      features: {petals: {type: tensor, columns: [length, width]}}
      label: {column: species}
  code: {path: src}
  training:
    framework: custom
    custom: {command: [python, train.py], produces: model.npz, predict: "predict:predict"}
    hyperparameters: {C: 0.5}
  export: [{name: linear, format: custom}]
  serving:
    export: linear
    batching: {max: 32}
"""
RELEASE = f"""\
apiVersion: aif.dev/v1alpha1
kind: Release
metadata: {{name: NAME, environment: ENV}}
stable:
  run: NAME-0123456789
  train: {"a" * 64}
  exports:
    linear: {{uri: "s3://models/bundle", sha256: {"b" * 64}, format: custom, size: 1000}}
  signature: {{task: classification, inputs: [], outputs: []}}
  image: registry.example/serve@{PIN}
"""
ROWS = "length,width,species\n" + "".join(f"{n}.5,1.25,{'ab'[n % 2]}\n" for n in range(20))
GOOD = f"registry.example/serve@{PIN}"
BAD = f"registry.example/bad-image@{PIN}"
"""What the simulated nodes can't pull."""


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclasses.dataclass(frozen=True, slots=True)
class Garden:
    """`output` is how `run` hears what a command says."""

    root: Path
    cluster: Cluster
    environment: str
    """Of the servers; `lab` trains."""
    output: pytest.CaptureFixture[str] | None = None

    def run(self, *words: str | Path) -> Done:
        """The command in this process, and in the working folder."""
        assert self.output is not None
        self.output.readouterr()
        code = cli.main(list(map(str, words)))
        said = self.output.readouterr()
        return Done(code, said.out, said.err)

    def on(self, command: str, *words: str | Path) -> Done:
        """A command on the servers' environment."""
        return self.run(command, *words, "--env", self.environment)

    def applied(self, *words: str) -> Garden:
        """With all that Git has in the cluster."""
        done = self.on("apply", *words)
        assert done.code == 0, done.err
        return self

    @property
    def lab(self) -> str:
        return f"{self.environment}-lab"

    @property
    def namespace(self) -> str:
        return f"garden-{self.environment}"

    def plant(self, *names: str) -> Garden:
        """More models, released."""
        for name in names:
            folder = self.root / "models" / name
            (folder / "src").mkdir(parents=True)
            (folder / "src/train.py").write_text("print('trained')\n")
            (folder / "src/predict.py").write_text("def predict(folder, batch):\n    return {}\n")
            (folder / "model.yaml").write_text(MODEL.replace("NAME", name))
            (folder / "flowers.csv").write_text(ROWS)
            self._put(f"releases/{self.environment}/{name}.yaml", RELEASE.replace("NAME", name))
        return self

    def release(self, name: str, image: str = GOOD, run: str = "") -> Garden:
        """Another release of a model: the server's image, and the run whose bundle it serves."""
        text = RELEASE.replace("NAME-0123456789", run or "NAME-0123456789").replace(GOOD, image)
        self._put(f"releases/{self.environment}/{name}.yaml", text.replace("NAME", name))
        return self

    def edit(self, path: str, old: str, new: str) -> Garden:
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        file.write_text(text.replace(old, new))
        return self

    def commit(self, message: str = "change") -> str:
        """The commit's name."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *words: str) -> str:
        named = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *named, *words], cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout

    def reference(self, kind: str, name: str, version: str = "apps/v1", namespace: str | None = None) -> Object:
        metadata = {"name": name, "namespace": namespace or self.namespace}
        return {"apiVersion": version, "kind": kind, "metadata": metadata}

    def live(self, kind: str, name: str, version: str = "apps/v1") -> Any:
        return self.cluster.get(self.reference(kind, name, version))

    def deployment(self, name: str) -> Any:
        return self.live("Deployment", name)

    def image(self, name: str) -> str:
        """Of the server that runs in the cluster."""
        found: str = self.deployment(name)["spec"]["template"]["spec"]["containers"][0]["image"]
        return found

    def versions(self) -> dict[str, str]:
        """Kind and name → resourceVersion of what such models have, and of the inventories."""
        kinds = (
            ("apps/v1", "Deployment"),
            ("v1", "Service"),
            ("v1", "ServiceAccount"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
        )
        found = [(kind, each) for version, kind in kinds for each in self.cluster.list(version, kind, self.namespace)]
        label = f"aif.dev/inventory-environment={self.environment}"
        found += [
            ("inventory", each) for each in self.cluster.list("v1", "ConfigMap", "aif-system", labelSelector=label)
        ]
        return {f"{kind}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for kind, each in found}

    def inventory(self, model: str, tenant: str = "garden") -> Any:
        """The ConfigMap of a model."""
        return self.live_in("aif-system", "ConfigMap", f"aif.{self.environment}.{tenant}.{model}", "v1")

    def live_in(self, namespace: str, kind: str, name: str, version: str) -> Any:
        return self.cluster.get(self.reference(kind, name, version, namespace))

    def edited(self, name: str, image: str, manager: str = "kubectl-edit") -> None:
        """A server's image, changed by somebody else."""
        steps = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]
        path = f"{path_of(self.reference('Deployment', name))}?fieldManager={manager}"
        self.cluster.request("PATCH", path, steps, kind="application/json-patch+json")

    def fell(self) -> None:
        """Takes the namespaces away; their end is not awaited."""
        for name in (self.namespace, f"garden-{self.lab}"):
            self.cluster.delete(self.reference("Namespace", name, "v1"))

    def _put(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("ENV", self.environment))


@pytest.fixture
def garden(
    control_plane: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Garden]:
    """Two models, committed and not applied; the working folder, and KUBECONFIG, lead to them."""
    made = dataclasses.replace(new(tmp_path / "garden", control_plane, "iris", "rose"), output=capfd)
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    yield made
    made.fell()


def new(root: Path, cluster: Cluster, *names: str, environment: str = "") -> Garden:
    """A repository with these models, committed."""
    garden = Garden(root, cluster, environment or f"e{uuid.uuid4().hex[:6]}")
    root.mkdir(parents=True)
    garden._put("platform.yaml", PLATFORM)
    garden._put(".gitignore", "/rendered/\n/.aif/\n*.plan\n")
    garden.plant(*names)
    garden.git("init", "--quiet", "--initial-branch=main")
    garden.commit("first")
    return garden
