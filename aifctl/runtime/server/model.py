"""What the server knows of a model: its name, version and wire types around a loaded bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aifctl.diagnostics import Diagnostic, Report
from aifctl.digest import SHORT
from aifctl.runtime import signature as signatures
from aifctl.runtime.server.tensors import Tensor, datatype_of, to_json
from aifctl.runtime.signature import Arrays, Signature


class Bundle(Protocol):
    """The part of `runtime.bundle.LoadedBundle` that is served. Both calls take and give arrays, batch first."""

    @property
    def signature(self) -> Signature: ...

    def predict(self, features: Arrays) -> Arrays: ...

    def predict_rows(self, rows: Any) -> Arrays: ...


@dataclass(frozen=True, slots=True)
class Model:
    """`version` is the start of the bundle's content digest: the same everywhere the same release serves."""

    name: str
    version: str
    sha256: str
    format: str
    bundle: Bundle
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    columns: tuple[str, ...]
    """Columns a raw row must have, in the signature's order."""

    @property
    def signature(self) -> Signature:
        return self.bundle.signature

    def metadata(self) -> dict[str, Any]:
        """Open Inference Protocol, "Model Metadata Response JSON Object"."""
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": _PLATFORMS.get(self.format, self.format),
            "inputs": [tensor.metadata() for tensor in self.inputs.values()],
            "outputs": [tensor.metadata() for tensor in self.outputs.values()],
        }


_PLATFORMS = {"onnx": "onnx_onnxv1", "savedmodel": "tensorflow_savedmodel"}
"""Names from the protocol's "Platforms"; others are served under their format's own."""


def of_bundle(bundle: Bundle, name: str, sha256: str, format: str) -> Model:
    """Raises Report (AIF863) for a signature that can't be served."""
    signature = bundle.signature
    columns = dict.fromkeys(column for tensor in signature.inputs for column in tensor.columns)
    return Model(
        name=name,
        version=sha256[:SHORT],
        sha256=sha256,
        format=format,
        bundle=bundle,
        inputs={tensor.name: _wire(tensor) for tensor in signature.inputs},
        outputs={tensor.name: _wire(tensor) for tensor in signature.outputs},
        columns=tuple(columns),
    )


def describe(model: Model, outputs: Arrays) -> list[dict[str, Any]]:
    """What a person reads of the outputs, one dict a row: label and confidence, or value.

    A classifier's head is its first output that holds logits or probabilities, (rows, classes). A model with none
    has neither label nor value, its outputs speak for themselves. What came out as NaN is null.
    """
    for tensor in model.signature.outputs:
        if tensor.kind in (signatures.LOGITS, signatures.PROBABILITIES):
            return _labels(model.signature, signatures.probabilities(outputs[tensor.name], tensor.kind))
    for tensor in model.signature.outputs:
        array = outputs[tensor.name]
        if tensor.kind == signatures.VALUE and array.size == len(array) and array.dtype.kind in "fiu":
            return [{"value": value} for value in to_json(array)]
    return [{} for _ in next(iter(outputs.values()))]


def _labels(signature: Signature, probabilities: Any) -> list[dict[str, Any]]:
    names: Sequence[Any] = signature.labels or range(probabilities.shape[-1])
    codes = probabilities.argmax(axis=-1)
    best = probabilities.max(axis=-1)
    return [
        {"label": names[code], "confidence": confidence}
        if math.isfinite(confidence)
        else {"label": None, "confidence": None}
        for code, confidence in zip(codes.tolist(), best.tolist(), strict=True)
    ]


def _wire(tensor: signatures.Tensor) -> Tensor:
    try:
        return Tensor(tensor.name, datatype_of(tensor.dtype), (-1, *tensor.shape))
    except (KeyError, TypeError):
        raise Report(
            Diagnostic(
                "AIF863",
                f"tensor `{tensor.name}` has dtype {tensor.dtype}, which the Open Inference Protocol does not have",
                hint="give the model a float, integer, boolean or text tensor instead",
            )
        ) from None
