"""Runs prepare, train, export and verify in this process, the way a run chains them, in a store of the test's own."""

from __future__ import annotations

import hashlib
import textwrap
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from aifctl import contract, digest
from aifctl.contract import Kind, Site, StepSpec
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import entry
from aifctl.runtime.entry import Result
from aifctl.runtime.store import Published, Store

EXAMPLES = Path(__file__).parents[2] / "examples" / "specs"
PIXELS = contract.Feature(name="pixels", type="tensor", columns=tuple(f"p{i}" for i in range(64)), shape=(8, 8))
SPLIT = contract.Split(fractions={"train": 0.8, "validation": 0.1, "test": 0.1}, seed=7, stratify="digit")


@dataclass(kw_only=True)
class Chain:
    """One model's steps over one dataset. `code` is the folder of its user code."""

    root: Path
    code: Path
    prepare: contract.PrepareConfig
    data: Path
    steps: dict[str, StepSpec] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    device: str = "cpu"
    tracking: str | None = None

    @property
    def store(self) -> Store:
        return Store(self.root / "store")

    @property
    def site(self) -> Site:
        events = str(self.root / "events.jsonl")
        return Site(
            store=str(self.root / "store"),
            run="local-test",
            code=str(self.code),
            data=str(self.data),
            events=events,
            device=self.device,
            tracking=self.tracking,
        )

    def step(self, kind: Kind, name: str, config: Any, reads: tuple[str, ...] = ()) -> StepSpec:
        values = asdict(config)
        own = digest.of_value({"config": values, "code": digest.of_tree(self.code)})
        inputs: dict[str, str | None] = {read: self.steps[read].digest for read in reads}
        if kind is Kind.PREPARE:
            source = self.data / config.source.value
            inputs = {f"data:{config.dataset}": f"sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}"}
        spec = StepSpec(
            name=name,
            kind=kind,
            model="test",
            tenant="test",
            own=own,
            inputs=inputs,
            digest=contract.step_digest(kind, own, inputs),
            config=values,
        )
        self.steps[name] = spec
        return spec

    def run(self, spec: StepSpec) -> Result:
        return entry.execute(spec, self.site, stop=self.stop)

    def published(self, name: str) -> Published:
        found = self.store.find(str(self.steps[name].digest))
        assert found is not None, f"{name} was not published"
        return found

    def prepared(self) -> Chain:
        self.run(self.step(Kind.PREPARE, "prepare", self.prepare))
        return self

    def train(self, config: contract.TrainConfig) -> Result:
        return self.run(self.step(Kind.TRAIN, "train", config, ("prepare",)))

    def export(self, name: str, format: str, framework: str, **more: Any) -> Result:
        config = contract.ExportConfig(
            name=name, format=format, framework=framework, dataset=self.prepare.dataset, **more
        )
        return self.run(self.step(Kind.EXPORT, f"export-{name}", config, ("train", "prepare")))

    def verify(self, name: str, **more: Any) -> Result:
        return self.run(self.verify_step(name, **more))

    def verify_step(self, name: str, **more: Any) -> StepSpec:
        defaults: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4, "max_metric_drop": 0.0, "metrics": ("accuracy",)}
        config = contract.VerifyConfig(
            export=name, task=self.prepare.task, dataset=self.prepare.dataset, split="test", **{**defaults, **more}
        )
        return self.step(Kind.VERIFY, f"verify-{name}", config, (f"export-{name}", "train", "prepare"))


def digits(root: Path, example: str, code: Path | None = None) -> Chain:
    folder = EXAMPLES / example
    prepare = contract.PrepareConfig(
        dataset="digits",
        task="classification",
        source=contract.Source(kind="path", value="data/digits.csv"),
        format="csv",
        features=(PIXELS,),
        label=contract.Label(column="digit", classes=10),
        split=SPLIT,
    )
    return Chain(root=root, code=code or folder / "src", prepare=prepare, data=folder)


def tensor(name: str, columns: str, shape: tuple[int, ...] = ()) -> contract.Feature:
    return contract.Feature(name=name, type="tensor", columns=tuple(columns.split()), shape=shape)


def training(framework: str, dataset: str, model: str | None, **more: Any) -> contract.TrainConfig:
    return contract.TrainConfig(task="classification", framework=framework, dataset=dataset, model=model, **more)


def iris(root: Path, code: Path | None = None) -> Chain:
    folder = EXAMPLES / "minimal"
    prepare = contract.PrepareConfig(
        dataset="iris",
        task="classification",
        source=contract.Source(kind="path", value="data/iris.csv"),
        format="csv",
        features=(tensor("measurements", "sepal_length sepal_width petal_length petal_width"),),
        label=contract.Label(column="species"),
        split=contract.Split(fractions={"train": 0.8, "validation": 0.1, "test": 0.1}, stratify="species"),
    )
    return Chain(root=root, code=code or folder / "src", prepare=prepare, data=folder)


WINE = (
    "alcohol malic_acid ash alcalinity_of_ash magnesium total_phenols flavanoids nonflavanoid_phenols "
    "proanthocyanins color_intensity hue od280_od315_of_diluted_wines proline"
)


def wine(root: Path, code: Path | None = None) -> Chain:
    folder = EXAMPLES / "wine-sklearn"
    prepare = contract.PrepareConfig(
        dataset="wine",
        task="classification",
        source=contract.Source(kind="path", value="data/wine.csv"),
        format="csv",
        features=(tensor("measurements", WINE),),
        label=contract.Label(column="cultivar", names=("barolo", "grignolino", "barbera")),
        split=contract.Split(fractions={"train": 0.7, "validation": 0.1, "test": 0.2}, seed=3, stratify="cultivar"),
    )
    return Chain(root=root, code=code or folder / "src", prepare=prepare, data=folder)


def alcohol(root: Path, code: Path) -> Chain:
    """A regression: the wine's alcohol from two other columns."""
    chain = wine(root, code)
    features = (tensor("phenols", "total_phenols flavanoids"), tensor("colour", "color_intensity"))
    label = contract.Label(column="alcohol")
    split = contract.Split(fractions={"train": 0.7, "validation": 0.1, "test": 0.2}, seed=3)
    chain.prepare = replace(chain.prepare, task="regression", features=features, label=label, split=split)
    return chain


def coin(root: Path, code: Path, rows: int = 80) -> Chain:
    """Two classes told apart by one number: whether `x` is above zero."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"{(number * 37 % rows) / rows - 0.49:.4f}" for number in range(rows)]
    text = "".join(f"{x},{'heads' if float(x) > 0 else 'tails'}\n" for x in lines)
    (root / "coin.csv").write_text(f"x,side\n{text}")
    prepare = contract.PrepareConfig(
        dataset="coin",
        task="classification",
        source=contract.Source(kind="path", value="coin.csv"),
        format="csv",
        features=(tensor("x", "x", (1,)),),
        label=contract.Label(column="side"),
        split=contract.Split(fractions={"train": 0.8, "validation": 0.1, "test": 0.1}, stratify="side"),
    )
    return Chain(root=root, code=code, prepare=prepare, data=root)


def write_code(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def refused(call: Callable[[], Any]) -> tuple[Diagnostic, ...]:
    """What the call is refused with."""
    with pytest.raises(Report) as info:
        call()
    return info.value.diagnostics
