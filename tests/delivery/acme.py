"""A small company: one model of wines, this machine, a cluster that trains and three that serve.

Their stores are folders, and a cluster's steps are run by the real entry, in this process, from the arguments that its
pods would get: what is promoted was really made.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aifctl import pipeline
from aifctl.contract import Site
from aifctl.delivery import local
from aifctl.ir import Run
from aifctl.runtime import entry, runs
from aifctl.runtime.execution import local_name, resolve, step_site
from aifctl.runtime.store import Store
from aifctl.spec import load
from aifctl.spec.load import Repository

DATA = Path(__file__).resolve().parents[2] / "examples/specs/wine-sklearn/data/wine.csv"
IMAGE = "registry.example/sklearn@sha256:" + 64 * "4"
SERVE_IMAGE = "registry.example/serve@sha256:" + 64 * "5"
COLUMNS = DATA.read_text().splitlines()[0].split(",")[:-1]
PLATFORM = """\
apiVersion: aif.dev/v1alpha1
kind: Platform
metadata: {{name: acme}}
spec:
  environments:
    - {{name: lab, roles: [train], cluster: {{context: lab}}, capabilities: {{argo-workflows: "4.1"}},
       store: {{uri: "file://{root}/stores/lab"}}}}
    - {{name: prod, roles: [serve], cluster: {{context: prod}}, namespace: "{{tenant}}-prod",
       store: {{uri: "file://{root}/stores/prod/"}}}}
    - {{name: near, roles: [serve], cluster: {{context: near}}, store: {{uri: "file://{root}/stores/lab"}}}}
    - {{name: edge, roles: [serve], cluster: {{context: edge}}}}
  images: {{custom: {{cpu: "{image}"}}, serve: "{serve}"}}
"""
SPEC = """\
apiVersion: aif.dev/v1alpha1
kind: Model
metadata: {{name: wine}}
spec:
  task: classification
  datasets:
    - name: wine
      source: {{path: data/wine.csv}}
      features: {{measurements: {{type: tensor, columns: [{columns}]}}}}
      label: {{column: cultivar, names: [barolo, grignolino, barbera]}}
      split: {{train: 0.7, validation: 0.1, test: 0.2, seed: 3, by: {{stratify: cultivar}}}}
  code: {{path: src}}
  training:
    framework: custom
    custom: {{command: [python, train.py], produces: model.npz, predict: "predict:predict"}}
    hyperparameters: {{C: {strength}}}
  evaluation: {{gate: {{accuracy: {{min: {gate}}}}}, compare_with: champion}}
  export: [{{name: linear, format: custom}}]
  serving: {{export: linear, batching: {{max: 16, delay: 5ms}}}}
  monitoring: {{alerts: {{low_confidence: 0.6}}}}
"""
TRAIN = """\
import json, os
from pathlib import Path
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

data = Path(os.environ["AIF_DATA_WINE"])
table = pd.read_parquet(data / "table.parquet").iloc[np.load(data / "split.npz")["train"]]
rows, label = table.drop(columns="cultivar").to_numpy("float64"), table["cultivar"]
mean, deviation = rows.mean(0), rows.std(0)
model = LogisticRegression(C=json.loads(os.environ["AIF_PARAMS"])["C"]).fit((rows - mean) / deviation, label)
path = Path(os.environ["AIF_MODEL_DIR"], "model.npz")
np.savez(path, coef=model.coef_, intercept=model.intercept_, mean=mean, deviation=deviation)
"""
PREDICT = """\
import numpy as np


def predict(model_dir, batch):
    with np.load(model_dir / "model.npz") as model:
        rows = (batch["measurements"] - model["mean"]) / model["deviation"]
        return {"logits": rows @ model["coef"].T + model["intercept"]}
"""
GOOD, WORSE = 0.5, 0.00001
"""Inverse strengths of regularisation: the second makes a model that hardly tells wines apart."""


@dataclass(frozen=True)
class Acme:
    root: Path

    @classmethod
    def founded(cls, root: Path) -> Acme:
        company = cls(root)
        (root / "data").mkdir(parents=True)
        shutil.copy(DATA, root / "data/wine.csv")
        (root / "src").mkdir()
        (root / "src/train.py").write_text(TRAIN)
        (root / "src/predict.py").write_text(PREDICT)
        (root / "platform.yaml").write_text(PLATFORM.format(root=root, image=IMAGE, serve=SERVE_IMAGE))
        company.spec()
        return company

    def moved(self, root: Path) -> Acme:
        """A copy elsewhere, with its stores: what a test does to it stays in the test."""
        shutil.copytree(self.root, root)
        other = Acme(root)
        other.edit(str(self.root), str(root), "platform.yaml")
        return other

    def spec(self, strength: float = GOOD, gate: float = 0.3, columns: list[str] = COLUMNS) -> Acme:
        text = SPEC.format(strength=f"{strength:f}", gate=gate, columns=", ".join(columns))
        (self.root / "model.yaml").write_text(text)
        return self

    def edit(self, old: str, new: str, file: str = "model.yaml") -> Acme:
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return self

    def load(self) -> Repository:
        return load.load([self.root])

    def release(self, environment: str) -> Path:
        return self.root / "releases" / environment / "wine.yaml"

    @property
    def here(self) -> Store:
        return Store(self.root / ".aif")

    @property
    def lab(self) -> Store:
        return Store(f"file://{self.root}/stores/lab")

    def run_here(self, *assignments: str, state: str = "done") -> str:
        """A run of this machine, recorded as the executor records it; its name."""
        prepared = local.prepare(self.load(), local.Request(assignments=assignments, tracking=False), "wine")
        name = local_name(prepared.run)
        about = runs.About(model="wine", root=self.root)
        recorder = runs.begin(self.here, name, about, [step.spec for step in prepared.run.steps])
        if state == "done":
            self._steps(prepared.run, step_site(prepared.site, name, "a1"))
        recorder.save(state=state)
        return name

    def run_in_lab(self) -> str:
        """The run that the lab's Workflow would make; its name."""
        loaded = self.load()
        compiled = pipeline.compile_environment(loaded, loaded.environment("lab"))
        assert not compiled.diagnostics
        (model,) = compiled.models
        assert model.bundle.run is not None
        site = Site(
            store=str(model.bundle.target.store),
            run=model.bundle.run.name,
            code=str(self.root / "src"),
            data=str(self.root),
        )
        self._steps(model.bundle.run, site)
        return model.bundle.run.name

    def _steps(self, run: Run, site: Site) -> None:
        digests = {step.name: step.spec.digest for step in run.steps}
        for step in run.steps:
            digests[step.name] = entry.execute(resolve(step.spec, digests), site).digest

    def tamper(self, store: Store, changes: dict[str, Any]) -> None:
        """Rewrites the one registration of a store, as someone might who can write there but can't run steps."""
        assert store.local is not None
        (path,) = store.local.glob("steps/*/attempts/*/registration.json")
        facts = json.loads(path.read_text())
        for place, value in changes.items():
            here, *rest = place.split("/")
            target = facts
            for step in rest:
                target, here = target[here], step
            target[here] = value
        path.write_text(json.dumps(facts))
        manifest = path.parents[2] / "manifest.json"
        known = json.loads(manifest.read_text())
        data = path.read_bytes()
        known["files"]["registration.json"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        manifest.write_text(json.dumps(known))
