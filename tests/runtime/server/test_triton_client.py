"""The official tritonclient[http] against a real server process: every call a user of it makes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

VERSION = "0123456789"


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.address) as found:
        yield found


def tensors(pixels, colour, binary=True):
    pixels, colour = np.asarray(pixels, np.float32), np.asarray(colour, np.int64)
    made = [
        triton.InferInput("pixels", list(pixels.shape), "FP32"),
        triton.InferInput("colour", list(colour.shape), "INT64"),
    ]
    made[0].set_data_from_numpy(pixels, binary_data=binary)
    made[1].set_data_from_numpy(colour, binary_data=binary)
    return made


PIXELS = [[[1, 2], [3, 4]], [[0.5, 0.25], [-1, 8]]]
LOGITS = np.array([[3, 7, 1], [0.75, 7, 0]], np.float32)


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fake")
    assert client.is_model_ready("fake", VERSION)
    assert not client.is_model_ready("other")
    assert not client.is_model_ready("fake", "9")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.get_model_metadata("fake", VERSION) == {
        "name": "fake",
        "versions": [VERSION],
        "platform": "custom",
        "inputs": [
            {"name": "pixels", "datatype": "FP32", "shape": [-1, 2, 2]},
            {"name": "colour", "datatype": "INT64", "shape": [-1]},
        ],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}],
    }


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer(client, binary_in, binary_out, compression):
    outputs = None if binary_out is None else [triton.InferRequestedOutput("logits", binary_data=binary_out)]
    result = client.infer(
        "fake",
        tensors(PIXELS, [1, 0], binary_in),
        outputs=outputs,
        request_id="seven",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    np.testing.assert_array_equal(result.as_numpy("logits"), LOGITS)
    assert result.as_numpy("logits").dtype == np.float32
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("seven", "fake", VERSION)


def test_infer_of_a_version(client):
    result = client.infer("fake", tensors(PIXELS, [1, 0]), model_version=VERSION)
    np.testing.assert_array_equal(result.as_numpy("logits"), LOGITS)


def _wrong_name():
    made = tensors(PIXELS, [1, 0])
    made[0]._name = "pixel"
    return made


def _wrong_shape():
    return tensors([[1, 2, 3, 4]], [1])


def _wrong_datatype():
    made = tensors(PIXELS, [1, 0])
    made[1] = triton.InferInput("colour", [2], "FP32")
    made[1].set_data_from_numpy(np.zeros(2, np.float32))
    return made


@pytest.mark.parametrize(
    ("name", "inputs", "status", "message"),
    [
        ("fake", _wrong_name, "400", "unknown input `pixel`; the model takes `pixels`, `colour`"),
        ("fake", _wrong_shape, "400", "input `pixels` has shape [1, 4], the model takes [-1, 2, 2]"),
        ("fake", _wrong_datatype, "400", "input `colour` has datatype `FP32`, the model takes `INT64`"),
        (
            "fake",
            lambda: tensors(PIXELS, [1]),
            "400",
            "inputs differ in their number of rows: {'pixels': 2, 'colour': 1}",
        ),
        ("fake", lambda: tensors(PIXELS, [1, 0])[:1], "400", "missing input `colour`"),
        ("fake", lambda: tensors(PIXELS, [1, 0]) * 2, "400", "input `pixels` is there twice"),
        ("fake", lambda: tensors(np.zeros((9, 2, 2)), np.zeros(9)), "413", "9 rows, the server takes 8 at once"),
        ("other", lambda: tensors(PIXELS, [1, 0]), "404", "unknown model `other`; this server has `fake`"),
        (
            "fake",
            lambda: tensors([[[-777.125, 0], [0, 0]]], [0]),
            "500",
            "the model failed on this request; the server's log has the reason",
        ),
    ],
)
def test_refusals_carry_our_message(client, name, inputs, status, message):
    with pytest.raises(InferenceServerException) as caught:
        client.infer(name, inputs())
    assert (caught.value.status(), caught.value.message()) == (status, message)


def test_an_unknown_output_and_what_is_not_supported(client):
    with pytest.raises(InferenceServerException, match="unknown output `probabilities`; the model gives `logits`"):
        client.infer("fake", tensors(PIXELS, [1, 0]), outputs=[triton.InferRequestedOutput("probabilities")])
    with pytest.raises(
        InferenceServerException, match="parameter `classification` of output `logits` is not supported"
    ):
        client.infer("fake", tensors(PIXELS, [1, 0]), outputs=[triton.InferRequestedOutput("logits", class_count=2)])


def test_two_clients_at_once_get_their_own_answers(server):
    def ask(which):
        with triton.InferenceServerClient(server.address) as client:
            for step in range(50):
                value = which * 1000 + step
                result = client.infer("fake", tensors([[[value, 0], [0, step]]], [which])).as_numpy("logits")
                np.testing.assert_array_equal(result, [[value, step, which]])
        return True

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(ask, [0, 1]))
