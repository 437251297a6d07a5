"""Writes a repository of many models, each released in an environment that trains and serves: 12 objects a model.

Models differ in what models differ in (names, tenants, data, parameters, code, thresholds), so nothing can be compiled
once and copied.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

ENVIRONMENT = "both"
TENANTS = 20


def write(folder: Path, models: int, deliverer: str = "argocd") -> None:
    """Platform, specs, code and release files of `models` models below the folder."""
    (folder / "platform.yaml").write_text(_platform(deliverer))
    releases = folder / "releases" / ENVIRONMENT
    releases.mkdir(parents=True)
    for number in range(models):
        name = model_name(number)
        source = folder / "models" / name / "src"
        source.mkdir(parents=True)
        (source.parent / "model.yaml").write_text(model(number))
        (source / "net.py").write_text(CODE.format(name=name, width=16 + number % 48))
        (releases / f"{name}.yaml").write_text(_release(number))


def model_name(number: int) -> str:
    return f"model-{number:05d}"


def model(number: int, epochs: int = 5) -> str:
    return MODEL.format(
        name=model_name(number),
        tenant=f"team-{number % TENANTS:02d}",
        sha=_hex("data", number),
        rate=0.001 + (number % 90) / 10_000,
        epochs=epochs,
        batch=32 * (1 + number % 4),
        seed=number,
        most=4 + number % 8,
    )


def _platform(deliverer: str) -> str:
    tenants = "\n".join(f"    - {{name: team-{number:02d}}}" for number in range(TENANTS))
    return PLATFORM.format(environment=ENVIRONMENT, tenants=tenants, deliverer=deliverer, image=_hex("image", 0))


def _release(number: int) -> str:
    return RELEASE.format(
        name=model_name(number),
        environment=ENVIRONMENT,
        short=_hex("run", number)[:10],
        train=_hex("train", number),
        export=_hex("export", number),
        bundle=_hex("bundle", number),
        image=_hex("image", 1),
        size=100_000 + number,
    )


def _hex(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind}-{number}".encode()).hexdigest()


PLATFORM = """\
apiVersion: aif.dev/v1alpha1
kind: Platform
metadata: {{name: fleet}}
spec:
  environments:
    - name: {environment}
      roles: [train, serve]
      cluster: {{context: fleet}}
      namespace: "{{tenant}}"
      deliverer: {deliverer}
      capabilities: {{argo-workflows: "4.1", metrics-server: "0.8"}}
      store: {{uri: "s3://fleet-models", credentials: store-credentials}}
  tracking: {{mlflow: "http://mlflow.aif-system:5000"}}
  images:
    pytorch: {{cpu: "registry.example/aif-pytorch@sha256:{image}"}}
    serve: "registry.example/aif-serve@sha256:{image}"
  tenants:
{tenants}
"""

MODEL = """\
apiVersion: aif.dev/v1alpha1
kind: Model
metadata: {{name: {name}, tenant: {tenant}}}
spec:
  task: classification
  datasets:
    - name: rows
      source: {{uri: "s3://fleet-data/{name}/rows.parquet", sha256: {sha}}}
      format: parquet
      features: {{inputs: {{type: tensor, columns: "x0..x63", shape: [8, 8]}}}}
      label: {{column: target, classes: 10}}
      split: {{train: 0.8, validation: 0.1, test: 0.1, seed: {seed}, by: {{stratify: target}}}}
      checks: {{min_rows: 1000, no_nulls: [target]}}
  code: {{path: src}}
  training:
    framework: pytorch
    model: net:build
    hyperparameters: {{learning_rate: {rate:.4f}}}
    epochs: {epochs}
    batch: {{global: {batch}}}
    seed: {seed}
    hardware: {{cpu: 2, memory: 4Gi}}
  evaluation: {{metrics: [accuracy, f1_macro], gate: {{accuracy: {{min: 0.9}}}}}}
  export:
    - {{name: onnx, format: onnx, opset: 18}}
  serving:
    export: onnx
    resources: {{cpu: 1, memory: 1Gi}}
    autoscaling: {{min: 2, max: {most}, metric: cpu, target: 70}}
"""

CODE = '''\
"""The network of {name}."""

from torch import nn


def build(params, signature):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, {width}), nn.ReLU(), nn.Linear({width}, signature.classes))
'''

RELEASE = """\
apiVersion: aif.dev/v1alpha1
kind: Release
metadata: {{name: {name}, environment: {environment}}}
stable:
  run: {name}-{short}
  train: {train}
  exports:
    onnx:
      uri: s3://fleet-models/steps/{export}
      sha256: {bundle}
      format: onnx
      size: {size}
  signature:
    task: classification
    inputs: [{{name: inputs, dtype: float32, shape: [8, 8]}}]
    outputs: [{{name: logits, dtype: float32, shape: [10]}}]
  image: registry.example/aif-serve@sha256:{image}
  evidence: {{metrics: {{accuracy: 0.97}}, gate: {{accuracy: {{min: 0.9}}}}}}
"""
