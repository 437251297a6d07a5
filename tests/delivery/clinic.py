"""A repository to examine: one model that trains on a GPU of a cluster, one on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aifctl.delivery import examining
from aifctl.delivery.clusters import Door
from aifctl.delivery.doctor.answer import Finding, Level
from aifctl.delivery.doctor.purpose import Purpose
from aifctl.delivery.examining import Examination, Patient
from aifctl.spec import load

PIN = "sha256:" + "1" * 64
FITTING = (
    "{name: nvidia-h100, resource: nvidia.com/gpu, per_node: [1, 8], tolerations: [{key: nvidia.com/gpu, operator: "
    "Exists}], node_selector: {aif.dev/accelerator: nvidia-h100}}"
)
"""The simulated nodes `gpu-0` and `gpu-1`."""
PLATFORM = """\
apiVersion: aif.dev/v1alpha1
kind: Platform
metadata: {{name: acme}}
spec:
  environments:
    - name: {environment}
      roles: [train]
      cluster: {{context: test}}
      namespace: "{namespace}"
      store: {{uri: "s3://models", credentials: s3-writer}}
      {more}
  images:
    custom: {{cpu: "registry.example/custom@{pin}", nvidia: "registry.example/custom@{pin}"}}
  hardware:
    - {hardware}
  tenants: [{{name: garden}}]
"""
MODEL = """\
apiVersion: aif.dev/v1alpha1
kind: Model
metadata: {name: iris, tenant: garden}
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
    hardware: {accelerator: nvidia-h100, per_node: 1}
  secrets: [{env: TOKEN, from: hub-token/token, steps: [train]}]
"""
ROWS = "length,width,species\n" + "".join(f"{n}.5,1.25,{'ab'[n % 2]}\n" for n in range(20))


def build(
    root: Path,
    environment: str = "lab",
    namespace: str = "{tenant}",
    hardware: Sequence[str] = (FITTING,),
    more: str = "",
) -> Path:
    """The repository, committed."""
    (root / "src").mkdir(parents=True)
    (root / "src/train.py").write_text("print('trained')\n")
    (root / "src/predict.py").write_text("def predict(folder, batch):\n    return {}\n")
    (root / "flowers.csv").write_text(ROWS)
    (root / "model.yaml").write_text(MODEL)
    filled = {"environment": environment, "namespace": namespace, "more": more, "pin": PIN}
    (root / "platform.yaml").write_text(PLATFORM.format(**filled, hardware="\n    - ".join(hardware)))
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def git(root: Path, *words: str) -> None:
    named = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *named, *words], cwd=root, check=True, capture_output=True)


def examined(
    root: Path,
    environment: str | None = None,
    kubeconfig: Path | None = None,
    purpose: Purpose | None = None,
    **door: Any,
) -> Examination:
    loaded = load.load([root])
    patient = Patient(
        root=root,
        store=root / ".aif",
        repository=loaded,
        environment=loaded.environment(environment) if environment is not None else None,
        purpose=purpose,
    )
    named = str(kubeconfig) if kubeconfig is not None else None
    return examining.examine(patient, Door(context="test", kubeconfig=named, **door))


def said(found: Examination, check: str) -> list[str]:
    """`level code: message` of one check's findings."""
    return [_said(finding) for finding in found.findings if finding.check == check]


def problems(found: Examination) -> list[str]:
    return [_said(finding) for finding in found.findings if finding.answer.level is Level.PROBLEM]


def hints(found: Examination, check: str) -> str:
    return "\n".join(finding.answer.hint for finding in found.findings if finding.check == check)


def _said(finding: Finding) -> str:
    answer = finding.answer
    return f"{answer.level}{f' {answer.code}' if answer.code else ''}: {answer.message}"
