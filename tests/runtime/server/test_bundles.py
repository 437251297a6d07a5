"""`python -m aifctl.runtime.server` on real bundles, from start to end, and every way in which it can't start."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest
import tritonclient.http as triton

from aifctl.runtime.bundle import Preprocessing
from tests.runtime.server.bundles import logits, write_custom, write_onnx
from tests.runtime.server.conftest import running

SERVER = [sys.executable, "-m", "aifctl.runtime.server", "--name", "tiny", "--port", "0"]
PREDICT = """
import numpy as np

def predict(model_dir, batch):
    weights = np.load(model_dir / "weights.npy")
    return {"logits": batch["pixels"].reshape(-1, 4) @ weights + weights[batch["shift"]]}
"""
ROW = {"p0": 1, "p1": 2.5, "p2": -1, "p3": 0, "shift": "one"}
EXPECTED = logits(np.array([[1, 2.5, -1, 0]], np.float32), np.array([1]))


@pytest.fixture(scope="module")
def onnx_bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "onnx"
    return path, write_onnx(path)


@pytest.fixture(scope="module", params=["onnx", "custom"])
def served(request, onnx_bundle, tmp_path_factory):
    path, sha256 = onnx_bundle
    if request.param == "custom":
        path = tmp_path_factory.mktemp("bundles") / "custom"
        sha256 = write_custom(path, PREDICT)
    with running([*SERVER, "--bundle", str(path), "--sha256", sha256]) as server:
        yield server, sha256, request.param


def test_rows(served):
    server, sha256, _ = served
    answer = server.client.post("/predict", json=ROW).json()
    np.testing.assert_allclose(answer["outputs"]["logits"], EXPECTED[0], rtol=1e-6)
    assert answer["label"] == "abc"[int(EXPECTED.argmax())]
    assert answer["version"] == sha256[:10]
    many = server.client.post("/batch_predict", json=[ROW, {**ROW, "shift": "no"}]).json()["predictions"]
    assert many[0]["outputs"] == answer["outputs"]
    assert many[1]["outputs"]["logits"][0] == answer["outputs"]["logits"][0] + 1


def test_tensors(served):
    server, sha256, format = served
    with triton.InferenceServerClient(server.address) as client:
        metadata = client.get_model_metadata("tiny")
        assert metadata["platform"] == {"onnx": "onnx_onnxv1", "custom": "custom"}[format]
        assert metadata["versions"] == [sha256[:10]]
        pixels = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
        inputs = [triton.InferInput("pixels", [2, 2, 2], "FP32"), triton.InferInput("shift", [2], "INT64")]
        inputs[0].set_data_from_numpy(pixels)
        inputs[1].set_data_from_numpy(np.array([1, 0]))
        found = client.infer("tiny", inputs).as_numpy("logits")
    np.testing.assert_allclose(found, logits(pixels, np.array([1, 0])), rtol=1e-6)


def test_what_the_graph_refuses_is_the_clients_fault(onnx_bundle):
    """Category `two` is in the signature; its code lies outside of the graph's table."""
    with running([*SERVER, "--bundle", str(onnx_bundle[0])]) as server:
        answer = server.client.post("/predict", json={**ROW, "shift": "two"})
        assert (answer.status_code, answer.json()) == (400, {"error": "the model does not accept these values"})


def test_a_bundle_behind_a_url_is_copied_and_the_copy_removed(onnx_bundle, tmp_path):
    path, sha256 = onnx_bundle
    command = ["env", f"TMPDIR={tmp_path}", *SERVER, "--bundle", f"local://{path}", "--sha256", sha256]
    with running(command) as server:
        assert server.client.post("/predict", json=ROW).status_code == 200
        (copy,) = tmp_path.glob("aifctl-bundle-*")
        assert (copy / "bundle.json").is_file()
        assert server.stop() == 0
    assert not list(tmp_path.glob("aifctl-bundle-*"))


def test_an_onnx_bundle_needs_no_training_library(onnx_bundle):
    """In a fresh interpreter: load, warm up, build the application, predict a row."""
    code = """
import json, sys
from pathlib import Path
from aifctl.runtime.server import app, process
from aifctl.runtime.server.__main__ import parse
options = parse(sys.argv[2:])
model = process.load(Path(sys.argv[1]), options)
process.warm_up(model)
application = app.build(app.of_model(model, options))
model.bundle.predict_rows([json.loads('{"p0": 1, "p1": 2, "p2": 3, "p3": 4, "shift": "no"}')])
heavy = ("torch", "tensorflow", "keras", "mlflow", "pandas", "pyarrow", "sklearn", "onnx", "matplotlib", "fsspec")
print(*[name for name in heavy if name in sys.modules], "onnxruntime" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(onnx_bundle[0]), "--bundle", "x", "--name", "tiny"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def refused(*flags):
    """Findings on stderr of a server that does not start; it never writes to stdout."""
    done = subprocess.run([*SERVER, *flags], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_options_out_of_their_range():
    text = refused("--bundle", "x", "--max-batch", "0", "--log-sample", "1.5", "--name", "a/b", "--timeout", "nan")
    assert text.count("error[AIF860]") == 4
    assert "`--max-batch` must be between 1 and 65536" in text


def test_usage():
    assert "error: the following arguments are required: --bundle" in refused()
    assert "error: argument --max-batch: invalid int value: 'many'" in refused("--bundle", "x", "--max-batch", "many")


@pytest.mark.parametrize(
    ("uri", "code", "why"),
    [
        ("/no/such/folder", "AIF861", "there is no such folder"),
        ("local:///no/such/folder", "AIF861", "there are no files"),
        ("gopher://acme/bundle", "AIF861", "Protocol not known: gopher"),
        ("{empty}", "AIF832", "holds no bundle"),
    ],
)
def test_no_bundle(tmp_path, uri, code, why):
    text = refused("--bundle", uri.format(empty=tmp_path))
    assert f"error[{code}]" in text
    assert why in text


def test_another_bundle_than_the_release_says(onnx_bundle):
    path, sha256 = onnx_bundle
    assert f"has content {sha256[:10]}, not aaaaaaaaaa" in refused("--bundle", str(path), "--sha256", "a" * 64)


def test_a_damaged_bundle(tmp_path):
    write_onnx(tmp_path / "tiny")
    model = tmp_path / "tiny" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    assert "`model.onnx` is not what bundle.json lists" in refused("--bundle", str(tmp_path / "tiny"))


def test_a_graph_that_cannot_run(tmp_path):
    """The signature says 2 x 3 pixels, the graph multiplies 4 by 3: found before the first request."""
    path = tmp_path / "tiny"
    write_onnx(path)
    value = json.loads((path / "bundle.json").read_text())
    value["signature"]["inputs"][0]["shape"] = [2, 3]
    (path / "bundle.json").write_text(json.dumps(value))
    assert "error[AIF864]: model `tiny` fails on a row of zeros" in refused("--bundle", str(path))


@pytest.mark.parametrize("code", ["def predict(", "import no_such_module", "raise OSError('gone')", "x = 1"])
def test_code_that_cannot_be_loaded(tmp_path, code):
    write_custom(tmp_path / "tiny", code)
    assert refused("--bundle", str(tmp_path / "tiny")).startswith("error[AIF80")


def test_preprocessing_that_cannot_be_made(tmp_path):
    code = PREDICT + "class Prep:\n    def __init__(self):\n        raise ValueError('needs a scale')\n"
    write_custom(tmp_path / "tiny", code, Preprocessing(serve="server", cls="tiny:Prep"))
    text = refused("--bundle", str(tmp_path / "tiny"))
    assert "fails when it is loaded: ValueError: needs a scale" in text
    assert "tiny.py:9 in __init__" in text


def test_a_port_that_is_taken(onnx_bundle):
    with ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = str(taken.getsockname()[1])
        text = refused("--bundle", str(onnx_bundle[0]), "--port", port)
    assert f"error[AIF862]: can't listen on 127.0.0.1:{port}: address already in use" in text
    assert "error[AIF862]" in refused("--bundle", str(onnx_bundle[0]), "--host", "no.such.host.invalid")
