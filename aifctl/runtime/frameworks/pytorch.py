"""PyTorch: `build` gives a `torch.nn.Module`, called with its features in the signature's order; safetensors keep it.

The loop used when the spec has none: cross-entropy or mean squared error by task, Adam or what `optimizer` names,
validation after each epoch. A resumed training computes what an uninterrupted one would have.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch.nn import functional

from aifctl.contract import TrainConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import frameworks, llvm
from aifctl.runtime.context import Context, Rows, user_code
from aifctl.runtime.frameworks import Forward, Trained, load_reference
from aifctl.runtime.frameworks.loop import Loop
from aifctl.runtime.job import Stopped, import_attribute
from aifctl.runtime.signature import CLASSIFICATION, PROBABILITIES, VALUE, Arrays, Signature, output_kind, probabilities

__all__ = ["load", "load_reference", "train"]

llvm.before_torch()

WEIGHTS = "model.safetensors"
PROBE_ROWS = 8
RANDOM_WEIGHTS = 8
"""Draws of weights by which a single logit is told from a probability."""
PRECISIONS = ("fp32", "bf16-mixed", "fp16-mixed")
HALF = {"bf16-mixed": torch.bfloat16, "fp16-mixed": torch.float16}
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def train(context: Context) -> None:
    """Builds, trains and writes the model. Raises Report, and Stopped once it has saved where it was told to stop."""
    seed(context.config.seed)
    device = _device(context.device)
    model = build(context.config, context.signature, context.code).to(device)
    context.model, context.framework = model, Torch(model, device, context.config.precision)
    context.output = _probe(context)
    if context.config.loop is None:
        fit(context, context.output)
    else:
        loop = import_attribute(context.config.loop, context.code)
        with user_code(f"`{context.config.loop}`", context.code):
            loop(context)
    if context.should_stop:
        raise Stopped
    context.take_best()
    safetensors.torch.save_model(model.cpu(), str(context.folder / WEIGHTS))


def load(trained: Trained) -> Forward:
    """Raises Report (AIF836) where the weights do not fit what `build` gives now."""
    model = restore(trained)
    names = [tensor.name for tensor in trained.model.inputs]

    def forward(inputs: Arrays) -> Any:
        with torch.inference_mode():
            return model(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in names)).float().numpy()

    return forward


def restore(trained: Trained) -> torch.nn.Module:
    """The trained model on the CPU, in evaluation mode."""
    model = build(trained.config, trained.model, trained.code)
    try:
        safetensors.torch.load_model(model, str(trained.folder / WEIGHTS))
    except (RuntimeError, safetensors.SafetensorError) as error:
        lines = tuple(str(error).splitlines()[:6])
        message = f"the trained weights do not fit what `{trained.config.model}` builds"
        raise Report(Diagnostic("AIF836", message, hint="build the same model each time", notes=lines)) from error
    return model.cpu().float().eval()


def build(config: TrainConfig, signature: Signature, code: Path | None) -> torch.nn.Module:
    model = frameworks.build(config, signature, code)
    if not isinstance(model, torch.nn.Module):
        message = f"`{config.model}` returned {type(model).__name__}, not a torch.nn.Module"
        raise Report(Diagnostic("AIF821", message, hint="return the model from `build(params, signature)`"))
    return model


def seed(value: int) -> None:
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


@dataclass(frozen=True, slots=True)
class Torch:
    """`context.Framework` for a module on a device."""

    model: torch.nn.Module
    device: torch.device
    precision: str

    def tensors(self, rows: Rows) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        features = {name: self._tensor(array) for name, array in rows.features.items()}
        return features, None if rows.label is None else self._tensor(rows.label)

    def _tensor(self, array: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def capture(self) -> dict[str, Any]:
        return {"weights": self.model.state_dict(), "random": _random_states()}

    def restore(self, captured: Any) -> None:
        self.restore_weights(captured)
        _set_random_states(captured["random"])

    def restore_weights(self, captured: Any) -> None:
        self.model.load_state_dict(captured["weights"])

    def write(self, value: Any, path: Path) -> None:
        torch.save(storable(value), path)

    def read(self, path: Path) -> Any:
        return torch.load(path, map_location="cpu", weights_only=True)

    def autocast(self) -> AbstractContextManager[Any]:
        half = HALF.get(self.precision)
        return nullcontext() if half is None else torch.autocast(self.device.type, dtype=half)


def storable(value: Any) -> Any:
    """The value in types that a load without pickled code takes. Raises Report (AIF827) for any other."""
    if isinstance(value, torch.Tensor | str | bool | int | float | torch.dtype | torch.device | torch.Size | None):
        return float(value) if isinstance(value, np.floating) else value
    if isinstance(value, np.generic | np.ndarray):
        return value.item() if value.ndim == 0 else torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Mapping):
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [storable(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    message = f"a checkpoint can't keep a value of type `{type(value).__name__}`"
    hint = "save `state_dict()`s, numbers, text and tensors, in lists and dicts"
    raise Report(Diagnostic("AIF827", message, hint=hint))


@dataclass(frozen=True, slots=True)
class TorchLearner:
    """`loop.Learner` for a module."""

    context: Context
    kind: str
    """Of the model's output: logits, probabilities or value."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def step(self, features: Mapping[str, torch.Tensor], label: torch.Tensor) -> float:
        self.context.model.train()
        with self.context.autocast():
            loss = self.loss(self.context.model(*features.values()), label)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    @torch.no_grad()
    def look(self, features: Mapping[str, torch.Tensor], label: torch.Tensor) -> tuple[float, int | None]:
        self.context.model.eval()
        with self.context.autocast():
            outputs = self.context.model(*features.values())
            loss = self.loss(outputs, label).item()
        if self.kind == VALUE:
            return loss, None
        chances = probabilities(outputs.float().cpu().numpy(), self.kind)
        return loss, int((chances.argmax(axis=-1) == label.cpu().numpy()).sum())


def fit(context: Context, kind: str) -> None:
    """aifctl's own loop; `kind` is the model's output: logits, probabilities or value. Raises Report (AIF826)."""
    device = context.data("train").framework.device  # type: ignore[attr-defined]
    scaler = torch.amp.GradScaler(device.type, enabled=context.config.precision == "fp16-mixed")
    with user_code("training", context.code):
        loss = loss_of(context.signature.task, kind)
        Loop(context, TorchLearner(context, kind, loss, optimizer_of(context), scaler)).run()


def loss_of(task: str, kind: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    if task in CLASSIFICATION:
        return _log_likelihood if kind == PROBABILITIES else _cross_entropy
    if task == "regression":
        return _squared_error
    hint = "write `fit(context)` and name it in `training.loop`"
    raise Report(Diagnostic("AIF826", f"there is no ready training loop for task `{task}`", hint=hint))


def optimizer_of(context: Context) -> torch.optim.Optimizer:
    """What hyperparameter `optimizer` names (Adam), with `learning_rate`, `weight_decay` and `momentum` where given."""
    params = context.params
    name = str(params.get("optimizer", "adam")).lower()
    if name not in OPTIMIZERS:
        hint = f"known are {', '.join(OPTIMIZERS)}; for others write `fit(context)`"
        raise Report(Diagnostic("AIF826", f"no optimizer `{name}` in aifctl's own loop", hint=hint))
    known = {"learning_rate": "lr", "weight_decay": "weight_decay", "momentum": "momentum"}
    return OPTIMIZERS[name](context.model.parameters(), **{known[k]: float(v) for k, v in params.items() if k in known})


def _cross_entropy(outputs: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    if outputs.shape[-1] == 1:
        return functional.binary_cross_entropy_with_logits(outputs[:, 0].float(), label.float())
    return functional.cross_entropy(outputs.float(), label)


def _log_likelihood(outputs: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    if outputs.shape[-1] == 1:
        outputs = torch.cat([1 - outputs, outputs], dim=1)
    return functional.nll_loss(outputs.float().clamp_min(1e-7).log(), label)


def _squared_error(outputs: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs.float().reshape(label.shape), label.float())


def _probe(context: Context) -> str:
    """Runs a few rows before hours are spent: the kind of the output. Raises Report (AIF821, AIF824)."""
    rows = context.splits["train"].take(slice(0, PROBE_ROWS))
    features, _ = context.framework.tensors(rows)  # type: ignore[union-attr]
    context.model.eval()
    with torch.no_grad(), user_code("the model's first call", context.code):
        outputs = context.model(*features.values())
    if not isinstance(outputs, torch.Tensor):
        message = f"the model gives {type(outputs).__name__}, not a tensor"
        raise Report(Diagnostic("AIF821", message, hint="give one tensor, a row for each row of input"))
    frameworks.check_output(context.signature, len(rows), tuple(outputs.shape))
    values = outputs.float().cpu().numpy()
    with user_code("the model's call with random weights", context.code):
        kind = output_kind(context.signature.task, values, lambda: _with_random_weights(context.model, features))
    context.model.train()
    return kind


@torch.no_grad()
def _with_random_weights(model: torch.nn.Module, features: Mapping[str, torch.Tensor]) -> list[Any]:
    """The model's outputs under other weights, which are put back. Takes nothing from the global generators."""
    generator, outputs = torch.Generator().manual_seed(0), []
    kept = [parameter.clone() for parameter in model.parameters()]
    try:
        for _ in range(RANDOM_WEIGHTS):
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
            outputs.append(model(*features.values()).float().cpu().numpy())
        return outputs
    finally:
        for parameter, value in zip(model.parameters(), kept, strict=True):
            parameter.copy_(value)


def _device(asked: str | None) -> torch.device:
    """Raises Report (AIF838) for one that this machine has not."""
    if asked is None:
        best = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else best)
    try:
        device = torch.device(asked)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise frameworks.no_device(asked, there) from error
    return device


def _random_states() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys, dtype="int64"), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_states(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(states["torch"])
    # Another number of devices than before the restart has streams of its own.
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
