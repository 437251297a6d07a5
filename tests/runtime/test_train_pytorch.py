"""Training with PyTorch: the entry points, the ready-made loop, and everything user code can do wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aifctl import contract
from aifctl.runtime import frameworks
from aifctl.runtime.data import Prepared
from aifctl.runtime.frameworks import load_reference
from aifctl.runtime.job import Stopped
from tests.runtime.chain import Chain, alcohol, coin, iris, refused, training

pytestmark = pytest.mark.torch

LINEAR = """
    from torch import nn

    def build(params, signature):
        return nn.Linear(4, signature.classes)
"""


def weights(chain: Chain) -> dict[str, Any]:
    import safetensors.numpy

    return safetensors.numpy.load_file(chain.published("train").path / "model.safetensors")


def test_the_example_learns_digits_by_its_own_loop(digits_torch: Chain) -> None:
    train = digits_torch.published("train")
    assert train.outputs["metrics"]["val_accuracy"] >= 0.96
    assert set(train.files) == {
        "model.safetensors",
        "preprocessing.npz",
        "signature.json",
        "history.json",
        "train.json",
    }
    history = json.loads((train.path / "history.json").read_text())
    assert [entry["step"] for entry in history if entry["name"] == "train_loss"] == [0, 1, 2, 3, 4]
    losses = [entry["value"] for entry in history if entry["name"] == "val_loss"]
    assert losses[-1] < losses[0] / 5


def test_the_signature_says_what_goes_in_and_comes_out(digits_torch: Chain) -> None:
    signature = digits_torch.published("train").read_json("signature.json")
    (pixels,) = signature["inputs"]
    assert (pixels["name"], pixels["dtype"], pixels["shape"]) == ("pixels", "float32", [8, 8])
    assert pixels["columns"][:2] == ["p0", "p1"]
    (output,) = signature["outputs"]
    assert (output["name"], output["kind"], output["shape"]) == ("logits", "logits", [10])
    assert signature["labels"] == [str(n) for n in range(10)]


def test_the_reference_is_right_on_rows_it_never_saw(digits_torch: Chain) -> None:
    reference = load_reference(digits_torch.published("train"), digits_torch.code)
    test = Prepared.open(digits_torch.published("prepare")).split("test")
    outputs = reference.predict(test.features)
    assert outputs.shape == (180, 10)
    assert outputs.dtype == np.float32
    assert (outputs.argmax(1) == test.label).mean() >= 0.95


def test_the_reference_does_not_depend_on_what_else_is_in_the_batch(digits_torch: Chain) -> None:
    reference = load_reference(digits_torch.published("train"), digits_torch.code)
    features = Prepared.open(digits_torch.published("prepare")).split("test").features
    alone = np.concatenate([reference.predict({"pixels": features["pixels"][i : i + 1]}) for i in range(5)])
    np.testing.assert_allclose(alone, reference.predict(features)[:5], rtol=1e-4, atol=1e-4)


def test_without_a_loop_aifctl_trains(tmp_path: Path) -> None:
    chain = iris(tmp_path).prepared()
    result = chain.train(training("pytorch", "iris", "iris:build", epochs=40))
    assert set(result.outputs["metrics"]) == {"train_loss", "val_loss", "val_accuracy"}
    assert result.outputs["metrics"]["val_accuracy"] >= 0.9
    assert chain.published("train").read_json("signature.json")["labels"] == ["setosa", "versicolor", "virginica"]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    runs = []
    for number, seed in enumerate((1, 1, 2)):
        chain = iris(tmp_path / str(number)).prepared()
        chain.train(training("pytorch", "iris", "iris:build", epochs=2, seed=seed))
        runs.append(weights(chain)["0.weight"])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_regression_with_two_inputs_in_the_signatures_order(tmp_path: Path, code: Callable[..., Path]) -> None:
    source = code(
        net="""
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(3, 1)

            def forward(self, phenols, colour):
                assert phenols.shape[1:] == (2,) and colour.dim() == 1
                return self.head(torch.cat([phenols, colour[:, None]], 1))

        def build(params, signature):
            assert [t.name for t in signature.inputs] == ["phenols", "colour"]
            return Net()
        """
    )
    chain = alcohol(tmp_path, source).prepared()
    config = contract.TrainConfig(
        task="regression",
        framework="pytorch",
        dataset="wine",
        model="net:build",
        epochs=60,
        batch=16,
        params={"learning_rate": 0.1, "optimizer": "rmsprop", "momentum": 0.5},
    )
    result = chain.train(config)
    assert result.outputs["metrics"]["val_loss"] < 1.0
    assert chain.published("train").read_json("signature.json")["outputs"][0]["kind"] == "value"


def test_without_validation_rows_there_are_no_validation_metrics(tmp_path: Path) -> None:
    chain = iris(tmp_path)
    chain.prepare = replace(chain.prepare, split=contract.Split(fractions={"train": 0.9, "test": 0.1}))
    result = chain.prepared().train(training("pytorch", "iris", "iris:build"))
    assert set(result.outputs["metrics"]) == {"train_loss"}


def test_probabilities_are_told_from_logits(tmp_path: Path, code: Callable[..., Path]) -> None:
    source = code(
        net="""
        from torch import nn

        def build(params, signature):
            return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, signature.classes), nn.Softmax(1))
        """
    )
    chain = iris(tmp_path, source).prepared()
    result = chain.train(training("pytorch", "iris", "net:build", epochs=30, params={"learning_rate": 0.01}))
    assert result.outputs["metrics"]["val_accuracy"] >= 0.9
    (output,) = chain.published("train").read_json("signature.json")["outputs"]
    assert (output["name"], output["kind"]) == ("probabilities", "probabilities")


ONE_LOGIT = """
    import torch

    class Net(torch.nn.Module):
        def __init__(self, sigmoid):
            super().__init__()
            self.head = torch.nn.Linear(1, 1)
            torch.nn.init.zeros_(self.head.weight)
            torch.nn.init.constant_(self.head.bias, 0.5)
            self.sigmoid = sigmoid

        def forward(self, x):
            logit = self.head(x)
            return torch.sigmoid(logit) if self.sigmoid else logit

    def build(params, signature):
        return Net(params["sigmoid"])
"""


@pytest.mark.parametrize(("sigmoid", "kind"), [(False, "logits"), (True, "probabilities")])
def test_a_logit_that_starts_between_0_and_1_is_one(
    tmp_path: Path, code: Callable[..., Path], sigmoid: bool, kind: str
) -> None:
    chain = coin(tmp_path, code(net=ONE_LOGIT)).prepared()
    params = {"sigmoid": sigmoid, "learning_rate": 0.3}
    result = chain.train(training("pytorch", "coin", "net:build", epochs=30, batch=16, params=params))
    assert chain.published("train").read_json("signature.json")["outputs"][0]["kind"] == kind
    assert result.outputs["metrics"]["val_accuracy"] == 1.0


def test_weights_tried_to_tell_logits_leave_no_trace(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = coin(tmp_path, code(net=ONE_LOGIT)).prepared()
    params = {"sigmoid": True, "learning_rate": 0.0}
    chain.train(training("pytorch", "coin", "net:build", params=params))
    assert weights(chain)["head.bias"] == 0.5
    assert weights(chain)["head.weight"] == 0.0


def test_batch_norm_learns_where_one_row_is_left_over(tmp_path: Path, code: Callable[..., Path]) -> None:
    source = code(
        net="""
        from torch import nn

        def build(params, signature):
            return nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        """
    )
    result = coin(tmp_path, source).prepared().train(training("pytorch", "coin", "net:build", batch=21))
    assert result.outputs["epochs"] == 1, "64 rows in batches of 21, 21 and 22"


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str) -> None:
    chain = iris(tmp_path).prepared()
    chain.device = device
    (finding,) = refused(lambda: chain.train(training("pytorch", "iris", "iris:build")))
    assert (finding.code, finding.message) == ("AIF838", f"there is no device `{device}` on this machine")


@pytest.mark.parametrize("precision", ["bf16-mixed", "fp16-mixed"])
def test_mixed_precision_leaves_fp32_weights(tmp_path: Path, precision: str) -> None:
    chain = iris(tmp_path).prepared()
    result = chain.train(training("pytorch", "iris", "iris:build", epochs=3, precision=precision))
    assert result.outputs["metrics"]["train_loss"] < 1.2
    assert {array.dtype.name for array in weights(chain).values()} == {"float32"}


def test_the_best_epoch_becomes_the_model(tmp_path: Path, code: Callable[..., Path]) -> None:
    source = code(
        net="""
        import torch
        from torch import nn

        def build(params, signature):
            return nn.Linear(4, signature.classes)

        def fit(context):
            for epoch, score in enumerate([0.5, 0.9, 0.7, 0.8]):
                with torch.no_grad():
                    context.model.bias.fill_(epoch)
                context.log("val_score", score, epoch)
                context.save({"epoch": epoch})
        """
    )
    chain = iris(tmp_path, source).prepared()
    best = contract.Checkpoint(keep=1, best="val_score", goal="maximize")
    result = chain.train(training("pytorch", "iris", "net:build", loop="net:fit", epochs=4, checkpoint=best))
    assert weights(chain)["bias"].tolist() == [1, 1, 1]
    assert result.outputs["metrics"] == {"val_score": 0.9}


WRONG = {
    "build raises": (
        "def build(params, signature):\n    return params['width']\n",
        {},
        "AIF806",
        "`net:build` failed at net.py:2: KeyError: 'width'",
    ),
    "build gives no model": (
        "def build(params, signature):\n    return signature.classes\n",
        {},
        "AIF821",
        "`net:build` returned int, not a torch.nn.Module",
    ),
    "no such function": ("def make(params, signature):\n    pass\n", {}, "AIF805", "`net` has no `build`"),
    "too few classes": (
        "from torch import nn\ndef build(params, signature):\n    return nn.Linear(4, 2)\n",
        {},
        "AIF824",
        "the model gives shape (8, 2) for 8 rows, 3 classes need (8, 3)",
    ),
    "wrong input size": (
        "from torch import nn\ndef build(params, signature):\n    return nn.Linear(5, 3)\n",
        {},
        "AIF806",
        "the model's first call failed",
    ),
    "no tensor": (
        (
            "from torch import nn\nclass Two(nn.Linear):\n    def forward(self, x):\n        return x, x\n"
            "def build(params, signature):\n    return Two(4, 3)\n"
        ),
        {},
        "AIF821",
        "the model gives tuple, not a tensor",
    ),
    "unknown optimizer": (
        LINEAR,
        {"params": {"optimizer": "lion"}},
        "AIF826",
        "no optimizer `lion` in aifctl's own loop",
    ),
    "learning rate beyond reason": (
        LINEAR,
        {"params": {"learning_rate": 1e38, "optimizer": "sgd"}, "epochs": 9},
        "AIF823",
        "training has diverged",
    ),
    "best metric is not logged": (
        LINEAR,
        {"checkpoint": contract.Checkpoint(best="val_f1")},
        "AIF825",
        "no checkpoint was saved with metric `val_f1`",
    ),
    "another model's weights": (LINEAR, {"start_from": {"run": "3f9a1c20b7"}}, "AIF820", "can't start from another"),
    "unknown precision": (LINEAR, {"precision": "int4"}, "AIF820", "no precision `int4`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_refused(tmp_path: Path, code: Callable[..., Path], case: str) -> None:
    text, options, expected, message = WRONG[case]
    chain = iris(tmp_path, code(net=text)).prepared()
    (finding,) = refused(lambda: chain.train(training("pytorch", "iris", "net:build", **options)))
    assert finding.code == expected
    assert message in finding.message
    assert chain.store.find(str(chain.steps["train"].digest)) is None


def test_an_own_loop_that_logs_nan_is_stopped(tmp_path: Path, code: Callable[..., Path]) -> None:
    loop = LINEAR + "\n    def fit(context):\n        context.log('train_loss', float('nan'), 3)\n"
    chain = iris(tmp_path, code(net=loop)).prepared()
    (finding,) = refused(lambda: chain.train(training("pytorch", "iris", "net:build", loop="net:fit")))
    assert (finding.code, finding.message) == ("AIF823", "`train_loss` is nan in epoch 3: training has diverged")


def test_a_failing_loop_is_told_by_the_users_own_frames(tmp_path: Path, code: Callable[..., Path]) -> None:
    loop = (
        LINEAR
        + "\n    def fit(context):\n        inner(context)\n\n    def inner(context):\n        context.data('tset')\n"
    )
    chain = iris(tmp_path, code(net=loop)).prepared()
    (finding,) = refused(lambda: chain.train(training("pytorch", "iris", "net:build", loop="net:fit")))
    assert finding.code == "AIF806"
    assert "no split 'tset'; there are: train, validation, test" in finding.message
    assert [note.split(" in ")[1].split(":")[0] for note in finding.notes] == ["fit", "inner"]


def test_told_to_stop_it_saves_and_goes_on_later_as_if_nothing_was(tmp_path: Path) -> None:
    config = training("pytorch", "iris", "iris:build", epochs=6, batch=16)
    whole = iris(tmp_path / "whole").prepared()
    whole.train(config)
    cut = iris(tmp_path / "cut").prepared()
    cut.stop.set()
    for _ in range(3):  # each process does one batch, then stops
        with pytest.raises(Stopped):
            cut.train(config)
    cut.stop.clear()
    result = cut.train(config)
    assert result.outputs["resumed_from"] == 3
    for name, array in weights(whole).items():
        np.testing.assert_array_equal(array, weights(cut)[name])
    assert cut.published("train").read_json("history.json") == whole.published("train").read_json("history.json")


def test_weights_of_another_architecture_are_refused(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = iris(tmp_path, code(net=LINEAR)).prepared()
    chain.train(training("pytorch", "iris", "net:build"))
    (chain.code / "net.py").write_text(
        "from torch import nn\ndef build(params, signature):\n    return nn.Bilinear(4, 4, 3)\n"
    )
    del sys.modules["net"]
    (finding,) = refused(lambda: load_reference(chain.published("train"), chain.code))
    assert finding.code == "AIF836"


def test_an_unknown_framework_lists_the_known_ones() -> None:
    (finding,) = refused(lambda: frameworks.module("jax"))
    assert (finding.code, finding.hint) == ("AIF820", "known are custom, pytorch, tensorflow")


PREPS = {
    "state is no dict": ("self.state = [1]", "return batch", "state is list"),
    "state holds an object": ("self.state = {'x': object()}", "return batch", "state `x` is no number"),
    "transform gives an array": ("self.state = {}", "return batch['measurements']", "transform gives ndarray"),
    "transform loses rows": (
        "self.state = {}",
        "return {'measurements': batch['measurements'][1:]}",
        "transform gives `measurements` of shape (119, 4) for 120 rows",
    ),
}


def test_preprocessing_may_work_in_place(tmp_path: Path, code: Callable[..., Path]) -> None:
    """Else the rows would be scaled once more each time that they are looked at."""
    prep = """
        class Prep:
            def fit(self, train):
                x = train["measurements"]
                self.state = {"mean": x.mean(axis=0)}
                x -= x.mean(axis=0)

            def transform(self, batch):
                batch["measurements"] -= self.state["mean"]
                return batch
        """
    chain = iris(tmp_path, code(net=LINEAR, prep=prep)).prepared()
    config = training(
        "pytorch", "iris", "net:build", preprocessing=contract.Preprocessing(cls="prep:Prep", serve="server")
    )
    chain.train(config)
    reference = load_reference(chain.published("train"), chain.code)
    features = Prepared.open(chain.published("prepare")).split("test").features
    before = features["measurements"].copy()
    first = reference.predict(features)
    np.testing.assert_array_equal(features["measurements"], before)
    np.testing.assert_array_equal(reference.predict(features), first)


@pytest.mark.parametrize("case", PREPS)
def test_preprocessing_that_breaks_its_contract(tmp_path: Path, code: Callable[..., Path], case: str) -> None:
    fit, transform, message = PREPS[case]
    prep = (
        f"class Prep:\n    def fit(self, train):\n        {fit}\n    def transform(self, batch):\n        {transform}\n"
    )
    chain = iris(tmp_path, code(net=LINEAR, prep=prep)).prepared()
    config = training(
        "pytorch", "iris", "net:build", preprocessing=contract.Preprocessing(cls="prep:Prep", serve="graph")
    )
    (finding,) = refused(lambda: chain.train(config))
    assert finding.code == "AIF822"
    assert message in finding.message
