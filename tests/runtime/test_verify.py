"""The two gates: a right export passes, and three wrong ones, really made, are refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aifctl.contract import ExportConfig, Kind, Preprocessing
from aifctl.diagnostics import Diagnostic
from aifctl.runtime import bundle, frameworks
from aifctl.runtime.frameworks import Trained
from aifctl.runtime.steps import export as export_step
from tests.runtime.chain import Chain, coin, digits, refused, training
from tests.runtime.conftest import PREP

pytestmark = pytest.mark.torch
Make = Callable[[Trained, Path], Trained]
"""Writes model.onnx into a folder, and gives what its bundle.json is to say."""


def publish(chain: Chain, name: str, make: Make) -> Chain:
    """A chain whose export step published a bundle of the test's own making."""
    chain = replace(chain, steps=dict(chain.steps))
    config = ExportConfig(name=name, format="onnx", framework="pytorch", dataset="digits")
    spec = chain.step(Kind.EXPORT, f"export-{name}", config, ("train", "prepare"))
    attempt = chain.store.attempt(str(spec.digest), "a1")
    trained = make(frameworks.open_trained(chain.published("train").path, chain.code), attempt.path)
    bundle.write(attempt.path, export_step.about(trained, config, "model.onnx", {}))
    attempt.publish({}, {"name": spec.name, "kind": "export", "config": dict(spec.config)})
    return chain


def findings(chain: Chain, name: str, **more: Any) -> dict[str, Diagnostic]:
    return {finding.code: finding for finding in refused(lambda: chain.verify(name, **more))}


def export(trained: Trained, folder: Path) -> Trained:
    from aifctl.runtime.frameworks import onnx_from_torch

    onnx_from_torch.export(
        trained, ExportConfig(name="x", format="onnx", framework="pytorch", dataset="digits"), folder
    )
    return trained


def test_a_right_export_passes_both_gates(digits_torch: Chain) -> None:
    chain = publish(digits_torch, "right", export)
    outputs = chain.verify("right", metrics=("accuracy", "f1_macro", "log_loss"), max_metric_drop=1e-4).outputs
    assert outputs["parity"]["rows"] == 180
    assert 0 <= outputs["parity"]["greatest_difference"] < 1e-4
    assert outputs["metrics"]["accuracy"] >= 0.95
    assert outputs["metrics"]["accuracy"] == outputs["reference"]["accuracy"]
    assert outputs["latency_ms"] > 0
    assert chain.published("verify-right").read_json("verify.json") == outputs


def test_swapped_weights_are_refused(digits_torch: Chain, tmp_path: Path) -> None:
    """The weights of another training of the same network: as accurate, and not what was evaluated."""
    other = digits(tmp_path, "digits-pytorch").prepared()
    params = {"learning_rate": 0.005}
    other.train(
        training(
            "pytorch",
            "digits",
            "digits.cnn:build",
            loop="digits.cnn:fit",
            epochs=5,
            batch=64,
            seed=8,
            params=params,
            preprocessing=PREP,
        )
    )

    def swapped(trained: Trained, folder: Path) -> Trained:
        export(frameworks.open_trained(other.published("train").path, other.code), folder)
        return trained

    found = findings(publish(digits_torch, "swapped", swapped), "swapped", max_metric_drop=0.5)
    assert set(found) == {"AIF833", "AIF834"}
    assert (
        "export `swapped` does not compute what the trained model computes: 180 of 180 rows" in found["AIF833"].message
    )
    header, *rows = found["AIF833"].notes
    assert header.split() == ["row", "logits", "reference", "exported"]
    assert len(rows) == 5
    number, _, reference, exported = rows[0].split()
    assert 1 <= int(number) <= 1797
    assert abs(float(reference) - float(exported)) > 1


def test_batch_norm_left_in_training_mode_is_refused(digits_torch: Chain) -> None:
    """torch's older exporter writes batch norm as it is found; the newer one always writes it for inference."""

    def in_training_mode(trained: Trained, folder: Path) -> Trained:
        import torch

        from aifctl.runtime.frameworks import onnx_from_torch, pytorch

        graph = onnx_from_torch.Graph(pytorch.restore(trained), trained)
        with warnings.catch_warnings(action="ignore"), onnx_from_torch.quiet():
            torch.onnx.export(
                graph,
                (torch.zeros(3, 8, 8),),
                folder / "model.onnx",
                dynamo=False,
                training=torch.onnx.TrainingMode.TRAINING,
                do_constant_folding=False,
                input_names=["pixels"],
                output_names=["logits"],
                dynamic_axes={"pixels": {0: "batch"}},
                opset_version=18,
            )
        return trained

    found = findings(publish(digits_torch, "training", in_training_mode), "training", max_metric_drop=0.5)
    assert {"AIF833", "AIF834"} <= set(found)
    assert "does not compute what the trained model computes" in found["AIF833"].message


def test_dropped_preprocessing_passes_parity_and_is_refused_on_raw_rows(digits_torch: Chain) -> None:
    def without(trained: Trained, folder: Path) -> Trained:
        dropped = replace(trained, preprocessing=None, config=replace(trained.config, preprocessing=None))
        return export(dropped, folder)

    chain = publish(digits_torch, "dropped", without)
    found = findings(chain, "dropped", max_metric_drop=0.01)
    assert "AIF833" not in found, "the model's own arithmetic was exported right"
    assert set(found) == {"AIF834", "AIF835"}
    assert "answers raw rows of `test` otherwise than the trained model" in found["AIF834"].message
    dropped = found["AIF835"]
    assert dropped.message.startswith("`accuracy` of export `dropped` from raw rows is 0.")
    assert dropped.message.endswith("0.01 is allowed")
    header, *rows = dropped.notes
    assert header.split() == ["row", "label", "reference", "exported"]
    assert len(rows) == 5
    for row in rows:
        _, label, reference, exported = row.split()
        assert label == reference != exported


def test_a_quantized_export_is_held_against_metrics_alone(digits_torch: Chain) -> None:
    """Weights rounded to three bits: other outputs, nearly the same answers."""

    def rounded(trained: Trained, folder: Path) -> Trained:
        import torch

        from aifctl.runtime.frameworks import onnx_from_torch, pytorch

        model = pytorch.restore(trained)
        with torch.no_grad():
            for weight in model.parameters():
                step = weight.abs().max() / 31
                weight.copy_((weight / step).round() * step)
        onnx_from_torch.trace(onnx_from_torch.Graph(model, trained).eval(), trained, 18, folder / "model.onnx")
        return trained

    chain = publish(digits_torch, "rounded", rounded)
    assert set(findings(chain, "rounded", max_metric_drop=0.05)) == {"AIF833", "AIF834"}
    outputs = chain.verify("rounded", quantized=True, max_metric_drop=0.05).outputs
    assert outputs["parity"]["greatest_difference"] > 1e-2
    found = findings(chain, "rounded", quantized=True, metrics=("log_loss",), max_metric_drop=-1.0)
    assert set(found) == {"AIF835"}


def test_nan_in_the_outputs_is_a_difference(digits_torch: Chain) -> None:
    def poisoned(trained: Trained, folder: Path) -> Trained:
        import torch

        from aifctl.runtime.frameworks import onnx_from_torch, pytorch

        model = pytorch.restore(trained)
        with torch.no_grad():
            model.head.bias[3] = float("nan")
        onnx_from_torch.trace(onnx_from_torch.Graph(model, trained).eval(), trained, 18, folder / "model.onnx")
        return trained

    found = refused(lambda: publish(digits_torch, "nan", poisoned).verify("nan", metrics=()))
    assert [finding.code for finding in found] == ["AIF833", "AIF834"]
    assert "at most by not a number" in found[0].message
    assert found[0].notes[1].split()[3] == "nan"


def test_another_model_altogether_is_refused_with_both_shapes(digits_torch: Chain) -> None:
    def other(trained: Trained, folder: Path) -> Trained:
        import torch

        from aifctl.runtime.frameworks import onnx_from_torch

        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 9))
        onnx_from_torch.trace(onnx_from_torch.Graph(model, trained).eval(), trained, 18, folder / "model.onnx")
        return trained

    found = refused(lambda: publish(digits_torch, "other", other).verify("other"))
    assert {finding.code for finding in found} == {"AIF834"}
    expected = "export `other` gives `logits` of shape (180, 9), the trained model `logits` of shape (180, 10)"
    assert found[0].message == expected


def test_a_bundle_that_can_not_answer_is_told_once_a_gate_without_a_traceback(digits_torch: Chain) -> None:
    def narrow(trained: Trained, folder: Path) -> Trained:
        (pixels,) = trained.signature.inputs
        smaller = replace(trained.signature, inputs=(replace(pixels, columns=pixels.columns[:32], shape=(4, 8)),))
        return replace(export(trained, folder), signature=smaller)

    (finding,) = refused(lambda: publish(digits_torch, "narrow", narrow).verify("narrow"))
    assert finding.code == "AIF834"
    assert "can't answer: InvalidArgument" in finding.message


@pytest.mark.tensorflow
def test_tensorflow_exports_pass_both_gates(digits_tensorflow: Chain) -> None:
    chain = replace(digits_tensorflow, steps=dict(digits_tensorflow.steps))
    for format in ("savedmodel", "onnx"):
        chain.export(format, format, "tensorflow")
        outputs = chain.verify(format).outputs
        assert outputs["metrics"]["accuracy"] >= 0.95
        assert outputs["parity"]["greatest_difference"] < 1e-4


def test_answers_that_depend_on_the_batch_are_refused(tmp_path: Path, code: Callable[..., Path]) -> None:
    """All test rows at once get the reference's answers; a request with one row would get others."""
    source = code(
        net="""
        from torch import nn

        def build(params, signature):
            return nn.Linear(1, 2)
        """,
        prep="""
        class Prep:
            def fit(self, train):
                self.state = {}

            def transform(self, batch):
                return {"x": batch["x"] - batch["x"].mean()}
        """,
    )
    chain = coin(tmp_path, source).prepared()
    placed = Preprocessing(cls="prep:Prep", serve="server")
    chain.train(training("pytorch", "coin", "net:build", preprocessing=placed))
    chain.export("onnx", "onnx", "pytorch")
    found = findings(chain, "onnx")
    assert found.keys() == {"AIF834"}
    message = "export `onnx` answers a row of `test` otherwise when it is asked for alone: 1 of 1 rows differ"
    assert found["AIF834"].message.startswith(message)
