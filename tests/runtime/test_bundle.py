"""Loading a bundle: whole or refused, light, and the same answers from tensors and from raw rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aifctl import digest
from aifctl.contract import CustomTraining
from aifctl.runtime import bundle
from aifctl.runtime.bundle import About, LoadedBundle
from aifctl.runtime.data import RowError
from aifctl.runtime.signature import Signature, Tensor, output_kind, probabilities
from tests.runtime.chain import WINE, Chain, refused, training, wine


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    chain = wine(tmp_path_factory.mktemp("wine")).prepared()
    command = CustomTraining(command=("python", "train.py"), produces="model.skops", predict="predict:predict")
    chain.train(training("custom", "wine", None, custom=command))
    chain.export("sklearn", "custom", "custom")
    return chain


@pytest.fixture
def folder(exported: Chain, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(exported.published("export-sklearn").path, tmp_path / "bundle")


ROW = dict(
    zip(WINE.split(), [14.23, 1.71, 2.43, 15.6, 127, 2.8, 3.06, 0.28, 2.29, 5.64, 1.04, 3.92, 1065], strict=True)
)


def test_tensors_and_raw_rows_get_the_same_answer(folder: Path) -> None:
    loaded = bundle.load(folder)
    tensor = np.array([list(ROW.values())] * 2, dtype="float32")
    expected = loaded.predict({"measurements": tensor})["probabilities"]
    backwards = dict(reversed(ROW.items()))
    np.testing.assert_array_equal(loaded.predict_rows([ROW, backwards])["probabilities"], expected)
    columns = {name: [value, value] for name, value in ROW.items()}
    np.testing.assert_array_equal(loaded.predict_rows(columns)["probabilities"], expected)
    assert loaded.labels == ("barolo", "grignolino", "barbera")
    confidence = loaded.confidence({"probabilities": expected})
    assert confidence is not None
    np.testing.assert_allclose(confidence, expected.max(axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "column", "problem", "rows"),
    [
        ({"hue": None}, "proline", "is missing", (1,)),
        ({"proline": "much"}, "proline", "has 'much', which is no number", (1,)),
    ],
)
def test_rows_that_do_not_fit(
    folder: Path, change: dict[str, object], column: str, problem: str, rows: tuple[int, ...]
) -> None:
    second = {**ROW, **change}
    if None in change.values():
        del second["proline"]
    with pytest.raises(RowError) as info:
        bundle.load(folder).predict_rows([ROW, second])
    assert (info.value.column, info.value.problem, info.value.rows) == (column, problem, rows)


def test_its_digest_is_of_every_file(folder: Path) -> None:
    sha256 = bundle.load(folder).sha256
    assert sha256 == digest.of_tree(folder)
    assert bundle.load(folder, sha256).sha256 == sha256
    (finding,) = refused(lambda: bundle.load(folder, "0" * 64))
    assert finding.code == "AIF832"
    assert finding.message == f"bundle bundle has content {sha256[:10]}, not 0000000000"


def change_model(folder: Path) -> None:
    with (folder / "model" / "model.skops").open("r+b") as file:
        file.seek(100)
        file.write(b"x")


def new_version(folder: Path) -> None:
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**about, "bundle": 2}))


def outside(folder: Path) -> None:
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**about, "model": "../../elsewhere"}))


def cache_code(folder: Path) -> None:
    (folder / "code" / "__pycache__").mkdir()
    (folder / "code" / "__pycache__" / "predict.cpython-311.pyc").write_bytes(b"evil")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed file": (change_model, "`model/model.skops` is not what bundle.json lists"),
    "missing file": (lambda f: (f / "code" / "predict.py").unlink(), "`code/predict.py` is not what bundle.json lists"),
    "more code": (
        lambda f: (f / "code" / "json.py").write_text("evil"),
        "`code/json.py` is not what bundle.json lists",
    ),
    "a cache of code": (cache_code, "`code/__pycache__/predict.cpython-311.pyc` is not what bundle.json lists"),
    "compiled code": (
        lambda f: (f / "code" / "numpy.pyc").write_bytes(b"evil"),
        "`code/numpy.pyc` is not what bundle.json lists",
    ),
    "a link": (lambda f: (f / "code" / "more.py").symlink_to("/etc/passwd"), "`more.py` is a symbolic link"),
    "no bundle.json": (lambda f: (f / "bundle.json").unlink(), "bundle holds no bundle that this runtime reads"),
    "half a bundle.json": (lambda f: (f / "bundle.json").write_text('{"bundle": 1,'), "bundle holds no bundle"),
    "a newer version": (new_version, "version 2, not 1"),
    "a model outside": (outside, "it lists no file of its model `../../elsewhere`"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_bundle_is_refused(folder: Path, case: str) -> None:
    damage, message = DAMAGE[case]
    damage(folder)
    (finding,) = refused(lambda: bundle.load(folder))
    assert finding.code == "AIF832"
    assert message in finding.message


def test_a_format_of_another_runtime(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    signature = Signature(task="classification", inputs=())
    bundle.write(tmp_path, About(format="torchscript", framework="pytorch", model="model.pt", signature=signature))
    (finding,) = refused(lambda: bundle.load(tmp_path))
    assert finding.message == "bundle has format `torchscript`"
    assert finding.hint == "this runtime loads custom, onnx, savedmodel"


def test_a_file_that_is_no_onnx_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    signature = Signature(task="classification", inputs=())
    bundle.write(tmp_path, About(format="onnx", framework="pytorch", model="model.onnx", signature=signature))
    (finding,) = refused(lambda: bundle.load(tmp_path))
    assert finding.code == "AIF832"
    assert finding.message.startswith("onnxruntime can't load model.onnx: ")


@pytest.mark.torch
def test_an_onnx_bundle_serves_without_pandas_torch_or_tensorflow(digits_torch: Chain) -> None:
    chain = replace(digits_torch, steps=dict(digits_torch.steps))
    chain.export("light", "onnx", "pytorch")
    script = """
import sys
from pathlib import Path
from aifctl.runtime import bundle
loaded = bundle.load(Path(sys.argv[1]))
outputs = loaded.predict_rows([{f"p{i}": i % 17 for i in range(64)}])
assert outputs["logits"].shape == (1, 10) and 0.1 <= loaded.confidence(outputs)[0] <= 1
heavy = {"torch", "tensorflow", "pandas", "onnx", "mlflow", "sklearn", "fsspec", "pyarrow"} & set(sys.modules)
assert not heavy, heavy
"""
    command = [sys.executable, "-c", script, str(chain.published("export-light").path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_client_that_preprocesses_sends_tensors(tmp_path: Path) -> None:
    signature = Signature(task="regression", inputs=(Tensor(name="x", dtype="float32", shape=(2,)),))
    about = About(format="onnx", framework="pytorch", model="m", signature=signature)
    loaded = LoadedBundle(path=tmp_path, sha256="", about=about, run=lambda inputs: inputs, preprocessing=None)
    with pytest.raises(RowError, match="this model takes tensors, not rows"):
        loaded.predict_rows([{"x": 1}])
    assert loaded.confidence({}) is None


def test_the_kind_of_an_output_is_seen_on_its_rows() -> None:
    assert output_kind("classification", np.array([[0.2, 0.8], [1.0, 0.0]])) == "probabilities"
    assert output_kind("classification", np.array([[0.2, 0.9], [1.0, 0.0]])) == "logits"
    assert output_kind("classification", np.array([[-1.0, 2.0]])) == "logits"
    assert output_kind("classification", np.array([[0.3], [0.9]])) == "probabilities"
    assert output_kind("regression", np.array([[0.2, 0.8]])) == "value"
    others = [np.array([[0.1], [0.9]]), np.array([[-3.0], [np.nan]])]
    assert output_kind("classification", np.array([[0.3], [0.9]]), lambda: others) == "logits"
    assert output_kind("classification", np.array([[0.3], [0.9]]), lambda: others[:1]) == "probabilities"


def test_probabilities_of_logits_and_of_one_column() -> None:
    np.testing.assert_allclose(probabilities([[0.0, np.log(3)]], "logits"), [[0.25, 0.75]])
    np.testing.assert_allclose(probabilities([[1e4, 0.0]], "logits"), [[1.0, 0.0]])
    np.testing.assert_allclose(probabilities([[np.log(3)]], "logits"), [[0.25, 0.75]])
    np.testing.assert_allclose(probabilities([[0.75]], "probabilities"), [[0.25, 0.75]])


def test_a_signature_survives_json() -> None:
    feature = Tensor(name="colour", dtype="int64", shape=(), type="category", columns=("c",), values=("red", "blue"))
    signature = Signature(task="classification", inputs=(feature,), labels=("no", "yes"), classes=2)
    assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature
    with pytest.raises(KeyError, match="no input 'size'; there are: colour"):
        signature.input("size")
