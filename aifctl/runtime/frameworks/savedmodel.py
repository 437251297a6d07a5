"""Keras to SavedModel: one signature `serving_default`, tensors by the signature's names, a free batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aifctl.contract import ExportConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime import preprocessing
from aifctl.runtime.frameworks import Trained, tensorflow
from aifctl.runtime.job import user_frames
from aifctl.runtime.tensorflow_quiet import tf

FOLDER = "saved_model"
SIGNATURE = "serving_default"


def export(trained: Trained, config: ExportConfig, folder: Path) -> str:
    """Writes saved_model/. Raises Report (AIF831) where the model can't be traced."""
    try:
        save(trained, folder / FOLDER)
    except Exception as error:  # tracing runs user code, which may raise anything
        lines = str(error).strip().splitlines() or [""]
        message = f"the model can't be exported as a SavedModel: {type(error).__name__}: {lines[0]}"
        hint = "preprocessing must be arithmetic on tensors, without branches on their values"
        notes = (*lines[1:6], *user_frames(error, trained.code)[-3:])
        raise Report(Diagnostic("AIF831", message, hint=hint, notes=notes)) from error
    return FOLDER


def save(trained: Trained, folder: Path) -> None:
    with tf.device("/cpu:0"):
        graph = Graph(tensorflow.restore(trained), trained)
        tf.saved_model.save(graph, str(folder), signatures={SIGNATURE: graph.serve})


class Graph(tf.Module):
    """What is traced: the model, after its preprocessing where that is served in the graph."""

    def __init__(self, model: Any, trained: Trained) -> None:
        super().__init__()
        self.model = model
        in_graph = trained.placement == "graph"
        prep = preprocessing.in_graph(trained.preprocessing, tf.constant) if in_graph else None
        inputs = trained.signature.inputs if in_graph else trained.model.inputs
        order = [tensor.name for tensor in trained.model.inputs]
        output = trained.signature.outputs[0].name

        def serve(**features: Any) -> dict[str, Any]:
            batch = features if prep is None else prep.transform(features)
            return {output: tensorflow.call(model, {name: _float32(batch[name]) for name in order}, training=False)}

        specs = {t.name: tf.TensorSpec((None, *t.shape), t.dtype, name=t.name) for t in inputs}
        self.serve = tf.function(serve).get_concrete_function(**specs)


def _float32(tensor: Any) -> Any:
    return tf.cast(tensor, tf.float32) if tensor.dtype.is_floating else tensor
