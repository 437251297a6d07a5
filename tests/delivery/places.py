"""A small Git repository of specs in a temporary folder, and the real commands on it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from aifctl import cli

PIN = "sha256:" + "1" * 64
PLATFORM = f"""\
apiVersion: aif.dev/v1alpha1
kind: Platform
metadata: {{name: acme}}
spec:
  environments:
    - name: lab
      roles: [train]
      cluster: {{context: lab}}
      capabilities: {{argo-workflows: "4.1"}}
      store: {{uri: "s3://models"}}
    - name: prod
      roles: [serve]
      cluster: {{context: prod}}
      namespace: "{{tenant}}-prod"
  images:
    pytorch: {{cpu: "registry.example/torch@{PIN}"}}
    custom: {{cpu: "registry.example/custom@{PIN}"}}
    serve: "registry.example/serve@{PIN}"
"""
MODEL = """\
apiVersion: aif.dev/v1alpha1
kind: Model
metadata: {name: NAME, tenant: garden}
spec:
  task: classification
  datasets:
    - name: iris
      source: {path: iris.csv}
      features: {petals: {type: tensor, columns: [length, width]}}
      label: {column: species}
  code: {path: src, requirements: requirements.txt}
  training:
    model: "net:build"
    hyperparameters: {learning_rate: 0.01}
    hardware: {cpu: 2}
  evaluation: {gate: {accuracy: {min: 0.9}}}
  export:
    - {name: onnx, format: onnx}
  serving:
    export: onnx
    batching: {max: 32}
"""
RELEASE = f"""\
apiVersion: aif.dev/v1alpha1
kind: Release
metadata: {{name: NAME, environment: prod}}
stable:
  run: NAME-0123456789
  train: {"a" * 64}
  exports:
    onnx: {{uri: "s3://models/bundle", sha256: {"b" * 64}, format: onnx, size: 1000}}
  signature: {{task: classification, inputs: [], outputs: []}}
  image: registry.example/serve@{PIN}
"""
CODE = "from torch import nn\n\n\ndef build(params, signature):\n    return nn.Linear(2, signature.classes)\n"
ROWS = "length,width,species\n" + "".join(f"{n}.5,1.25,{'ab'[n % 2]}\n" for n in range(20))


@dataclass(frozen=True, slots=True)
class Place:
    """`run` answers (exit code, what was printed to stdout and stderr)."""

    root: Path
    output: pytest.CaptureFixture[str]

    def model(self, name: str) -> Path:
        """One more model, released to prod."""
        folder = self.root / name
        (folder / "src").mkdir(parents=True)
        (folder / "model.yaml").write_text(MODEL.replace("NAME", name))
        (folder / "src/net.py").write_text(CODE)
        (folder / "iris.csv").write_text(ROWS)
        (folder / "requirements.txt").write_text("torch>=2.9\n")
        release = self.root / f"releases/prod/{name}.yaml"
        release.parent.mkdir(parents=True, exist_ok=True)
        release.write_text(RELEASE.replace("NAME", name))
        return folder

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        file.write_text(text.replace(old, new))

    def commit(self, message: str = "change") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def git(self, *words: str) -> None:
        named = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *named, *words], cwd=self.root, check=True, capture_output=True)

    def run(self, *words: str) -> tuple[int, str, str]:
        self.output.readouterr()
        code = cli.main(list(words))
        said = self.output.readouterr()
        return code, said.out, said.err


def new(root: Path, output: pytest.CaptureFixture[str]) -> Place:
    """A repository with one committed model, `iris`."""
    place = Place(root, output)
    root.mkdir(parents=True, exist_ok=True)
    (root / "platform.yaml").write_text(PLATFORM)
    (root / ".gitignore").write_text("/rendered/\n")
    place.model("iris")
    place.git("init", "--quiet", "--initial-branch=main")
    place.commit("first")
    return place


def shortened(text: str) -> str:
    """Without the digests in it, which other tests hold: `#` for ten hex digits."""
    return re.sub(r"\b[0-9a-f]{10}\b", "#", text)
