"""Which field of a spec moves the digest of which step: a decision for every field there is, in one table.

A row says what a change of the field is in itself about (`touched`); the steps below follow by the chain, which is
tested once. A field that is added to the models and not to the table fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from aifctl import contract
from aifctl.checks import Subject, unbuilt
from aifctl.diagnostics import Severity
from aifctl.lowering import Options
from aifctl.spec.models.model import ModelSpec
from tests.lowering.units import (
    COMMIT,
    GONE,
    HERE,
    PLATFORM,
    SHA,
    SPEC,
    Around,
    bundle,
    edited,
    moved,
    platform_of,
    steps,
    unit,
)
from tests.lowering.units import touched as touched_steps

NOTHING: frozenset[str] = frozenset()
RAW = frozenset({"prepare-raw"})
OWN = frozenset({"featurise"})
TRAIN = frozenset({"train"})
EVALUATE = frozenset({"evaluate"})
GATE = frozenset({"gate"})
VERIFY = frozenset({"verify-onnx", "verify-int8"})
ONNX = frozenset({"export-onnx", "verify-onnx"})
INT8 = frozenset({"export-int8", "verify-int8"})
REGISTER = frozenset({"register"})
MEASURED = EVALUATE | VERIFY
USER = OWN | TRAIN
"""Steps that run user code, with the image and the requirements that it needs."""
OTHER_IMAGE = EVALUATE | ONNX | INT8
"""Steps after training name their image where it is not the training's."""


@dataclass(frozen=True, slots=True)
class Row:
    """`to`: the change, by path; `base`: what is different from SPEC on both sides; `loose`: the configuration may
    differ although the digest does not, and why."""

    touches: frozenset[str]
    to: Mapping[str, Any]
    base: Mapping[str, Any] = field(default_factory=dict)
    loose: str = ""


L4 = {"hardware": {"accelerator": "nvidia-l4"}}
URI = {"datasets.0.source": {"uri": "s3://a/raw.csv", "sha256": SHA["raw"]}}
VERSION = {"datasets.0.source": {"uri": "s3://a/raw.csv", "version": "3"}}
TABLE = {"datasets.0.source": {"table": "a.raw", "snapshot": "8"}}
CALL = {"datasets.0.source": {"call": "digits.data:read", "arguments": {"year": 2025}}}
HF = {"training.start_from": {"hf": "org/m", "revision": COMMIT}}
REGISTERED = {"training.start_from": {"name": "digits", "version": 3}}
PROGRAM = {
    "training.framework": "custom",
    "training.model": GONE,
    "training.loop": GONE,
    "training.custom": {"command": ["python", "train.py"], "produces": "model.bin", "predict": "p:predict"},
}
TUNING = {
    "tuning": {
        "trials": 9,
        "objective": {"metric": "accuracy", "goal": "maximize"},
        "search": {"learning_rate": {"uniform": [0.1, 0.2]}},
    }
}


def _hardware(stage: str, accelerator: Row, per_node: Row, nodes: Row) -> dict[str, Row]:
    """A stage's devices as these rows say; everything else of its hardware moves nothing."""
    leaf = ".".join(step for step in stage.split(".") if not step.isdigit())
    at = f"{stage}.hardware"
    rest = {"cpu": 7, "memory": "77Gi", "spot": True, "timeout": "7h"}
    return {
        f"{leaf}.hardware.accelerator": accelerator,
        f"{leaf}.hardware.per_node": per_node,
        f"{leaf}.hardware.nodes": nodes,
        **{f"{leaf}.hardware.{name}": Row(NOTHING, {f"{at}.{name}": value}) for name, value in rest.items()},
    }


def _own_hardware(stage: str, image: frozenset[str]) -> dict[str, Row]:
    """Of a stage that does not train: only the image that comes with an accelerator counts, not how many devices."""
    at = f"{stage}.hardware"
    many = {f"{at}.accelerator": "nvidia-l4"}
    return _hardware(
        stage,
        Row(image, {f"{at}.accelerator": "nvidia-l4"}),
        Row(NOTHING, {f"{at}.per_node": 2}, many),
        Row(NOTHING, {f"{at}.nodes": 2}, many),
    )


def _nothing(**values: Any) -> dict[str, Row]:
    """Fields that move nothing, by path with `__` for points; a number on the way is a place in a list."""
    paths = {name.replace("__", "."): value for name, value in values.items()}
    leaf = {path: ".".join(step for step in path.split(".") if not step.isdigit()) for path in paths}
    return {leaf[path]: Row(NOTHING, {path: value}) for path, value in paths.items()}


FIELDS: dict[str, Row] = {
    "task": Row(frozenset({"prepare-raw", "prepare", "train"}), {"task": "regression"}),
    # datasets
    "datasets.name": Row(RAW | OWN | {"prepare-rows"}, {"datasets.0.name": "rows", "steps.0.inputs.rows": "rows"}),
    "datasets.source.path": Row(NOTHING, {"datasets.0.source.path": "other/raw.csv"}, loose="the same bytes elsewhere"),
    "datasets.source.uri": Row(NOTHING, {"datasets.0.source.uri": "gs://b/raw.csv"}, URI, "the same bytes elsewhere"),
    "datasets.source.table": Row(RAW, {"datasets.0.source.table": "b.raw"}, TABLE),
    "datasets.source.sql": Row(
        RAW, {"datasets.0.source.sql": "select 2"}, {"datasets.0.source": {"sql": "x", "snapshot": "8"}}
    ),
    "datasets.source.call": Row(RAW, {"datasets.0.source.call": "digits.data:other"}, CALL),
    "datasets.source.step": Row(frozenset({"prepare"}), {"datasets.1.source.step": "featurise.more"}),
    "datasets.source.sha256": Row(RAW, {"datasets.0.source.sha256": SHA["other"]}, URI),
    "datasets.source.version": Row(RAW, {"datasets.0.source.version": "4"}, VERSION),
    "datasets.source.snapshot": Row(RAW, {"datasets.0.source.snapshot": "9"}, TABLE),
    "datasets.source.arguments": Row(RAW, {"datasets.0.source.arguments.year": 2026}, CALL),
    "datasets.format": Row(RAW, {"datasets.0.format": "parquet"}),
    "datasets.features.type": Row(RAW, {"datasets.0.features.words.type": "category"}),
    "datasets.features.columns": Row(RAW, {"datasets.0.features.words.columns": "text"}),
    "datasets.features.dtype": Row(RAW, {"datasets.0.features.pixels.dtype": "float64"}),
    "datasets.features.shape": Row(RAW, {"datasets.0.features.pixels.shape": [4, 1]}),
    "datasets.features.values": Row(RAW, {"datasets.0.features.kind.values": ["b", "a"]}),
    "datasets.features.tokenizer": Row(RAW, {"datasets.0.features.words.tokenizer": "org/tokens@2"}),
    "datasets.features.size": Row(RAW, {"datasets.0.features.photo.size": [8, 9]}),
    "datasets.label.column": Row(RAW, {"datasets.0.label.column": "kind"}),
    "datasets.label.classes": Row(RAW, {"datasets.0.label.classes": 4}),
    "datasets.label.names": Row(RAW, {"datasets.0.label.names": ["y", "x", "z"]}),
    "datasets.split.train": Row(RAW, {"datasets.0.split.train": 0.6}),
    "datasets.split.validation": Row(RAW, {"datasets.0.split.validation": 0.1}),
    "datasets.split.test": Row(RAW, {"datasets.0.split.test": 0.2}),
    "datasets.split.seed": Row(RAW, {"datasets.0.split.seed": 4}),
    "datasets.split.by.stratify": Row(RAW, {"datasets.0.split.by": {"stratify": "kind"}}),
    "datasets.split.by.group": Row(RAW, {"datasets.0.split.by": {"group": "digit"}}),
    "datasets.split.by.time": Row(RAW, {"datasets.0.split.by": {"time": "digit"}}),
    "datasets.split.by.column": Row(RAW, {"datasets.0.split": {"by": {"column": "digit"}}}),
    "datasets.checks.min_rows": Row(RAW, {"datasets.0.checks.min_rows": 11}),
    "datasets.checks.max_rows": Row(RAW, {"datasets.0.checks.max_rows": 98}),
    "datasets.checks.no_nulls": Row(RAW, {"datasets.0.checks.no_nulls": ["digit"]}),
    "datasets.checks.unique": Row(RAW, {"datasets.0.checks.unique": ["p0"]}),
    "datasets.checks.ranges.min": Row(RAW, {"datasets.0.checks.ranges.p0.min": 1}),
    "datasets.checks.ranges.max": Row(RAW, {"datasets.0.checks.ranges.p0.max": 15}),
    "datasets.pinned": Row(RAW, {"datasets.0.pinned": False}),
    **_own_hardware("datasets.0", NOTHING),
    # code, and what it gets
    "code.path": Row(NOTHING, {"code.path": "lib"}),
    "code.requirements": Row(NOTHING, {"code.requirements": "pinned.txt"}),
    "code.image": Row(USER, {"code.image": "registry.example/own@sha256:" + SHA["other"]}),
    "code.git": Row(
        NOTHING, {"code": {"git": "https://b.example/r", "ref": COMMIT}}, {"code": {"git": "x", "ref": COMMIT}}
    ),
    "code.ref": Row(NOTHING, {"code.ref": COMMIT[::-1]}, {"code": {"git": "https://b.example/r", "ref": COMMIT}}),
    "env.value": Row(
        TRAIN,
        {"env.DIGITS_MODE": {"value": "b", "steps": ["train"]}},
        {"env.DIGITS_MODE": {"value": "a", "steps": ["train"]}},
    ),
    "env.steps": Row(
        EVALUATE,
        {"env.DIGITS_MODE": {"value": "a", "steps": ["train", "evaluate"]}},
        {"env.DIGITS_MODE": {"value": "a", "steps": ["train"]}},
    ),
    **_nothing(secrets__0__env="KEY", secrets__0__from="other/token", secrets__0__steps=["serve"]),
    "preprocessing.class": Row(TRAIN, {"preprocessing.class": "digits.data:Other"}),
    "preprocessing.serve": Row(
        frozenset({"export-onnx", "export-int8"}),
        {"preprocessing.serve": "graph"},
        loose="an export decides, not train",
    ),
    # training
    "training.framework": Row(USER, {"training.framework": "tensorflow"}),
    "training.model": Row(TRAIN, {"training.model": "digits.cnn:other"}),
    "training.loop": Row(TRAIN, {"training.loop": GONE}),
    "training.custom.command": Row(TRAIN, {"training.custom.command": ["python", "-O", "train.py"]}, PROGRAM),
    "training.custom.produces": Row(TRAIN, {"training.custom.produces": "model.skops"}, PROGRAM),
    "training.custom.predict": Row(TRAIN, {"training.custom.predict": "p:other"}, PROGRAM),
    "training.dataset": Row(frozenset({"prepare-raw", "prepare", "prepare-digits"}), {"training.dataset": "raw"}),
    "training.start_from.hf": Row(TRAIN, {"training.start_from.hf": "org/n"}, HF),
    "training.start_from.revision": Row(TRAIN, {"training.start_from.revision": COMMIT[::-1]}, HF),
    "training.start_from.run": Row(TRAIN, {"training.start_from": {"run": SHA["run"]}}),
    "training.start_from.name": Row(TRAIN, {"training.start_from.name": "other"}, REGISTERED),
    "training.start_from.version": Row(TRAIN, {"training.start_from.version": 4}, REGISTERED),
    "training.hyperparameters": Row(TRAIN, {"training.hyperparameters.learning_rate": 0.02}),
    "training.epochs": Row(TRAIN, {"training.epochs": 4}),
    "training.batch.global": Row(TRAIN, {"training.batch.global": 32}),
    "training.seed": Row(TRAIN, {"training.seed": 8}),
    "training.precision": Row(TRAIN, {"training.precision": "fp32"}),
    "training.checkpoint.every": Row(NOTHING, {"training.checkpoint.every": "1m"}, loose="how often, not what"),
    "training.checkpoint.keep": Row(NOTHING, {"training.checkpoint.keep": 1}, loose="how many, not which"),
    "training.checkpoint.select.best": Row(TRAIN, {"training.checkpoint.select.best": "train_loss"}),
    "training.checkpoint.select.goal": Row(TRAIN, {"training.checkpoint.select.goal": "maximize"}),
    **_hardware(
        "training",
        Row(TRAIN | OTHER_IMAGE, {"training.hardware.accelerator": "nvidia-l4"}),
        Row(TRAIN, {"training.hardware.per_node": 2}, {"training.hardware.accelerator": "nvidia-l4"}),
        Row(TRAIN, {"training.hardware.nodes": 2}),
    ),
    # own steps
    "steps.name": Row(OWN | {"clean"}, {"steps.0.name": "clean", "datasets.1.source.step": "clean.table"}),
    "steps.call": Row(OWN, {"steps.0.call": "digits.data:other"}),
    "steps.inputs": Row(OWN, {"steps.0.inputs": {"table": "raw"}}),
    "steps.outputs": Row(OWN, {"steps.0.outputs.more": "csv"}),
    "steps.params": Row(OWN, {"steps.0.params.window": 4}),
    **_own_hardware("steps.0", OWN),
    # evaluation and export
    "evaluation.split": Row(MEASURED, {"evaluation.split": "validation"}),
    "evaluation.metrics": Row(MEASURED, {"evaluation.metrics": ["accuracy"]}),
    "evaluation.gate.min": Row(GATE, {"evaluation.gate.accuracy.min": 0.91}),
    "evaluation.gate.max": Row(GATE, {"evaluation.gate.accuracy.max": 0.99}),
    **_nothing(evaluation__compare_with=GONE),
    **_own_hardware("evaluation", EVALUATE),
    "export.name": Row(ONNX | {"export-net", "verify-net"}, {"export.0.name": "net"}),
    "export.format": Row(ONNX, {"export.0.format": "savedmodel"}),
    "export.opset": Row(frozenset({"export-onnx"}), {"export.0.opset": 19}),
    "export.quantize": Row(frozenset({"export-int8"}), {"export.1.quantize": "fp16"}),
    "export.calibrate.split": Row(frozenset({"export-int8"}), {"export.1.calibrate.split": "validation"}),
    "export.calibrate.rows": Row(frozenset({"export-int8"}), {"export.1.calibrate.rows": 501}),
    "export.parity.rtol": Row(frozenset({"verify-onnx"}), {"export.0.parity": {"rtol": 0.2}}),
    "export.parity.atol": Row(frozenset({"verify-onnx"}), {"export.0.parity": {"atol": 0.2}}),
    "export.parity.max_metric_drop": Row(frozenset({"verify-onnx"}), {"export.0.parity": {"max_metric_drop": 0.2}}),
    **_own_hardware("export.0", ONNX),
    "registry.name": Row(REGISTER, {"registry.name": "numbers"}),
    "registry.description": Row(REGISTER, {"registry.description": "others"}),
    # what happens to a trained model
    **_nothing(
        serving__runtime="triton",
        serving__export="int8",
        serving__replicas=3,
        serving__resources__cpu=2,
        serving__resources__memory="2Gi",
        serving__resources__accelerator="nvidia-l4",
        serving__resources__devices=2,
        serving__batching__max=9,
        serving__batching__delay="6ms",
        serving__autoscaling__min=2,
        serving__autoscaling__max=5,
        serving__autoscaling__metric="concurrency",
        serving__autoscaling__target=61,
        serving__rollout__strategy="rolling",
        serving__rollout__steps__0__weight=11,
        serving__rollout__steps__0__pause="6m",
        serving__rollout__analysis__max_error_rate=0.02,
        serving__rollout__analysis__max_p99="300ms",
        serving__rollout__analysis__min_requests=101,
        serving__route__host="other.example",
        serving__route__path="/other",
        serving__log__sample=0.2,
        serving__log__redact=["name"],
        batch_scoring__input="raw",
        batch_scoring__output__uri="s3://scores/other",
        batch_scoring__schedule="0 5 * * *",
        monitoring__alerts__p99="300ms",
        monitoring__alerts__error_rate=0.02,
        monitoring__alerts__low_confidence=0.6,
        monitoring__drift__reference="test",
        monitoring__drift__psi=0.3,
        schedule__cron="0 4 * * *",
        schedule__timezone="Europe/Berlin",
        environments={"prod": {"serving": {"replicas": 9}}},
    ),
}

UNDECIDED = "tuning"
"""Refused until it is built, and to be decided then: trials are trainings, so the search moves them, `parallel` not."""


def leaves(section: type[BaseModel], path: str = "") -> Iterator[str]:
    """Paths of all fields that hold a value; names in mappings and places in lists are left out."""
    for name, declared in section.model_fields.items():
        here = f"{path}{declared.alias or name}"
        below = list(dict.fromkeys(_sections(declared.annotation)))
        if not below:
            yield here
        for each in below:
            yield from leaves(each, f"{here}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _sections(each)


def test_every_field_is_decided() -> None:
    known = {leaf for leaf in leaves(ModelSpec) if not leaf.startswith(f"{UNDECIDED}.")}
    assert FIELDS.keys() - known == set(), "rows of fields that are gone"
    assert known - FIELDS.keys() == set(), "fields without a decision: which step's digest do they move?"


def test_what_is_undecided_is_refused() -> None:
    subject = Subject(unit(edited(SPEC, TUNING)), platform_of())
    found = {d.message: d.severity for d in unbuilt.check(subject)}
    assert found["not built yet: tuning"] is Severity.ERROR
    assert moved(steps(SPEC), steps(edited(SPEC, TUNING))) == set()


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_moves_what_the_table_says(name: str) -> None:
    row = FIELDS[name]
    base = edited(SPEC, row.base)
    after = edited(base, row.to)
    one, other = steps(base), steps(after)
    assert base != after
    assert touched_steps(one, other) == row.touches
    for step in (other[n].spec for n in other.keys() & one.keys()):
        same = step.digest is not None and step.digest == one[step.name].spec.digest
        if same and not row.loose:
            assert step.config == one[step.name].spec.config, "a part of the configuration is in no digest"
            assert step.code == one[step.name].spec.code
    if not row.touches:
        assert moved(one, other) == set()


def test_what_is_below_a_moved_step_moves_and_nothing_else() -> None:
    for name, row in FIELDS.items():
        base = edited(SPEC, row.base)
        one, other = steps(base), steps(edited(base, row.to))
        changed = moved(one, other)
        for step in other.values():
            fed = {key for key in step.spec.inputs if not key.startswith("data:")}
            before = one[step.name].spec.inputs.keys() if step.name in one else set()
            expected = step.name in row.touches or bool(fed & changed) or step.spec.inputs.keys() != before
            assert (step.name in changed) == expected, f"{name}: {step.name}"


# What lies around the spec

FILES = HERE.code
SURROUNDINGS: dict[str, tuple[Around, frozenset[str]]] = {
    "a line of code": (HERE.but(code={**FILES, "digits/cnn.py": SHA["other"]}), USER),
    "one more file of code": (HERE.but(code={**FILES, "digits/more.py": SHA["other"]}), USER),
    "a renamed file of code": (HERE.but(code={"digits/net.py": SHA["code"], "digits/data.py": SHA["run"]}), USER),
    "a requirement": (HERE.but(requirements=("numpy>=2.1", "torch>=2.9")), USER),
    "one more requirement": (HERE.but(requirements=("numpy>=2", "scipy", "torch>=2.9")), USER),
    "rows of the dataset": (HERE.but(data={"raw": SHA["other"]}), RAW),
    "the image that trains": (
        HERE.but(platform=edited(PLATFORM, {"images.pytorch.cpu": f"other.example/x@sha256:{SHA['other']}"})),
        USER,
    ),
    "an image that nothing uses": (
        HERE.but(platform=edited(PLATFORM, {"images.pytorch.nvidia": f"x@sha256:{SHA['other']}"})),
        NOTHING,
    ),
    "the registry that images come from": (
        HERE.but(
            platform=edited(
                PLATFORM, {"images.pytorch.cpu": "mirror.example/" + PLATFORM["images"]["pytorch"]["cpu"].split("/")[1]}
            )
        ),
        NOTHING,
    ),
    "everything else of the environment": (
        HERE.but(
            platform=edited(
                PLATFORM,
                {
                    "environments.1.namespace": "other",
                    "environments.1.deliverer": "aifctl",
                    "environments.1.capabilities": {"argo-workflows": "3.7"},
                    "environments.1.pod_security": "restricted",
                    "environments.1.store": {"uri": "gs://other"},
                    "environments.1.cluster.context": "other",
                    "tracking.mlflow": "http://other",
                    "images.serve": "x@sha256:" + SHA["other"],
                    "hardware.0.node_selector": {},
                    "hardware.0.tolerations": [],
                    "hardware.0.price_per_hour": 3,
                },
            )
        ),
        NOTHING,
    ),
    "the tenant": (HERE.but(metadata={"name": "digits", "tenant": "other"}), NOTHING),
    "the description": (HERE.but(metadata={"name": "digits", "description": "other"}), NOTHING),
    "the name of a model that names its registry": (HERE.but(metadata={"name": "other"}), NOTHING),
    "a release": (
        HERE.but(
            release={
                "apiVersion": "aif.dev/v1alpha1",
                "kind": "Release",
                "metadata": {"name": "digits", "environment": "lab"},
                "stable": {"run": "r", "train": SHA["run"], "exports": {}, "signature": {}},
            }
        ),
        NOTHING,
    ),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_lies_around_moves_what_the_table_says(name: str) -> None:
    around, expected = SURROUNDINGS[name]
    assert touched_steps(steps(SPEC), steps(SPEC, around=around)) == expected


def test_the_name_of_a_model_without_a_registry_name_moves_its_registration_alone() -> None:
    spec = edited(SPEC, {"registry": GONE})
    assert moved(steps(spec), steps(spec, around=HERE.but(metadata={"name": "other"}))) == REGISTER


@pytest.mark.parametrize(
    ("edits", "below"),
    [
        ({"training.hyperparameters.learning_rate": 0.5}, "train"),
        ({"steps.0.params.window": 9}, "featurise"),
        ({"datasets.0.split.seed": 9}, "prepare-raw"),
    ],
)
def test_moves_a_step_and_everything_below(edits: dict[str, Any], below: str) -> None:
    order = ["prepare-raw", "featurise", "prepare", "train"]
    after_training = {"evaluate", "gate", "export-onnx", "verify-onnx", "export-int8", "verify-int8", "register"}
    assert moved(steps(SPEC), steps(edited(SPEC, edits))) == {*order[order.index(below) :], *after_training}


def test_one_more_export_adds_its_steps_and_moves_the_registration_which_lists_exports() -> None:
    more = edited(SPEC, {"export.2": {"name": "saved", "format": "savedmodel"}})
    assert moved(steps(SPEC), steps(more)) == {"export-saved", "verify-saved", "register"}
    assert touched_steps(steps(SPEC), steps(more)) == {"export-saved", "verify-saved"}


def test_a_gate_moves_its_step_alone_and_one_that_is_new_moves_no_other() -> None:
    assert moved(steps(SPEC), steps(edited(SPEC, {"evaluation.gate.accuracy.min": 0.99}))) == {"gate"}
    assert moved(steps(edited(SPEC, {"evaluation.gate": {}})), steps(SPEC)) == {"gate"}


def test_one_more_dataset_moves_nothing_of_a_model_that_does_not_read_it() -> None:
    more = {"name": "scored", "source": {"path": "data/scored.csv"}}
    around = HERE.but(data={**HERE.data, "scored": SHA["other"]})
    assert moved(steps(SPEC), steps(edited(SPEC, {"datasets.2": more}), around=around)) == {"prepare-scored"}


def test_the_first_dataset_beside_the_one_that_is_trained_on_moves_nothing() -> None:
    alone = edited(SPEC, {"datasets": [SPEC["datasets"][0]], "training.dataset": GONE, "steps": []})
    more = {"name": "scored", "source": {"path": "data/scored.csv"}}
    both = edited(alone, {"datasets.1": more, "training.dataset": "raw"})
    around = HERE.but(data={**HERE.data, "scored": SHA["other"]})
    assert moved(steps(alone, around=around), steps(both, around=around)) == {"prepare-scored"}


def test_a_command_is_told_of_every_dataset_so_each_moves_it() -> None:
    spec = edited(SPEC, PROGRAM)
    more = edited(spec, {"datasets.2": {"name": "more", "source": {"path": "data/more.csv"}}})
    around = HERE.but(data={**HERE.data, "more": SHA["other"]})
    assert set(steps(more, around=around)["train"].spec.inputs) == {"prepare-raw", "prepare", "prepare-more"}
    assert "train" in moved(steps(spec), steps(more, around=around))


# Values that are v1's own


SPELLED_OUT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "training": (
        {
            f"training.{name}": GONE
            for name in ("epochs", "batch", "seed", "precision", "framework")
            if name != "framework"
        },
        {
            "training.framework": "pytorch",
            "training.epochs": 1,
            "training.batch": {"global": 32},
            "training.seed": 0,
            "training.precision": "fp32",
            "training.hardware.nodes": 1,
            "training.hardware.per_node": 1,
        },
    ),
    "goal of a metric": ({}, {"training.checkpoint.select.goal": "minimize"}),
    "split": (
        {"datasets.1.split": {}},
        {"datasets.1.split": {"train": 0.8, "validation": 0.1, "test": 0.1, "seed": 0}},
    ),
    "a share of nothing": (
        {"datasets.1.split": {"train": 0.5, "test": 0.5}},
        {"datasets.1.split": {"train": 0.5, "validation": 0, "test": 0.5}},
    ),
    "format": ({}, {"datasets.0.format": "csv"}),
    "feature": ({}, {"datasets.1.features.pixels.dtype": "float32", "datasets.1.features.pixels.shape": [4]}),
    "range of columns": ({}, {"datasets.1.features.pixels.columns": ["p0", "p1", "p2", "p3"]}),
    "column of the feature's own name": ({}, {"datasets.0.features.words.columns": "words"}),
    "nothing checked": (
        {"datasets.1.checks": {}},
        {"datasets.1.checks": {"no_nulls": [], "unique": [], "ranges": {}}},
    ),
    "evaluation": (
        {"evaluation.split": GONE, "evaluation.metrics": GONE},
        {"evaluation.split": "test", "evaluation.metrics": ["accuracy", "f1_macro", "log_loss"]},
    ),
    "parity": ({}, {"export.0.parity": {"rtol": 0.001, "atol": 0.0001, "max_metric_drop": 0.005}}),
    "opset": ({"export.0.opset": GONE}, {"export.0.opset": 18}),
    "calibration": ({"export.1.calibrate": GONE}, {"export.1.calibrate": {"split": "train", "rows": 500}}),
    "placement": ({"preprocessing.serve": GONE}, {"preprocessing.serve": "graph"}),
    "registry": ({"registry.name": GONE}, {"registry.name": "digits"}),
    "order of metrics": ({}, {"evaluation.metrics": ["f1_macro", "accuracy", "f1_macro"]}),
    "order of checked columns": ({}, {"datasets.0.checks.no_nulls": ["kind", "digit"]}),
    "order of distinct columns": ({}, {"datasets.0.checks.unique": ["p1", "p0"]}),
    "a number that is written otherwise": (
        {"training.hyperparameters.rate": 1},
        {"training.hyperparameters.rate": 1.0, "training.epochs": 3},
    ),
    "a duration in other units": ({}, {"training.hardware.timeout": "120m"}),
    "devices arranged otherwise": (
        {"training.hardware": {"accelerator": "nvidia-l4", "per_node": 4, "nodes": 1}},
        {"training.hardware": {"accelerator": "nvidia-l4", "per_node": 2, "nodes": 2}},
    ),
}


@pytest.mark.parametrize("name", SPELLED_OUT)
def test_what_means_the_same_moves_nothing(name: str) -> None:
    base, same = SPELLED_OUT[name]
    one, other = edited(SPEC, base), edited(edited(SPEC, base), same)
    assert repr(one) != repr(other)
    assert moved(steps(one), steps(other)) == set()


def test_what_looks_empty_and_is_not() -> None:
    """A hyperparameter is the user's: an empty text, list, nought or false is not the same as none."""
    found = [steps(edited(SPEC, {"training.hyperparameters": {"x": value}})) for value in ("", [], 0, False)]
    found.append(steps(edited(SPEC, {"training.hyperparameters": {}})))
    assert len({each["train"].spec.digest for each in found}) == 5
    found = [steps(edited(SPEC, {"steps.0.params": {"x": value}})) for value in ("", [], 0, False)]
    found.append(steps(edited(SPEC, {"steps.0.params": {}})))
    assert len({each["featurise"].spec.digest for each in found}) == 5


def test_the_order_of_features_is_the_order_of_the_models_inputs() -> None:
    features = dict(reversed(SPEC["datasets"][0]["features"].items()))
    assert touched_steps(steps(SPEC), steps(edited(SPEC, {"datasets.0.features": features}))) == RAW


def test_a_version_says_something_only_with_the_place_that_counts_it() -> None:
    one = edited(SPEC, VERSION)
    elsewhere = edited(one, {"datasets.0.source.uri": "s3://b/raw.csv"})
    assert touched_steps(steps(one), steps(elsewhere)) == RAW
    locked = {"datasets": {"raw": {"source": "uri:s3://a/raw.csv", "version": "3"}}}
    unpinned = edited(SPEC, {"datasets.0.source": {"uri": "s3://a/raw.csv"}})
    assert moved(steps(one), steps(unpinned, around=HERE.but(lock=locked))) == set()


def test_a_function_that_gives_rows_is_its_code_and_what_it_runs_in() -> None:
    spec = edited(SPEC, CALL)
    for name in ("a line of code", "a requirement", "the image that trains"):
        around, expected = SURROUNDINGS[name]
        assert touched_steps(steps(spec), steps(spec, around=around)) == expected | RAW
    pinned = steps(edited(spec, {"datasets.0.source.sha256": SHA["raw"]}))["prepare-raw"].spec
    assert pinned.inputs == {"data:raw": f"sha256:{SHA['raw']}"}


def test_lines_of_one_package_count_each() -> None:
    def trained(*lines: str) -> Any:
        return steps(SPEC, around=HERE.but(requirements=lines))["train"].spec.digest

    old, new = 'numpy==1; python_version < "3.12"', 'numpy==2; python_version >= "3.12"'
    assert trained(old, new) == trained(new, old)
    assert len({trained(old, new), trained(old), trained(new), trained(old.replace("==1", "==3"), new)}) == 4


def test_locked_requirements_are_the_identity_and_not_the_lines_that_led_to_them() -> None:
    lock = {
        "requirements": {"source": SHA["run"], "packages": ["numpy==2.1 --hash=sha256:aa", "six==1 --hash=sha256:bb"]}
    }
    one = steps(SPEC, around=HERE.but(lock=lock))
    assert moved(one, steps(SPEC, around=HERE.but(lock=lock, requirements=("numpy>2",)))) == set()
    other = {
        "requirements": {**lock["requirements"], "packages": ["numpy==2.1 --hash=sha256:aa", "six==1 --hash=sha256:cc"]}
    }
    assert touched_steps(one, steps(SPEC, around=HERE.but(lock=other))) == USER
    parts = [one["train"].parts, steps(SPEC, around=HERE.but(lock=other))["train"].parts]
    assert {name for name in parts[0] if parts[0][name] != parts[1][name]} == {"requirements/six"}


def test_more_files_than_a_plan_names_are_one_part() -> None:
    many = {f"m{number}.py": SHA["code"] for number in range(201)}
    one = steps(SPEC, around=HERE.but(code=many))
    assert [name for name in one["train"].parts if name.startswith("code/")] == ["code/*"]
    other = steps(SPEC, around=HERE.but(code={**many, "m7.py": SHA["other"]}))
    assert touched_steps(one, other) == USER


# Laptops


def test_on_this_machine_devices_and_images_of_clusters_do_not_count() -> None:
    one = steps(SPEC, "local")
    for edits in ({"training.hardware": {"accelerator": "nvidia-l4", "nodes": 2}}, {"steps.0.hardware.nodes": 3}):
        assert moved(one, steps(edited(SPEC, edits), "local")) == set()
    around, _ = SURROUNDINGS["the image that trains"]
    assert moved(one, steps(SPEC, "local", around)) == set()
    assert {step.image for step in one.values()} == {None}
    assert {step.nodes for step in one.values()} == {1}


def test_a_sample_and_a_device_are_of_the_identity() -> None:
    one = steps(SPEC, "local")
    sampled = steps(SPEC, "local", options=Options(sample=50))
    assert touched_steps(one, sampled) == {"prepare-raw", "prepare"}
    assert sampled["prepare-raw"].spec.config["sample"] == 50
    assert moved(one, steps(SPEC, "local", options=Options(device="cpu"))) == set()
    assert touched_steps(one, steps(SPEC, "local", options=Options(device="cuda"))) == TRAIN


# Data that is not pinned

UNPINNED = {"datasets.0.pinned": False}


def test_digests_below_unpinned_data_are_unknown_and_become_those_of_the_pinned_run() -> None:
    """What the runtime does: prepare reads the data, and each step chains on from what it was told."""
    pinned, open_ = steps(SPEC), steps(edited(SPEC, UNPINNED))
    assert {step.spec.digest for step in open_.values()} == {None}
    known: dict[str, str | None] = {}
    for name, step in open_.items():
        pins = {"data:raw": f"sha256:{SHA['raw']}"}
        inputs = {key: pins.get(key, known.get(key)) for key in step.spec.inputs}
        known[name] = contract.step_digest(step.spec.kind, step.spec.own, inputs)
    assert known == {name: step.spec.digest for name, step in pinned.items()}


def test_only_what_reads_unpinned_data_is_unknown() -> None:
    spec = edited(SPEC, {"datasets.2": {"name": "other", "source": {"path": "data/o.csv"}, "pinned": False}})
    found = steps(spec)
    assert [name for name, step in found.items() if step.spec.digest is None] == ["prepare-other"]
    assert moved(steps(SPEC), found) == {"prepare-other"}


def test_unpinned_rows_of_a_function_wait_for_their_content() -> None:
    found = steps(edited(SPEC, {**CALL, **UNPINNED}))["prepare-raw"].spec
    assert found.inputs == {"data:raw": None}
    assert steps(edited(SPEC, CALL))["prepare-raw"].spec.inputs == {}


# Attempts


def test_an_attempt_changes_the_name_of_its_own_run_and_no_digest() -> None:
    first = bundle(SPEC).run
    assert first is not None
    assert first.name == f"digits-{first.digest[:10]}"
    assert first.attempt == 1
    lock = {"retry": {"lab": {"run": first.name, "attempt": 3}, "both": {"run": first.name, "attempt": 9}}}
    third = bundle(SPEC, around=HERE.but(lock=lock)).run
    assert third is not None
    assert (third.name, third.attempt, third.digest) == (f"{first.name}-a3", 3, first.digest)
    assert third.steps == first.steps
    changed = bundle(edited(SPEC, {"training.epochs": 9}), around=HERE.but(lock=lock)).run
    assert changed is not None
    assert changed.attempt == 1, "attempts are counted for one run; another begins at one"


def test_variables_that_choose_threads_or_logs_move_nothing() -> None:
    after = edited(SPEC, {"env.OMP_NUM_THREADS": {"value": "8"}, "env.TF_CPP_MIN_LOG_LEVEL": {"value": "3"}})
    assert touched_steps(steps(SPEC), steps(after)) == NOTHING
