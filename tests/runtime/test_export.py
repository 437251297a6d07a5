"""Exports: what lies in a bundle, under which names, and for any number of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aifctl import contract
from aifctl.checks.compatibility import OPSETS
from aifctl.runtime import bundle
from aifctl.runtime.data import Prepared
from aifctl.runtime.frameworks import load_reference
from tests.runtime.chain import Chain, iris, refused, training, wine


def own(chain: Chain) -> Chain:
    """The same training with a list of steps of its own."""
    return replace(chain, steps=dict(chain.steps))


def test_features(chain: Chain) -> dict[str, Any]:
    return Prepared.open(chain.published("prepare")).split("test").features


test_features.__test__ = False  # type: ignore[attr-defined]


def same_as_reference(chain: Chain, name: str) -> None:
    """The loaded bundle gives the reference's outputs, for all rows at once and for one."""
    features = test_features(chain)
    expected = load_reference(chain.published("train"), chain.code).predict(features)
    loaded = bundle.load(chain.published(f"export-{name}").path)
    (output,) = loaded.signature.outputs
    np.testing.assert_allclose(loaded.predict(features)[output.name], expected, rtol=1e-3, atol=1e-4)
    one = loaded.predict({key: array[:1] for key, array in features.items()})[output.name]
    np.testing.assert_allclose(one, expected[:1], rtol=1e-3, atol=1e-4)


@pytest.mark.torch
def test_pytorch_becomes_one_onnx_file_with_names_and_a_free_batch_size(digits_torch: Chain) -> None:
    import onnx

    chain = own(digits_torch)
    result = chain.export("onnx", "onnx", "pytorch", opset=20)
    published = chain.published("export-onnx")
    assert set(published.files) == {"bundle.json", "model.onnx"}
    model = onnx.load(published.path / "model.onnx")
    (pixels,), (logits,) = model.graph.input, model.graph.output
    assert (pixels.name, logits.name) == ("pixels", "logits")
    assert [d.dim_param or d.dim_value for d in pixels.type.tensor_type.shape.dim] == ["batch", 8, 8]
    assert {opset.version for opset in model.opset_import if not opset.domain} == {20}
    assert result.outputs["sha256"] == bundle.load(published.path).sha256
    about = published.read_json("bundle.json")
    assert about["preprocessing"] == {"serve": "graph", "class": "digits.data:Prep", "file": None}
    assert about["made_of"]["train"] == chain.published("train").digest
    assert {"python", "numpy", "onnxruntime", "torch"} <= set(about["environment"])
    same_as_reference(chain, "onnx")


@pytest.mark.tensorflow
def test_tensorflow_becomes_a_savedmodel(digits_tensorflow: Chain) -> None:
    chain = own(digits_tensorflow)
    chain.export("saved", "savedmodel", "tensorflow")
    assert "saved_model/saved_model.pb" in chain.published("export-saved").files
    from aifctl.runtime.tensorflow_quiet import tf

    call = tf.saved_model.load(str(chain.published("export-saved").path / "saved_model")).signatures["serving_default"]
    (pixels,) = call.structured_input_signature[1].values()
    assert (pixels.name, pixels.shape.as_list(), pixels.dtype) == ("pixels", [None, 8, 8], tf.float32)
    assert list(call.structured_outputs) == ["probabilities"]
    same_as_reference(chain, "saved")


@pytest.mark.tensorflow
def test_tensorflow_becomes_onnx(digits_tensorflow: Chain) -> None:
    chain = own(digits_tensorflow)
    chain.export("onnx", "onnx", "tensorflow")
    assert set(chain.published("export-onnx").files) == {"bundle.json", "model.onnx"}
    same_as_reference(chain, "onnx")


@pytest.mark.tensorflow
def test_what_tf2onnx_says_is_shown_when_it_fails(tmp_path: Path) -> None:
    from aifctl.runtime.frameworks.onnx_from_tensorflow import convert

    (tmp_path / "empty").mkdir()
    (finding,) = refused(lambda: convert(tmp_path / "empty", tmp_path / "model.onnx", 18))
    assert finding.code == "AIF831"
    assert any("SavedModel file does not exist" in note for note in finding.notes)


def test_a_custom_model_takes_its_code_along(tmp_path: Path) -> None:
    chain = wine(tmp_path).prepared()
    command = contract.CustomTraining(command=("python", "train.py"), produces="model.skops", predict="predict:predict")
    chain.train(training("custom", "wine", None, custom=command))
    chain.export("sklearn", "custom", "custom")
    files = set(chain.published("export-sklearn").files)
    assert files == {"bundle.json", "model/model.skops", "code/predict.py", "code/train.py"}
    chain.code = tmp_path  # serving has no other code than the bundle's
    loaded = bundle.load(chain.published("export-sklearn").path)
    outputs = loaded.predict(test_features(chain))
    assert outputs["probabilities"].shape == (36, 3)
    assert chain.verify_step("sklearn").inputs.keys() == {"export-sklearn", "train", "prepare"}


PREP = """
    class Prep:
        def fit(self, train):
            self.state = {"mean": train["measurements"].mean(0), "scale": 2}

        def transform(self, batch):
            x = (batch["measurements"] - self.state["mean"]) / self.state["scale"]
            return {"left": x[:, :2], "right": x[:, 2:]}
"""
TWO = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.left, self.right = nn.Linear(2, classes), nn.Linear(2, classes)

        def forward(self, left, right):
            return self.left(left) + self.right(right)

    def build(params, signature):
        assert [(t.name, t.shape) for t in signature.inputs] == [("left", (2,)), ("right", (2,))]
        return Net(signature.classes)
"""


def two_towers(tmp_path: Path, code: Callable[..., Path], serve: str, prep: str = PREP) -> Chain:
    """A model whose preprocessing changes the names and number of its inputs, with an array in its state."""
    chain = iris(tmp_path, code(net=TWO, prep=prep)).prepared()
    preprocessing = contract.Preprocessing(cls="prep:Prep", serve=serve)
    chain.train(training("pytorch", "iris", "net:build", preprocessing=preprocessing))
    return chain


@pytest.mark.torch
@pytest.mark.parametrize(
    ("serve", "inputs", "graph", "files"),
    [
        ("graph", ["measurements"], ["measurements"], set()),
        ("server", ["measurements"], ["left", "right"], {"preprocessing.npz", "code/net.py", "code/prep.py"}),
        ("client", ["left", "right"], ["left", "right"], set()),
    ],
)
def test_where_preprocessing_runs(
    tmp_path: Path, code: Callable[..., Path], serve: str, inputs: list[str], graph: list[str], files: set[str]
) -> None:
    import onnxruntime

    told = {"graph": "client", "server": "graph", "client": "server"}[serve]  # the export decides, not the training
    chain = two_towers(tmp_path, code, told)
    chain.export("onnx", "onnx", "pytorch", serve=serve)
    published = chain.published("export-onnx")
    assert set(published.files) == {"bundle.json", "model.onnx"} | files
    session = onnxruntime.InferenceSession(published.path / "model.onnx")
    assert [item.name for item in session.get_inputs()] == graph
    loaded = bundle.load(published.path)
    assert [tensor.name for tensor in loaded.signature.inputs] == inputs
    reference = load_reference(chain.published("train"), chain.code)
    raw = test_features(chain)
    given = reference.transform(raw) if serve == "client" else raw
    np.testing.assert_allclose(loaded.predict(given)["logits"], reference.predict(raw), rtol=1e-4, atol=1e-5)
    assert chain.verify("onnx").outputs["metrics"]["accuracy"] >= 0


@pytest.mark.torch
def test_preprocessing_that_branches_on_values_can_not_be_traced(tmp_path: Path, code: Callable[..., Path]) -> None:
    branching = """
        class Prep:
            def fit(self, train):
                self.state = {}

            def transform(self, batch):
                x = batch["measurements"]
                if x.max() > 3:
                    x = x / 10
                return {"left": x[:, :2], "right": x[:, 2:]}
    """
    chain = two_towers(tmp_path, code, "graph", branching)
    (finding,) = refused(lambda: chain.export("onnx", "onnx", "pytorch"))
    assert finding.code == "AIF831"
    assert any("if x.max() > 3" in note for note in finding.notes)
    assert finding.hint == "preprocessing and forward must be arithmetic on tensors, without branches on their values"


@pytest.mark.torch
@pytest.mark.parametrize("opset", OPSETS["pytorch"])
def test_the_ends_of_what_validate_allows_for_pytorch_are_written(digits_torch: Chain, opset: int) -> None:
    chain = own(digits_torch)
    chain.export("edge", "onnx", "pytorch", opset=opset)
    assert opset_of(chain, "edge") == opset
    same_as_reference(chain, "edge")


@pytest.mark.tensorflow
@pytest.mark.parametrize("opset", OPSETS["tensorflow"])
def test_the_ends_of_what_validate_allows_for_tensorflow_are_written(digits_tensorflow: Chain, opset: int) -> None:
    chain = own(digits_tensorflow)
    chain.export("edge", "onnx", "tensorflow", opset=opset)
    assert opset_of(chain, "edge") == opset
    same_as_reference(chain, "edge")


def opset_of(chain: Chain, name: str) -> int:
    import onnx

    model = onnx.load(chain.published(f"export-{name}").path / "model.onnx")
    (found,) = [each.version for each in model.opset_import if not each.domain]
    return int(found)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("format", "more", "message"),
    [
        ("savedmodel", {}, "`pytorch` can't be exported as `savedmodel`"),
        ("onnx", {"opset": OPSETS["pytorch"][0] - 1}, "opset 17 can't be written for PyTorch"),
        ("onnx", {"quantize": "int8-static"}, "this runtime can't quantize (`int8-static`) yet"),
    ],
)
def test_what_is_not_offered(digits_torch: Chain, format: str, more: dict[str, Any], message: str) -> None:
    (finding,) = refused(lambda: own(digits_torch).export("other", format, "pytorch", **more))
    assert (finding.code, finding.message) == ("AIF820", message)
