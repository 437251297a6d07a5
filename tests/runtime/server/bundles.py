"""Real bundles, small enough to be made in a moment. Writes the folders it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aifctl.runtime import bundle
from aifctl.runtime.signature import Signature, Tensor

WEIGHTS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 2], [1, 1, -1]], np.float32)
SIGNATURE = Signature(
    task="classification",
    inputs=(
        Tensor(name="pixels", dtype="float32", shape=(2, 2), type="tensor", columns=("p0", "p1", "p2", "p3")),
        Tensor(name="shift", dtype="int64", shape=(), type="category", columns=("shift",), values=("no", "one", "two")),
    ),
    outputs=(Tensor(name="logits", dtype="float32", shape=(3,), kind="logits"),),
    labels=("a", "b", "c"),
    classes=3,
)


def logits(pixels: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What both models compute: pixels times weights, plus row `shift` of the first two rows of them."""
    return pixels.reshape(-1, 4) @ WEIGHTS + WEIGHTS[shift]


def write_onnx(path: Path) -> str:
    """The table has two rows and the signature three categories: the last one is refused by the graph, not by us."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node("Gather", ["table", "shift"], ["row"]),
        helper.make_node("Add", ["product", "row"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 2, 2]),
            helper.make_tensor_value_info("shift", TensorProto.INT64, ["n"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(WEIGHTS, "weights"), numpy_helper.from_array(WEIGHTS[:2], "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path.mkdir(parents=True)
    onnx.save(model, path / "model.onnx")
    return bundle.write(path, _about("onnx", "model.onnx"))


def write_custom(path: Path, code: str, prep: bundle.Preprocessing | None = None) -> str:
    """`code` is the module `tiny`, with predict(model_dir, batch) and the class that `prep` names."""
    (path / "model").mkdir(parents=True)
    np.save(path / "model" / "weights.npy", WEIGHTS)
    (path / "code").mkdir()
    (path / "code" / "tiny.py").write_text(code, encoding="utf-8")
    return bundle.write(path, _about("custom", "model", predict="tiny:predict", preprocessing=prep))


def _about(format: str, model: str, **more: Any) -> bundle.About:
    return bundle.About(format=format, framework="custom", model=model, signature=SIGNATURE, **more)
