"""The steps of a run: prepare, the user's own, train, evaluate, gate, export and verify a target, register.

Each is built of its parts (identity), its configuration (contract) and what it reads; digests chain in this order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aifctl import contract, ir
from aifctl.contract import Kind, StepSpec
from aifctl.lowering import identity, placement
from aifctl.lowering.placement import Place
from aifctl.spec.columns import expand
from aifctl.spec.models.dataset import Dataset, Label
from aifctl.spec.models.hardware import Hardware
from aifctl.spec.models.serving import Export
from aifctl.spec.models.training import OwnStep

DEFAULT_METRICS = {
    "classification": ("accuracy", "f1_macro", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}
"""What is measured where the spec does not say."""
DEFAULT_PARITY = {"onnx": (1e-3, 1e-4), "savedmodel": (1e-4, 1e-5), "custom": (1e-6, 1e-6)}
"""(rtol, atol) by format: what faithful exports of small networks stay within, fp32 on the CPU."""
DEFAULT_DROP = 0.005
QUANTIZED_DROP = 0.02
DEFAULT_OPSET = 18
FORMAT_BY_SUFFIX = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".npz": "npz", ".tfrecord": "tfrecord"}
MINIMIZED = re.compile(r"loss|error|mse|rmse|mae|perplexity")
_PACKAGE = re.compile(r"^[A-Za-z0-9._-]+")


def lower(place: Place, sample: int | None) -> tuple[ir.Step, ...]:
    """Steps in an order in which each comes after what it reads."""
    line = _Line(place, sample)
    spec = place.unit.spec
    waiting: list[Dataset | OwnStep] = [*spec.datasets, *spec.steps]
    while waiting:
        ready = [each for each in waiting if all(name in line.digests for name in line.reads(each))]
        if not ready:
            raise ValueError("steps read each other in a circle")  # a check reports it before lowering
        for each in ready:
            line.add_prepare(each) if isinstance(each, Dataset) else line.add_own(each)
            waiting.remove(each)
    line.add_train()
    line.add_evaluate()
    for export in spec.export:
        line.add_export(export)
    line.add_register()
    return tuple(line.steps)


def prepare_name(place: Place, dataset: str) -> str:
    """`prepare` of the dataset that is trained on: a name is in the digests below, and one more dataset moves none."""
    main = place.unit.spec.main_dataset
    return "prepare" if main is not None and main.name == dataset else f"prepare-{dataset}"


def dataset_format(dataset: Dataset) -> str:
    """The given format, else the file ending's, else parquet (what own steps and functions hand over)."""
    if dataset.format is not None:
        return dataset.format
    endings = (end for end in FORMAT_BY_SUFFIX if dataset.source.value.endswith(end))
    return FORMAT_BY_SUFFIX.get(next(endings, ""), "parquet")


def metrics_of(place: Place) -> tuple[str, ...]:
    spec = place.unit.spec
    given = spec.evaluation.metrics
    return given if given is not None else DEFAULT_METRICS.get(spec.task, ())


def parity_of(export: Export) -> dict[str, float]:
    rtol, atol = DEFAULT_PARITY.get(export.format, (1e-3, 1e-4))
    drop = DEFAULT_DROP if export.quantize is None else QUANTIZED_DROP
    given = export.parity
    return {
        "rtol": rtol if given.rtol is None else given.rtol,
        "atol": atol if given.atol is None else given.atol,
        "max_metric_drop": drop if given.max_metric_drop is None else given.max_metric_drop,
    }


def requirements_of(place: Place) -> dict[str, str]:
    """Package → locked line with hashes; the requirement as written where nothing is locked (laptops)."""
    unit = place.unit
    if unit.lock is not None and unit.lock.requirements is not None:
        lines: tuple[str, ...] = unit.lock.requirements.packages
    else:
        lines = unit.facts.requirements.lines if unit.facts.requirements is not None else ()
    named: dict[str, list[str]] = {}
    for line in lines:
        match = _PACKAGE.match(line)
        # One package may stand on several lines, with markers.
        named.setdefault(match.group().lower() if match else line, []).append(line)
    return {package: "\n".join(sorted(same)) for package, same in named.items()}


def pin_of(place: Place, dataset: Dataset) -> str | None:
    """What the data is pinned to, `sha256:…` or `version:…`; None where it is meant to change."""
    source = dataset.source
    if not dataset.pinned:
        return None
    if source.sha256 is not None:
        return f"sha256:{source.sha256}"
    for name in ("version", "snapshot"):
        if getattr(source, name) is not None:
            return f"version:{getattr(source, name)}"
    locked = place.unit.lock.datasets.get(dataset.name) if place.unit.lock is not None else None
    if locked is not None:
        return locked.pin
    fact = place.unit.facts.data.get(dataset.name)
    return f"sha256:{fact.sha256}" if fact is not None and fact.sha256 is not None else None


@dataclass(slots=True)
class _Line:
    """Steps built so far, with their digests by name."""

    place: Place
    sample: int | None
    steps: list[ir.Step] = field(default_factory=list)
    digests: dict[str, str | None] = field(default_factory=dict)

    def reads(self, each: Dataset | OwnStep) -> list[str]:
        """Names of the steps that come before this one."""
        if isinstance(each, Dataset):
            return [each.source.value.partition(".")[0]] if each.source.kind == "step" else []
        return [self._producer(value) for value in each.inputs.values()]

    def add_prepare(self, dataset: Dataset) -> None:
        spec, source, pin = self.place.unit.spec, dataset.source, pin_of(self.place, dataset)
        inputs = {name: self.digests[name] for name in self.reads(dataset)}
        # A step's output is pinned by its digest; a function's rows by its code, where they are not meant to change.
        if source.kind != "step" and (source.kind != "call" or pin is not None or not dataset.pinned):
            inputs[f"data:{dataset.name}"] = pin
        config = contract.PrepareConfig(
            dataset=dataset.name,
            task=spec.task,
            source=contract.Source(kind=source.kind, value=source.value, arguments=dict(source.arguments)),
            format=dataset_format(dataset),
            features=tuple(
                contract.Feature(
                    name=name,
                    type=feature.type,
                    columns=expand(feature.columns, name),
                    dtype=feature.dtype,
                    shape=feature.shape or (),
                    values=feature.values or None,
                )
                for name, feature in dataset.features.items()
            ),
            label=_label(dataset.label),
            split=contract.Split(
                fractions=dataset.split.shares,
                seed=dataset.split.seed,
                **(dataset.split.by.model_dump() if dataset.split.by is not None else {}),
            ),
            checks=contract.DataChecks(
                **{
                    **dataset.checks.model_dump(exclude={"ranges"}),
                    "ranges": {name: (each.min, each.max) for name, each in dataset.checks.ranges.items()},
                }
            ),
            sample=self.sample,
        )
        hardware = dataset.hardware or Hardware()
        read = identity.Read(format=config.format, sample=self.sample, pin=pin)
        parts = identity.prepare(dataset, spec.task, read, self._software(hardware))
        name, calls = prepare_name(self.place, dataset.name), source.kind == "call"
        self._add(_Work(Kind.PREPARE, name, parts, config, inputs, user_code=calls), hardware)

    def add_own(self, step: OwnStep) -> None:
        inputs = {name: self.digests[name] for name in self.reads(step)}
        config = contract.CustomConfig(
            call=step.call,
            inputs={name: value if "." in value else self._producer(value) for name, value in step.inputs.items()},
            outputs=dict(step.outputs),
            params=dict(step.params),
        )
        parts = identity.custom(step, self._software(step.hardware))
        self._add(_Work(Kind.CUSTOM, step.name, parts, config, inputs, user_code=True), step.hardware)

    def add_train(self) -> None:
        spec = self.place.unit.spec
        training, custom = spec.training, spec.training.custom
        select = training.checkpoint.select
        goal = (select.goal or _goal(select.best)) if select is not None else None
        config = contract.TrainConfig(
            task=spec.task,
            framework=training.framework,
            dataset=self._main,
            model=training.model,
            loop=training.loop,
            params=dict(training.hyperparameters),
            epochs=training.epochs,
            batch=training.batch.global_,
            seed=training.seed,
            precision=training.precision,
            checkpoint=contract.Checkpoint(
                every=training.checkpoint.every,
                keep=training.checkpoint.keep,
                best=select.best if select is not None else None,
                goal=goal or "minimize",
            ),
            preprocessing=self._preprocessing(),
            custom=contract.CustomTraining(**custom.model_dump()) if custom is not None else None,
            start_from=training.start_from.model_dump(mode="json", exclude_none=True) if training.start_from else None,
        )
        resolved = identity.Training(
            accelerator=self.place.device_identity(training.hardware),
            world_size=self.place.world_size(training.hardware),
            goal=goal,
        )
        parts = identity.train(spec, resolved, self._software(training.hardware))
        # A command is told where every dataset lies; a `build` or `fit` gets the one that is trained on.
        read = [self._prepare] if custom is None else [s.name for s in self.steps if s.spec.kind is Kind.PREPARE]
        self._add(_Work(Kind.TRAIN, "train", parts, config, self._of(*read), user_code=True), training.hardware)

    def add_evaluate(self) -> None:
        spec = self.place.unit.spec
        metrics = metrics_of(self.place)
        config = contract.EvaluateConfig(
            task=spec.task, dataset=self._main, split=spec.evaluation.split, metrics=metrics
        )
        work = _Work(
            Kind.EVALUATE,
            "evaluate",
            identity.evaluate(spec, metrics, self._other_image(spec.evaluation.hardware)),
            config,
            self._of("train", self._prepare),
            user_code=True,
        )
        self._add(work, spec.evaluation.hardware)
        if spec.evaluation.gate:
            bounds = {name: bound.model_dump(exclude_none=True) for name, bound in spec.evaluation.gate.items()}
            self._add(
                _Work(Kind.GATE, "gate", identity.gate(spec), contract.GateConfig(bounds=bounds), self._of("evaluate")),
                Hardware(),
            )

    def add_export(self, export: Export) -> None:
        spec = self.place.unit.spec
        opset = export.opset or DEFAULT_OPSET if export.format == "onnx" else None
        name, verify = f"export-{export.name}", f"verify-{export.name}"
        config = contract.ExportConfig(
            name=export.name,
            format=export.format,
            framework=spec.training.framework,
            dataset=self._main,
            opset=opset,
            quantize=export.quantize,
            serve=spec.preprocessing.serve if spec.preprocessing is not None else None,
        )
        after = self._of(*(["gate"] if "gate" in self.digests else []))
        work = _Work(
            Kind.EXPORT,
            name,
            identity.export(export, config.serve, opset, self._other_image(export.hardware)),
            config,
            self._of("train", self._prepare),
            after,
            user_code=True,
        )
        self._add(work, export.hardware)
        metrics, parity = metrics_of(self.place), parity_of(export)
        held = contract.VerifyConfig(
            export=export.name,
            task=spec.task,
            dataset=self._main,
            split=spec.evaluation.split,
            metrics=metrics,
            quantized=export.quantize is not None,
            **parity,
        )
        parts = identity.verify(spec, metrics, parity, self._other_image(export.hardware))
        inputs = self._of(name, "train", self._prepare)
        self._add(_Work(Kind.VERIFY, verify, parts, held, inputs, user_code=True), export.hardware)

    def add_register(self) -> None:
        spec = self.place.unit.spec
        name = spec.registry.name or self.place.unit.name
        exports = tuple(export.name for export in spec.export)
        inputs = self._of("train", *(f"export-{export}" for export in exports))
        needs = self._of(
            "evaluate", *(["gate"] if "gate" in self.digests else []), *(f"verify-{export}" for export in exports)
        )
        config = contract.RegisterConfig(name=name, exports=exports, description=spec.registry.description)
        parts = identity.register(name, spec.registry.description)
        self._add(_Work(Kind.REGISTER, "register", parts, config, inputs, needs), Hardware())

    @property
    def _main(self) -> str:
        dataset = self.place.unit.spec.main_dataset
        assert dataset is not None  # a check reports an unclear dataset before lowering
        return dataset.name

    @property
    def _prepare(self) -> str:
        return prepare_name(self.place, self._main)

    def _producer(self, value: str) -> str:
        """The step that makes what an own step's input names: a dataset, or `step.output`."""
        return value.partition(".")[0] if "." in value else prepare_name(self.place, value)

    def _of(self, *names: str) -> dict[str, str | None]:
        return {name: self.digests[name] for name in names}

    def _code_files(self) -> dict[str, str]:
        code = self.place.unit.facts.code
        if code is None or code.digest is None:
            return {}
        return code.files if len(code.files) <= identity.MANY_FILES else {"*": code.digest}

    def _software(self, hardware: Hardware) -> identity.Software:
        environment = identity.environment(self._image(hardware), requirements_of(self.place))
        return identity.Software(code=self._code_files(), environment=environment)

    def _image(self, hardware: Hardware) -> str | None:
        """Of a step with user code."""
        return self.place.image(self.place.accelerator(hardware.accelerator, hardware.per_node), True)

    def _other_image(self, hardware: Hardware) -> str | None:
        """By its digest; None where it is the one that trains."""
        images = [self._image(each) for each in (hardware, self.place.unit.spec.training.hardware)]
        own, trains = (identity.environment(image, {})["image"] for image in images)
        return str(own) if own is not None and own != trains else None

    def _preprocessing(self) -> contract.Preprocessing | None:
        given = self.place.unit.spec.preprocessing
        return contract.Preprocessing(cls=given.class_, serve=given.serve) if given is not None else None

    def _add(self, work: _Work, hardware: Hardware) -> None:
        unit = self.place.unit
        variables = self.place.variables(*work.names)
        parts = (
            {**work.parts, **identity.variables({v.name: v.value for v in variables})} if work.user_code else work.parts
        )
        own = identity.own(parts)
        digest = contract.step_digest(work.kind, own, work.inputs)
        accelerator = self.place.accelerator(hardware.accelerator, hardware.per_node)
        code = unit.facts.code.digest if work.user_code and unit.facts.code is not None else None
        spec = StepSpec(
            name=work.name,
            kind=work.kind,
            model=unit.name,
            tenant=unit.model.metadata.tenant,
            own=own,
            inputs=work.inputs,
            needs=work.needs,
            digest=digest,
            code=code,
            config=contract.plain(work.config),
        )
        self.digests[work.name] = digest
        self.steps.append(
            ir.Step(
                spec=spec,
                parts=identity.shown(parts),
                image=self.place.image(accelerator, work.user_code),
                resources=placement.resources(work.kind.value, hardware),
                accelerator=accelerator,
                nodes=hardware.nodes if not self.place.local else 1,
                variables=variables,
                secrets=self.place.secrets(*work.names),
                timeout=hardware.timeout,
            )
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """One step before it is placed."""

    kind: Kind
    name: str
    parts: identity.Parts
    config: Any
    inputs: Mapping[str, str | None]
    needs: Mapping[str, str | None] = field(default_factory=dict)
    user_code: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What `env` and `secrets` may call it by."""
        dataset = (f"prepare-{self.config.dataset}",) if self.kind is Kind.PREPARE else ()
        return (self.name, self.kind.value, *dataset)


def _label(label: Label | None) -> contract.Label | None:
    if label is None:
        return None
    return contract.Label(column=label.column, classes=label.classes, names=label.names or None)


def _goal(metric: str) -> str:
    return "minimize" if MINIMIZED.search(metric) else "maximize"
