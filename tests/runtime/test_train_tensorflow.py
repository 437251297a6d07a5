"""Training with TensorFlow: Keras models by the same entry points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aifctl import contract
from aifctl.contract import Kind, to_arguments
from aifctl.runtime.data import Prepared
from aifctl.runtime.frameworks import load_reference
from aifctl.runtime.job import Stopped
from tests.runtime.chain import Chain, alcohol, coin, iris, refused, training

pytestmark = pytest.mark.tensorflow

DROPOUT = """
    from tensorflow import keras

    def build(params, signature):
        x = keras.Input(signature.input("measurements").shape, name="measurements")
        hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(64, activation="relu")(x))
        return keras.Model(x, keras.layers.Dense(signature.classes)(hidden))
"""


def reference_outputs(chain: Chain) -> Any:
    features = Prepared.open(chain.published("prepare")).split("test").features
    return load_reference(chain.published("train"), chain.code).predict(features)


def test_the_example_learns_digits(digits_tensorflow: Chain) -> None:
    train = digits_tensorflow.published("train")
    assert train.outputs["metrics"]["val_accuracy"] >= 0.96
    assert "model.weights.h5" in train.files
    (output,) = train.read_json("signature.json")["outputs"]
    assert (output["name"], output["kind"], output["shape"]) == ("probabilities", "probabilities", [10])
    test = Prepared.open(digits_tensorflow.published("prepare")).split("test")
    assert (reference_outputs(digits_tensorflow).argmax(1) == test.label).mean() >= 0.95


def test_the_kept_metrics_are_those_of_the_best_epoch(digits_tensorflow: Chain) -> None:
    train = digits_tensorflow.published("train")
    history = train.read_json("history.json")
    best = min((entry for entry in history if entry["name"] == "val_loss"), key=lambda entry: entry["value"])
    assert train.outputs["metrics"]["val_loss"] == best["value"]


def test_logits_learn_too(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = iris(tmp_path, code(net=DROPOUT)).prepared()
    result = chain.train(training("tensorflow", "iris", "net:build", epochs=30, params={"learning_rate": 0.01}))
    assert result.outputs["metrics"]["val_accuracy"] >= 0.9
    assert chain.published("train").read_json("signature.json")["outputs"][0]["kind"] == "logits"


def test_told_to_stop_it_goes_on_later_as_if_nothing_was(tmp_path: Path, code: Callable[..., Path]) -> None:
    source = code(net=DROPOUT)
    config = training("tensorflow", "iris", "net:build", epochs=3, batch=32)
    whole = iris(tmp_path / "whole", source).prepared()
    whole.train(config)
    cut = iris(tmp_path / "cut", source).prepared()
    cut.stop.set()
    for _ in range(2):
        with pytest.raises(Stopped):
            cut.train(config)
    cut.stop.clear()
    assert cut.train(config).outputs["resumed_from"] == 2
    assert cut.published("train").read_json("history.json") == whole.published("train").read_json("history.json")
    np.testing.assert_array_equal(reference_outputs(cut), reference_outputs(whole))


def test_regression_with_two_inputs(tmp_path: Path, code: Callable[..., Path]) -> None:
    source = code(
        net="""
        from tensorflow import keras

        def build(params, signature):
            phenols = keras.Input((2,), name="phenols")
            colour = keras.Input((), name="colour")
            both = keras.layers.Concatenate()([phenols, keras.layers.Reshape((1,))(colour)])
            return keras.Model([phenols, colour], keras.layers.Dense(1)(both))
        """
    )
    chain = alcohol(tmp_path, source).prepared()
    config = contract.TrainConfig(
        task="regression",
        framework="tensorflow",
        dataset="wine",
        model="net:build",
        epochs=60,
        batch=16,
        params={"learning_rate": 0.1},
    )
    assert chain.train(config).outputs["metrics"]["val_loss"] < 1.5
    assert reference_outputs(chain).shape == (36, 1)


def test_an_own_loop_saves_and_finds_its_state(tmp_path: Path, code: Callable[..., Path]) -> None:
    source = code(
        net=DROPOUT
        + """
    def fit(context):
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer.build(context.model.trainable_variables)
        assert context.latest() is None
        context.save({"optimizer": list(optimizer.variables), "note": "first"})
        state = context.latest()
        assert state["note"] == "first" and len(state["optimizer"]) == len(optimizer.variables)
        features, label = next(iter(context.data("train")))
        context.log("rows", len(label), 0)
    """
    )
    chain = iris(tmp_path, source).prepared()
    result = chain.train(training("tensorflow", "iris", "net:build", loop="net:fit", batch=7))
    assert result.outputs["metrics"] == {"rows": 7.0}


@pytest.mark.parametrize(("activation", "kind"), [(None, "logits"), ("sigmoid", "probabilities")])
def test_a_logit_that_starts_between_0_and_1_is_one(
    tmp_path: Path, code: Callable[..., Path], activation: str | None, kind: str
) -> None:
    source = code(
        net="""
        from tensorflow import keras

        def build(params, signature):
            x = keras.Input((1,), name="x")
            bias = keras.initializers.Constant(0.5)
            head = keras.layers.Dense(
                1, kernel_initializer="zeros", bias_initializer=bias, activation=params.get("activation")
            )
            return keras.Model(x, head(x))
        """
    )
    chain = coin(tmp_path, source).prepared()
    params = {"learning_rate": 0.3, **({} if activation is None else {"activation": activation})}
    result = chain.train(training("tensorflow", "coin", "net:build", epochs=30, batch=16, params=params))
    assert chain.published("train").read_json("signature.json")["outputs"][0]["kind"] == kind
    assert result.outputs["metrics"]["val_accuracy"] == 1.0


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_a_device_that_is_not_there(tmp_path: Path, code: Callable[..., Path], device: str) -> None:
    chain = iris(tmp_path, code(net=DROPOUT)).prepared()
    chain.device = device
    (finding,) = refused(lambda: chain.train(training("tensorflow", "iris", "net:build")))
    assert (finding.code, finding.message) == ("AIF838", f"there is no device `{device}` on this machine")
    assert finding.hint is not None
    assert "it has CPU:0" in finding.hint


@pytest.mark.parametrize("precision", ["bf16-mixed", "fp16-mixed"])
def test_mixed_precision_is_measured_in_fp32(tmp_path: Path, code: Callable[..., Path], precision: str) -> None:
    chain = iris(tmp_path, code(net=DROPOUT)).prepared()
    result = chain.train(training("tensorflow", "iris", "net:build", epochs=2, precision=precision))
    assert result.outputs["metrics"]["train_loss"] < 2
    assert reference_outputs(chain).dtype == np.float32


WRONG = {
    "build raises": ("def build(params, signature):\n    return 1 / 0\n", {}, "AIF806", "ZeroDivisionError"),
    "build gives no model": ("def build(params, signature):\n    pass\n", {}, "AIF821", "returned NoneType"),
    "too many classes": (
        "import keras\ndef build(params, signature):\n    return keras.Sequential([keras.layers.Dense(4)])\n",
        {},
        "AIF824",
        "the model gives shape (8, 4) for 8 rows, 3 classes need (8, 3)",
    ),
    "learning rate beyond reason": (
        DROPOUT,
        {"params": {"learning_rate": 1e38, "optimizer": "sgd"}, "epochs": 9},
        "AIF823",
        "training has diverged",
    ),
    "unknown optimizer": (DROPOUT, {"params": {"optimizer": "lion"}}, "AIF826", "no optimizer `lion`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_refused(tmp_path: Path, code: Callable[..., Path], case: str) -> None:
    source, options, expected, message = WRONG[case]
    chain = iris(tmp_path, code(net=source)).prepared()
    (finding,) = refused(lambda: chain.train(training("tensorflow", "iris", "net:build", **options)))
    assert finding.code == expected
    assert message in finding.message


def test_a_step_of_its_own_process_keeps_tensorflows_noise_to_itself(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = iris(tmp_path, code(net=DROPOUT)).prepared()
    spec = chain.step(Kind.TRAIN, "train", training("tensorflow", "iris", "net:build"), ("prepare",))
    command = [sys.executable, "-m", "aifctl.runtime.entry", *to_arguments(spec, chain.site)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "ABSL_"))}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert all("=" in line for line in done.stdout.splitlines())
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {"metric", "checkpoint", "finished"} <= {event["event"] for event in events}
