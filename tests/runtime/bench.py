"""A store, a folder of real rows and one of code: makes steps with true digests and runs them as `entry` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aifctl import contract, digest
from aifctl.contract import Kind, Site, StepSpec
from aifctl.runtime import entry
from aifctl.runtime.store import Published, Store

PIXELS = [f"p{i}" for i in range(64)]
TRAIN = '''"""Trains scikit-learn's logistic regression on a prepared dataset."""
import json, os
from pathlib import Path
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

data = Path(os.environ["AIF_DATA_DIGITS"])
table = pd.read_parquet(data / "table.parquet").iloc[np.load(data / "split.npz")["train"]]
pixels = table[[f"p{i}" for i in range(64)]].to_numpy("float64") / 16
model = LogisticRegression(max_iter=json.loads(os.environ["AIF_PARAMS"])["max_iter"]).fit(pixels, table["digit"])
np.savez(Path(os.environ["AIF_MODEL_DIR"]) / "model.npz", coef=model.coef_, intercept=model.intercept_)
'''
PREDICT = '''"""Predicts with what train.py left."""
import numpy as np


def predict(model_dir, batch):
    with np.load(model_dir / "model.npz") as model:
        pixels = batch["pixels"].reshape(-1, 64) / 16
        return {"logits": pixels @ model["coef"].T + model["intercept"]}
'''


@dataclass
class Bench:
    """A store, a data folder and a code folder; makes steps with true digests and runs them in this process."""

    root: Path
    site: Site
    specs: dict[str, StepSpec] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.site.store)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def code(self) -> Path:
        return self.root / "code"

    def write_code(self, name: str, text: str) -> None:
        path = self.code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def step(
        self, kind: Kind, config: Any, inputs: Mapping[str, str | None], needs: Mapping[str, str | None] | None = None
    ) -> StepSpec:
        values = config if isinstance(config, dict) else asdict(config)
        values = contract.json.loads(digest.canonical_json(values))
        own = digest.of_value(values)
        uses_code = kind in (Kind.CUSTOM, Kind.TRAIN) or any(self.code.glob("*"))
        return StepSpec(
            name=str(kind),
            kind=kind,
            model="digits",
            tenant="vision",
            own=own,
            inputs=dict(inputs),
            needs=dict(needs or {}),
            digest=contract.step_digest(kind, own, inputs),
            code=digest.of_tree(self.code) if uses_code else None,
            config=values,
        )

    def run(self, spec: StepSpec) -> Published:
        """Runs it through its own JSON form, as a process would get it."""
        result = entry.execute(contract.decode(contract.encode(spec)), self.site)
        assert result.digest is not None
        published = self.store.find(result.digest)
        assert published is not None
        return published

    def main(self, spec: StepSpec, **site: str) -> int:
        return entry.main(contract.to_arguments(spec, replace(self.site, **site)))

    def pin(self, name: str = "digits.csv") -> str:
        return f"sha256:{digest.of_file(self.data / name)}"

    def prepare(self, **changes: Any) -> Published:
        """The digits, prepared; `changes` are of the config."""
        config = {**asdict(DIGITS), **changes}
        return self.run(self.step(Kind.PREPARE, config, {"data:digits": self.pin(config["source"]["value"])}))

    def train(self, prepared: Published, **params: Any) -> Published:
        """scikit-learn on the prepared digits, by the custom framework."""
        self.write_code("train.py", TRAIN)
        self.write_code("predict.py", PREDICT)
        custom = contract.CustomTraining(
            command=("python", "train.py"), produces="model.npz", predict="predict:predict"
        )
        config = contract.TrainConfig(
            task="classification",
            framework="custom",
            dataset="digits",
            model=None,
            params={"max_iter": 200, **params},
            custom=custom,
        )
        return self.run(self.step(Kind.TRAIN, config, {"prepare": prepared.digest}))


DIGITS = contract.PrepareConfig(
    dataset="digits",
    task="classification",
    source=contract.Source(kind="path", value="digits.csv"),
    format="csv",
    features=(contract.Feature(name="pixels", type="tensor", columns=tuple(PIXELS), shape=(8, 8)),),
    label=contract.Label(column="digit", classes=10),
    split=contract.Split(fractions={"train": 0.8, "validation": 0.1, "test": 0.1}, seed=7, stratify="digit"),
    checks=contract.DataChecks(min_rows=1000, no_nulls=("digit",)),
)
