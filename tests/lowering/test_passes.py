"""What each pass makes of a spec: order and arguments of steps, place, target, code, run, service."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl import contract, ir
from aifctl.contract import Kind
from aifctl.digest import of_text
from aifctl.lowering import lower
from aifctl.lowering.steps import DEFAULT_METRICS
from tests.lowering.units import (
    GONE,
    HERE,
    PLATFORM,
    SHA,
    SPEC,
    bundle,
    edited,
    platform_of,
    steps,
    unit,
)

GIB = 1024**3
SHORT: dict[str, Any] = {
    "task": "classification",
    "datasets": [{"name": "iris", "source": {"path": "iris.csv"}, "label": {"column": "species"}}],
    "code": {"path": "src"},
    "training": {"model": "iris:build"},
}
AROUND = HERE.but(data={"iris": SHA["raw"]}, requirements=(), metadata={"name": "iris", "tenant": "garden"})


# Steps


def test_a_short_spec_has_the_steps_every_model_has() -> None:
    found = steps(SHORT, around=AROUND)
    assert {name: step.after for name, step in found.items()} == {
        "prepare": (),
        "train": ("prepare",),
        "evaluate": ("train", "prepare"),
        "register": ("train", "evaluate"),
    }
    assert {step.spec.kind for step in found.values()} == {Kind.PREPARE, Kind.TRAIN, Kind.EVALUATE, Kind.REGISTER}
    config = found["train"].spec.config
    assert (config["epochs"], config["batch"], config["seed"], config["precision"]) == (1, 32, 0, "fp32")
    assert found["evaluate"].spec.config["metrics"] == DEFAULT_METRICS["classification"]
    assert found["prepare"].spec.config["split"]["fractions"] == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert found["register"].spec.config["name"] == "iris"


def test_a_long_spec_waits_for_its_gate_and_registers_what_is_verified() -> None:
    found = steps(SPEC)
    assert list(found) == [
        "prepare-raw", "featurise", "prepare", "train", "evaluate", "gate",
        "export-onnx", "verify-onnx", "export-int8", "verify-int8", "register",
    ]  # fmt: skip
    assert found["featurise"].after == ("prepare-raw",)
    assert found["prepare"].after == ("featurise",)
    assert found["train"].after == ("prepare",)
    assert found["gate"].after == ("evaluate",)
    assert found["export-onnx"].after == ("train", "prepare", "gate")
    assert found["verify-onnx"].after == ("export-onnx", "train", "prepare")
    assert set(found["register"].spec.needs) == {"evaluate", "gate", "verify-onnx", "verify-int8"}
    assert found["verify-int8"].spec.config["quantized"]


def test_every_step_comes_after_what_it_reads_however_the_spec_lists_it() -> None:
    """Own steps may read what others make, and datasets what steps make."""
    chain = edited(
        SPEC,
        {
            "steps": [
                {"name": "last", "call": "m:c", "inputs": {"x": "middle.out", "y": "digits"}},
                {"name": "middle", "call": "m:b", "inputs": {"x": "featurise.more"}, "outputs": {"out": "csv"}},
                SPEC["steps"][0],
            ],
            "datasets": list(reversed(SPEC["datasets"])),
        },
    )
    seen: set[str] = set()
    for name, step in steps(chain).items():
        assert set(step.after) <= seen, name
        seen.add(name)
    assert steps(chain)["last"].after == ("middle", "prepare")
    assert steps(chain)["last"].spec.config["inputs"] == {"x": "middle.out", "y": "prepare"}


@pytest.mark.parametrize(
    "edits",
    [
        {"steps.0.inputs": {"rows": "digits"}},
        {"steps.0.inputs": {"rows": "featurise.table"}},
        {"steps.1": {"name": "two", "call": "m:f", "inputs": {"x": "three.y"}, "outputs": {"x": "csv"}},
         "steps.2": {"name": "three", "call": "m:f", "inputs": {"x": "two.x"}, "outputs": {"y": "csv"}}},
        {"datasets.0.source": {"step": "nowhere.table"}},
    ],
)  # fmt: skip
def test_what_no_order_can_be_found_for_is_refused(edits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="circle"):
        steps(edited(SPEC, edits))


def test_arguments_are_what_the_runtime_reads_back() -> None:
    for step in steps(SPEC).values():
        assert contract.decode(contract.encode(step.spec)) == _as_json(step.spec)
        assert step.spec.digest == contract.step_digest(step.spec.kind, step.spec.own, step.spec.inputs)


def _as_json(spec: contract.StepSpec) -> contract.StepSpec:
    import json

    return replace(spec, config=json.loads(json.dumps(spec.config)))


@pytest.mark.parametrize(
    ("best", "goal"),
    [("val_loss", "minimize"), ("val_rmse", "minimize"), ("val_accuracy", "maximize"), ("perplexity", "minimize")],
)
def test_the_goal_of_a_metric_is_told_from_its_name(best: str, goal: str) -> None:
    found = steps(edited(SPEC, {"training.checkpoint.select": {"best": best}}))["train"].spec.config["checkpoint"]
    assert (found["best"], found["goal"]) == (best, goal)


@pytest.mark.parametrize(
    ("export", "limits"),
    [
        ({"format": "onnx"}, (1e-3, 1e-4, 0.005)),
        ({"format": "savedmodel"}, (1e-4, 1e-5, 0.005)),
        ({"format": "onnx", "quantize": "fp16"}, (1e-3, 1e-4, 0.02)),
        ({"format": "onnx", "parity": {"rtol": 0.0, "max_metric_drop": 0.0}}, (0.0, 1e-4, 0.0)),
    ],
)
def test_parity_has_a_default_a_format(export: dict[str, Any], limits: tuple[float, ...]) -> None:
    config = steps(edited(SPEC, {"export": [{"name": "x", **export}]}))["verify-x"].spec.config
    assert tuple(config[name] for name in ("rtol", "atol", "max_metric_drop")) == limits


def test_opsets_are_for_onnx_alone() -> None:
    found = steps(edited(SPEC, {"export": [{"name": "a", "format": "onnx"}, {"name": "b", "format": "savedmodel"}]}))
    assert [found[f"export-{name}"].spec.config["opset"] for name in "ab"] == [18, None]


# Placement


def test_what_a_step_asks_for_and_what_it_gets_where_it_asks_for_nothing() -> None:
    found = steps(SPEC)
    assert found["train"].resources == ir.Resources(cpu=4, memory=8 * GIB)
    assert found["prepare"].resources == ir.Resources(cpu=1, memory=2 * GIB)
    assert found["train"].timeout == 7200
    assert [step.timeout for name, step in found.items() if name != "train"] == [None] * 10


def test_an_accelerator_brings_its_image_and_the_nodes_that_have_it() -> None:
    found = steps(edited(SPEC, {"training.hardware": {"accelerator": "nvidia-l4", "per_node": 2}}))
    train = found["train"]
    assert train.accelerator == ir.Accelerator(
        name="nvidia-l4",
        resource="nvidia.com/gpu",
        per_node=2,
        node_selector={"gpu": "l4"},
        tolerations=({"key": "gpu"},),
    )
    assert train.image == PLATFORM["images"]["pytorch"]["nvidia"]
    assert {step.image for name, step in found.items() if name != "train"} == {PLATFORM["images"]["pytorch"]["cpu"]}


@pytest.mark.parametrize(
    ("framework", "image"),
    [("pytorch", "pytorch"), ("lightning", "pytorch"), ("huggingface", "pytorch"), ("tensorflow", "tensorflow")],
)
def test_frameworks_share_images(framework: str, image: str) -> None:
    found = steps(edited(SPEC, {"training.framework": framework}))
    assert found["train"].image == PLATFORM["images"][image]["cpu"]


def test_an_image_of_ones_own_is_for_steps_with_user_code() -> None:
    own = "registry.example/own@sha256:" + SHA["other"]
    found = steps(edited(SPEC, {"code.image": own}))
    assert {name for name, step in found.items() if step.image == own} == {
        "featurise", "train", "evaluate", "export-onnx", "verify-onnx", "export-int8", "verify-int8",
    }  # fmt: skip
    assert {step.spec.code is not None for name, step in found.items() if step.image == own} == {True}


@pytest.mark.parametrize(
    ("given_steps", "expected"),
    [
        (None, set(steps(SPEC))),
        (["train"], {"train"}),
        (["export"], {"export-onnx", "export-int8"}),
        (["verify-int8", "serve"], {"verify-int8"}),
        (["prepare"], {"prepare-raw", "prepare"}),
        (["prepare-raw"], {"prepare-raw"}),
        (["prepare-digits"], {"prepare"}),
        (["custom"], {"featurise"}),
    ],
)
def test_variables_and_secrets_go_to_steps_by_name_and_by_kind(given_steps: Any, expected: set[str]) -> None:
    secret = {"env": "KEY", "from": "some/key", **({"steps": given_steps} if given_steps is not None else {})}
    found = steps(edited(SPEC, {"env": {"B": {"value": "1", "steps": given_steps}}, "secrets": [secret]}))
    assert {name for name, step in found.items() if step.variables} == expected
    assert {name for name, step in found.items() if step.secrets} == expected
    assert found[min(expected)].secrets == (ir.SecretVariable(name="KEY", secret="some", key="key"),)


# Target, code, run


def test_the_target_is_the_environment() -> None:
    assert bundle(SPEC).target == ir.Target(
        environment="lab",
        namespace="vision-lab",
        deliverer="argocd",
        pod_security="baseline",
        capabilities={"argo-workflows": "4.1"},
        store="s3://models",
        store_secret="writer",
        tracking="http://mlflow:5000",
    )
    alone = lower(unit(SPEC, "local"), None, "m.yaml").target
    assert (alone.environment, alone.namespace, alone.store, alone.tracking) == ("local", "vision", None, None)


def test_roles_say_what_an_environment_gets() -> None:
    release = _release("prod")
    assert (bundle(SPEC, "lab").run is None, bundle(SPEC, "lab").service) == (False, None)
    served = bundle(SPEC, "prod", HERE.but(release=release))
    assert (served.run, served.service is None) == (None, False)
    both = bundle(SPEC, "both", HERE.but(release=release))
    assert (both.run is None, both.service is None) == (False, False)


def test_code_travels_as_its_size_allows() -> None:
    found = unit(SPEC)
    assert found.facts.code is not None
    archive = lower(found, platform_of(), "m.yaml").run
    small = replace(found.facts, code=replace(found.facts.code, texts={"b.py": "2", "a.py": "1"}))
    inline = lower(replace(found, facts=small), platform_of(), "m.yaml").run
    image = bundle(edited(SPEC, {"code.image": "r.example/x@sha256:" + SHA["other"]})).run
    assert archive is not None
    assert inline is not None
    assert image is not None
    assert archive.code == ir.Code(digest=found.facts.code.digest or "", delivery="archive")
    assert image.code == ir.Code(digest=found.facts.code.digest or "", delivery="image")
    assert inline.code is not None
    assert inline.code.delivery == "inline"
    assert [(file.path, file.text) for file in inline.code.files] == [("a.py", "1"), ("b.py", "2")]
    assert inline.name != archive.name, "a run object never changes under its name"


def test_a_run_is_named_after_all_that_is_in_it() -> None:
    """Also what is in no identity: the object in the cluster can't be changed."""
    names = set()
    for edits in ({}, {"training.hardware.cpu": 5}, {"env.OMP_NUM_THREADS.value": "5"}, {"training.seed": 9}):
        run = bundle(edited(SPEC, edits)).run
        assert run is not None
        names.add(run.name)
    assert len(names) == 4
    moved = bundle(SPEC, around=HERE.but(platform=edited(PLATFORM, {"environments.1.store.uri": "s3://other"}))).run
    assert moved is not None
    assert moved.name not in names


def test_serving_and_its_schedule_do_not_name_a_run() -> None:
    one, other = bundle(SPEC).run, bundle(edited(SPEC, {"serving": GONE, "schedule.cron": "5 5 * * *"})).run
    assert one is not None
    assert other is not None
    assert one.name == other.name
    assert one.schedule == ir.Schedule(cron="0 3 * * *", timezone="UTC")


# Service


def _release(environment: str, **entry: Any) -> dict[str, Any]:
    exports = {"onnx": {"uri": "s3://models/b", "sha256": SHA["run"], "format": "onnx", "size": 77}}
    stable = {"run": "digits-1", "train": SHA["run"], "exports": exports, "signature": {}, **entry}
    return {
        "apiVersion": "aif.dev/v1alpha1",
        "kind": "Release",
        "metadata": {"name": "digits", "environment": environment},
        "stable": stable,
    }


def test_a_service_is_what_was_released() -> None:
    image = "registry.example/then@sha256:" + of_text("then")
    service = bundle(SPEC, "prod", HERE.but(release=_release("prod", image=image))).service
    assert service is not None
    assert service.bundle == ir.ReleasedBundle(
        run="digits-1", export="onnx", uri="s3://models/b", sha256=SHA["run"], format="onnx", size=77
    )
    assert service.image == image
    assert service.autoscaling == ir.Autoscaling(min=1, max=4, metric="cpu", target=60)
    assert (service.max_batch, service.batch_delay, service.low_confidence, service.log_sample) == (8, 0.005, 0.5, 0.1)
    newer = edited(SPEC, {"training.model": "other:build", "training.epochs": 99})
    assert bundle(newer, "prod", HERE.but(release=_release("prod", image=image))).service == service
    assert [v.name for v in service.variables] == []


def test_a_release_without_an_image_gets_the_platforms() -> None:
    service = bundle(SPEC, "prod", HERE.but(release=_release("prod"))).service
    assert service is not None
    assert service.image == PLATFORM["images"]["serve"]


def test_nothing_serves_before_a_release_or_without_the_section() -> None:
    assert bundle(SPEC, "prod").service is None
    assert bundle(edited(SPEC, {"serving": GONE}), "prod", HERE.but(release=_release("prod"))).service is None


def test_what_serves_may_differ_by_environment() -> None:
    spec = edited(SPEC, {"environments": {"prod": {"serving": {"autoscaling": {"max": 20}, "replicas": 3}}}})
    release = _release("prod")
    service = bundle(spec, "prod", HERE.but(release=release)).service
    assert service is not None
    assert service.autoscaling == ir.Autoscaling(min=1, max=20, metric="cpu", target=60)
    assert service.replicas == 3
    elsewhere = bundle(spec, "both", HERE.but(release=_release("both"))).service
    assert elsewhere is not None
    assert elsewhere.replicas == 2


# Properties


def _shuffled(value: Any, order: random.Random, path: str = "") -> Any:
    """Mappings in another order, but for features, whose order is that of the model's inputs."""
    if isinstance(value, dict):
        keys = list(value)
        if path != "features":
            order.shuffle(keys)
        return {key: _shuffled(value[key], order, key) for key in keys}
    return [_shuffled(item, order) for item in value] if isinstance(value, list) else value


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_the_order_of_keys_says_nothing(seed: int) -> None:
    other = _shuffled(SPEC, random.Random(seed))
    assert {n: s.spec for n, s in steps(other).items()} == {n: s.spec for n, s in steps(SPEC).items()}
    assert bundle(other) == bundle(SPEC)


@settings(max_examples=50, deadline=None)
@given(st.integers(-(2**52), 2**52))
def test_a_whole_number_and_its_fraction_are_one_value(number: int) -> None:
    one, other = (edited(SPEC, {"training.hyperparameters.x": value}) for value in (number, float(number)))
    assert steps(one)["train"].spec.digest == steps(other)["train"].spec.digest


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3), st.integers(0, 59), st.integers(0, 59))
def test_units_that_say_the_same_are_one_run(hours: int, minutes: int, seconds: int) -> None:
    total = hours * 3600 + minutes * 60 + seconds
    for path in ("training.hardware.timeout", "training.checkpoint.every", "serving.batching.delay"):
        spelled = [f"{hours}h{minutes}m{seconds}s", f"{total}s", f"{total * 1000}ms"]
        found = [bundle(edited(SPEC, {path: text}), "both", HERE.but(release=_release("both"))) for text in spelled]
        assert found[0] == found[1] == found[2]
    memory = [bundle(edited(SPEC, {"training.hardware.memory": text})) for text in ("2Gi", "2048Mi", "2097152Ki")]
    assert memory[0] == memory[1] == memory[2]
    cores = [bundle(edited(SPEC, {"training.hardware.cpu": value})) for value in (2, 2.0, "2000m")]
    assert cores[0] == cores[1] == cores[2]


HYPERPARAMETERS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.one_of(
        st.booleans(), st.integers(-5, 5), st.floats(-5, 5), st.text("xy0", max_size=2), st.lists(st.integers(0, 2))
    ),
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(HYPERPARAMETERS, HYPERPARAMETERS)
def test_hyperparameters_that_differ_make_trainings_that_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    found = [steps(edited(SPEC, {"training.hyperparameters": each}))["train"].spec.digest for each in (one, other)]
    assert (found[0] == found[1]) == (_told_apart(one) == _told_apart(other))


def _told_apart(value: Any) -> Any:
    """As JSON tells values apart: true is not 1, but 1.0 is, and -0.0 is 0."""
    if isinstance(value, dict):
        return {key: _told_apart(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_told_apart(item) for item in value]
    return (isinstance(value, bool), value)
