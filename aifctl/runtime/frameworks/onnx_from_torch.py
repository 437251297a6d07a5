"""PyTorch to ONNX by `torch.onnx.export(dynamo=True)`: one file, a free batch size, preprocessing where it is served.

Tensors carry the signature's names. torch >= 2.9 needs onnx and onnxscript for this, opset 18 or newer, and an example
of more than one row, or the batch size is taken for a constant.
"""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import torch

from aifctl.contract import ExportConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import preprocessing
from aifctl.runtime.frameworks import Trained, pytorch, unsupported
from aifctl.runtime.job import user_frames

FILE = "model.onnx"
OPSET = 18
EXAMPLE_ROWS = 3


def export(trained: Trained, config: ExportConfig, folder: Path) -> str:
    """Writes model.onnx. Raises Report: AIF820 for what can't be asked for, AIF831 where the export fails."""
    opset = config.opset or OPSET
    if opset < OPSET:
        raise unsupported(f"opset {opset} can't be written for PyTorch", f"use opset {OPSET} or newer")
    graph = Graph(pytorch.restore(trained), trained).eval()
    try:
        trace(graph, trained, opset, folder / FILE)
    except Exception as error:  # the exporter raises what the model's code makes it raise
        raise _failed(error, trained) from error
    return FILE


def trace(graph: Graph, trained: Trained, opset: int, path: Path) -> None:
    """Writes the graph in the mode it is in. Raises what the exporter and user code raise."""
    example = tuple(torch.zeros((EXAMPLE_ROWS, *t.shape), dtype=getattr(torch, t.dtype)) for t in graph.inputs)
    with torch.no_grad(), quiet():
        program: Any = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            opset_version=opset,
            input_names=[tensor.name for tensor in graph.inputs],
            output_names=[trained.signature.outputs[0].name],
            dynamic_shapes=(tuple({0: torch.export.Dim("batch")} for _ in graph.inputs),),
            verbose=False,
        )
        program.save(str(path), external_data=False)


class Graph(torch.nn.Module):
    """What is traced: the model, after its preprocessing where that is served in the graph."""

    def __init__(self, model: torch.nn.Module, trained: Trained) -> None:
        super().__init__()
        self.model = model
        self.order = [tensor.name for tensor in trained.model.inputs]
        in_graph = trained.placement == "graph"
        self.inputs = trained.signature.inputs if in_graph else trained.model.inputs
        self.prep = preprocessing.in_graph(trained.preprocessing, torch.from_numpy) if in_graph else None

    def forward(self, *features: torch.Tensor) -> torch.Tensor:
        if self.prep is None:
            return self.model(*features)
        batch = self.prep.transform({t.name: feature for t, feature in zip(self.inputs, features, strict=True)})
        return self.model(
            *(batch[name].float() if batch[name].is_floating_point() else batch[name] for name in self.order)
        )


@contextlib.contextmanager
def quiet() -> Any:
    """The exporter prints its steps, and warns of packages that nobody asked for."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _failed(error: Exception, trained: Trained) -> Report:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause).strip().splitlines()
    message = f"the model can't be exported to ONNX: {type(cause).__name__}: {text[0] if text else ''}".rstrip(": ")
    hint = "preprocessing and forward must be arithmetic on tensors, without branches on their values"
    return Report(Diagnostic("AIF831", message, hint=hint, notes=(*text[1:6], *user_frames(cause, trained.code)[-3:])))
