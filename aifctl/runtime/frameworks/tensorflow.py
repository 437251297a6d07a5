"""TensorFlow: `build` gives a `keras.Model`; weights are `.weights.h5`, never a pickled or lambda-carrying archive.

A model with one input is called with a tensor, one with several with a dict by name. The loop used when the spec has
none is Keras' own training step, batch by batch: with what the model was compiled with, else cross-entropy or mean
squared error by task and Adam, or what `optimizer` names. A resumed training computes what an uninterrupted one would
have.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aifctl.contract import TrainConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import frameworks
from aifctl.runtime.context import Context, Rows, user_code
from aifctl.runtime.frameworks import Forward, Trained, load_reference
from aifctl.runtime.frameworks.loop import Loop
from aifctl.runtime.job import Stopped, import_attribute
from aifctl.runtime.signature import CLASSIFICATION, PROBABILITIES, VALUE, Arrays, Signature, output_kind, probabilities
from aifctl.runtime.tensorflow_quiet import tf

__all__ = ["load", "load_reference", "train"]

keras = tf.keras
WEIGHTS = "model.weights.h5"
PROBE_ROWS = 8
POLICIES = {"fp32": "float32", "bf16-mixed": "mixed_bfloat16", "fp16-mixed": "mixed_float16"}
RANDOM_WEIGHTS = 8
"""Draws of weights by which a single logit is told from a probability."""
DEVICES = {"cuda": "GPU", "gpu": "GPU", "cpu": "CPU"}
"""Kinds of devices as specs and PyTorch name them, and as TensorFlow does."""
OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")


def train(context: Context) -> None:
    """Builds, trains and writes the model. Raises Report, and Stopped once it has saved where it was told to stop."""
    keras.utils.set_random_seed(context.config.seed)
    with tf.device(_device(context.device)):
        context.model = build(context.config, context.signature, context.code, context.config.precision)
        context.framework = Keras(context.model)
        context.output, width = _probe(context)
        if context.config.loop is None:
            fit(context, context.output, width)
        else:
            loop = import_attribute(context.config.loop, context.code)
            with user_code(f"`{context.config.loop}`", context.code):
                loop(context)
        if context.should_stop:
            raise Stopped
        context.take_best()
    context.model.save_weights(context.folder / WEIGHTS)


def load(trained: Trained) -> Forward:
    """Raises Report (AIF836) where the weights do not fit what `build` gives now."""
    model = restore(trained)

    def forward(inputs: Arrays) -> Any:
        with tf.device("/cpu:0"):
            return np.asarray(call(model, inputs, training=False), dtype="float32")

    return forward


def restore(trained: Trained) -> Any:
    """The trained model on the CPU, in fp32 whatever it was trained in."""
    with tf.device("/cpu:0"):
        model = build(trained.config, trained.model, trained.code, "fp32")
        call(model, {t.name: np.zeros((1, *t.shape), t.dtype) for t in trained.model.inputs}, training=False)
        try:
            model.load_weights(trained.folder / WEIGHTS)
        except ValueError as error:
            lines = tuple(str(error).splitlines()[:6])
            message = f"the trained weights do not fit what `{trained.config.model}` builds"
            raise Report(Diagnostic("AIF836", message, hint="build the same model each time", notes=lines)) from error
    return model


def build(config: TrainConfig, signature: Signature, code: Path | None, precision: str) -> Any:
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    model = frameworks.build(config, signature, code)
    if not isinstance(model, keras.Model):
        message = f"`{config.model}` returned {type(model).__name__}, not a keras.Model"
        raise Report(Diagnostic("AIF821", message, hint="return the model from `build(params, signature)`"))
    return model


def call(model: Any, features: Mapping[str, Any], *, training: bool) -> Any:
    inputs = dict(features)
    return model(inputs if len(inputs) > 1 else next(iter(inputs.values())), training=training)


@dataclass(frozen=True, slots=True)
class Keras:
    """`context.Framework` for a Keras model. Its variables hold the states of dropout's generators too."""

    model: Any

    def tensors(self, rows: Rows) -> tuple[dict[str, Any], Any]:
        features = {name: tf.convert_to_tensor(array) for name, array in rows.features.items()}
        return features, None if rows.label is None else tf.convert_to_tensor(rows.label)

    def capture(self) -> dict[str, Any]:
        return {"variables": [variable.numpy() for variable in self.model.variables], "random": _random_states()}

    def restore(self, captured: Any) -> None:
        self.restore_weights(captured)
        _set_random_states(captured["random"])

    def restore_weights(self, captured: Any) -> None:
        assign(self.model.variables, captured["variables"])

    def write(self, value: Any, path: Path) -> None:
        write_tree(value, path)

    def read(self, path: Path) -> Any:
        return read_tree(path)

    def autocast(self) -> AbstractContextManager[Any]:
        """Keras' layers follow the precision policy by themselves."""
        return nullcontext()


def assign(variables: Any, values: Any) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def write_tree(value: Any, path: Path) -> None:
    """Lists and dicts of numbers, text and arrays as one .npz without pickles. Raises Report (AIF827) for others."""
    arrays: list[Any] = []
    text = json.dumps(_skeleton(value, arrays))
    buffer = {f"a{number}": array for number, array in enumerate(arrays)}
    with path.open("wb") as file:
        np.savez(file, tree=np.asarray(text), **buffer)


def read_tree(path: Path) -> Any:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
        return _fill(json.loads(arrays["tree"].item()), arrays)


def _skeleton(value: Any, arrays: list[Any]) -> Any:
    """The value with `{"array": number}` in place of each array; dicts are `{"dict": {…}}`, tuples become lists."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {"dict": {str(key): _skeleton(item, arrays) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return [_skeleton(item, arrays) for item in value]
    array = np.asarray(value)
    if array.dtype.kind not in "biufU":
        message = f"a checkpoint can't keep a value of type `{type(value).__name__}`"
        raise Report(Diagnostic("AIF827", message, hint="save numbers, text and arrays, in lists and dicts"))
    arrays.append(array)
    return {"array": len(arrays) - 1}


def _fill(node: Any, arrays: Any) -> Any:
    if isinstance(node, list):
        return [_fill(item, arrays) for item in node]
    if isinstance(node, dict):
        if "array" in node:
            return arrays[f"a{node['array']}"]
        return {key: _fill(item, arrays) for key, item in node["dict"].items()}
    return node


@dataclass(frozen=True, slots=True)
class KerasLearner:
    """`loop.Learner` for a compiled Keras model."""

    model: Any
    kind: str
    """Of the model's output: logits, probabilities or value."""

    def state(self) -> dict[str, Any]:
        return {"optimizer": [variable.numpy() for variable in self.model.optimizer.variables]}

    def restore(self, state: Mapping[str, Any]) -> None:
        assign(self.model.optimizer.variables, state["optimizer"])

    def step(self, features: Mapping[str, Any], label: Any) -> float:
        self.model.reset_metrics()  # else Keras gives the mean since the last reset, which a checkpoint would not hold
        return float(self.model.train_on_batch(_inputs(features), label, return_dict=True)["loss"])

    def look(self, features: Mapping[str, Any], label: Any) -> tuple[float, int | None]:
        outputs = call(self.model, features, training=False)
        loss = float(self.model.compute_loss(_inputs(features), label, outputs, training=False))
        if self.kind == VALUE:
            return loss, None
        return loss, int(np.sum(probabilities(outputs, self.kind).argmax(axis=-1) == label))


def fit(context: Context, kind: str, width: int) -> None:
    """aifctl's own loop; `kind` and `width` are the model's output's. Raises Report (AIF826)."""
    if not context.model.compiled:
        loss = loss_of(context.signature.task, kind, width)
        # XLA would compile each batch shape for seconds; a model that gains from it is compiled in `build`.
        context.model.compile(optimizer=optimizer_of(context.params), loss=loss, jit_compile=False)
    with user_code("training", context.code):
        context.model.optimizer.build(context.model.trainable_variables)
        Loop(context, KerasLearner(context.model, kind)).run()


def loss_of(task: str, kind: str, width: int) -> Any:
    if task in CLASSIFICATION:
        if width == 1:
            return keras.losses.BinaryCrossentropy(from_logits=kind != PROBABILITIES)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=kind != PROBABILITIES)
    if task == "regression":
        return keras.losses.MeanSquaredError()
    hint = "write `fit(context)` and name it in `training.loop`, or compile the model in `build`"
    raise Report(Diagnostic("AIF826", f"there is no ready training loop for task `{task}`", hint=hint))


def optimizer_of(params: Mapping[str, Any]) -> Any:
    """What hyperparameter `optimizer` names (Adam), with `learning_rate`, `weight_decay` and `momentum` where given."""
    name = str(params.get("optimizer", "adam")).lower()
    if name not in OPTIMIZERS:
        hint = f"known are {', '.join(OPTIMIZERS)}; for others compile the model in `build`"
        raise Report(Diagnostic("AIF826", f"no optimizer `{name}` in aifctl's own loop", hint=hint))
    known = ("learning_rate", "weight_decay", "momentum")
    return keras.optimizers.get({"class_name": name, "config": {k: float(v) for k, v in params.items() if k in known}})


def _inputs(features: Mapping[str, Any]) -> Any:
    return dict(features) if len(features) > 1 else next(iter(features.values()))


def _probe(context: Context) -> tuple[str, int]:
    """Runs a few rows before hours are spent: the output's kind and last size. Raises Report (AIF821, AIF824)."""
    rows = context.splits["train"].take(slice(0, PROBE_ROWS))
    with user_code("the model's first call", context.code):
        outputs = call(context.model, rows.features, training=False)
    if not tf.is_tensor(outputs):
        message = f"the model gives {type(outputs).__name__}, not a tensor"
        raise Report(Diagnostic("AIF821", message, hint="give one tensor, a row for each row of input"))
    frameworks.check_output(context.signature, len(rows), tuple(outputs.shape))
    values = np.asarray(outputs, dtype="float32")
    with user_code("the model's call with random weights", context.code):
        kind = output_kind(context.signature.task, values, lambda: _with_random_weights(context.model, rows.features))
    return kind, outputs.shape[-1]


def _with_random_weights(model: Any, features: Arrays) -> list[Any]:
    """The model's outputs under other weights, which are put back. Takes nothing from the global generators."""
    generator, outputs = np.random.default_rng(0), []
    kept = [variable.numpy() for variable in model.trainable_variables]
    try:
        for _ in range(RANDOM_WEIGHTS):
            assign(model.trainable_variables, [generator.standard_normal(value.shape) for value in kept])
            outputs.append(np.asarray(call(model, features, training=False), dtype="float32"))
        return outputs
    finally:
        assign(model.trainable_variables, kept)


def _device(asked: str | None) -> str | None:
    """TensorFlow's name of the device; None lets it choose. Raises Report (AIF838) for one that this machine has not.

    Without that TensorFlow would silently train on the CPU.
    """
    if asked is None:
        return None
    kind, _, number = asked.partition(":")
    there = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    name = f"{DEVICES.get(kind, kind)}:{number or 0}"
    if name not in there:
        raise frameworks.no_device(asked, there)
    return f"/device:{name}"


def _random_states() -> dict[str, Any]:
    version, keys, gauss = random.getstate()
    name, np_keys, position, has_gauss, np_gauss = np.random.get_state()
    return {
        "python": {"version": version, "keys": list(keys), "gauss": gauss},
        "numpy": [name, np_keys, position, has_gauss, np_gauss],
    }


def _set_random_states(states: Mapping[str, Any]) -> None:
    python = states["python"]
    random.setstate((python["version"], tuple(python["keys"]), python["gauss"]))
    np.random.set_state(tuple(states["numpy"]))
