"""Bodies that nobody meant well: each gets a JSON error with a 4xx, and the server goes on."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INFER = "/v2/models/fake/infer"
HEADER = "Inference-Header-Content-Length"
LIMIT = 65536


def refused(answer, *statuses):
    assert answer.status_code in statuses, (answer.status_code, answer.text)
    assert isinstance(answer.json()["error"], str)
    assert "Traceback" not in answer.text
    assert len(answer.text) < 1000
    return answer.json()["error"]


def infer_body(**changes):
    pixels = {"name": "pixels", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2, 3, 4], **changes}
    return {"inputs": [pixels, {"name": "colour", "datatype": "INT64", "shape": [1], "data": [0]}]}


@pytest.mark.parametrize("path", ["/predict", "/batch_predict", INFER])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"\xff\xfe", "the body is not UTF-8"),
        (b'{"p0": NaN}', "the body has NaN, which JSON does not know"),
        (b'{"p0": [-Infinity]}', "the body has -Infinity, which JSON does not know"),
        (b"[" * 60000, "the body is nested too deeply"),
        (b'{"a":' * 10000, "the body is nested too deeply"),
        (b"1" * 5000, "the body has a number with too many digits"),
        (b"{} {}", "the body is not JSON: Extra data at line 1 column 4"),
    ],
)
def test_not_json(server, path, body, message):
    assert refused(server.client.post(path, content=body), 400).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": [1, 2, 3]}, "data of input `pixels` has 3 elements in 1 dimensions, not [1, 2, 2]"),
        ({"data": [[1, 2], [3, 4]]}, "data of input `pixels` has 4 elements in 2 dimensions, not [1, 2, 2]"),
        ({"data": [1, 2, 3, "4"]}, "data of input `pixels` is not all numbers, as FP32 takes"),
        ({"data": [True, False, True, True]}, "data of input `pixels` is not all numbers, as FP32 takes"),
        ({"data": [1, 2, 3, None]}, "data of input `pixels` is not all numbers, as FP32 takes"),
        ({"data": [[1], [2, 3], 4]}, "data of input `pixels` is not a regular array of numbers"),
        ({"data": [1, 2, 3, 1e39]}, "data of input `pixels` has a number out of FP32's range"),
        ({"data": "1234"}, "data of input `pixels` is not a list"),
        ({"data": None}, "data of input `pixels` is not a list"),
        ({"shape": [-1, 2, 2]}, "shape of input `pixels` is not a list of sizes"),
        ({"shape": [True, 2, 2]}, "shape of input `pixels` is not a list of sizes"),
        ({"shape": [2**63, 2, 2]}, "shape of input `pixels` is not a list of sizes"),
        ({"shape": [2**62, 2, 2]}, f"data of input `pixels` has 4 elements in 1 dimensions, not [{2**62}, 2, 2]"),
        ({"shape": None}, "shape of input `pixels` is not a list of sizes"),
        ({"shape": [0, 2, 2], "data": []}, "inputs differ in their number of rows: {'pixels': 0, 'colour': 1}"),
        ({"datatype": {"x": 1}}, "input `pixels` has datatype a JSON object, the model takes `FP32`"),
        ({"name": ["pixels"]}, "unknown input a JSON list; the model takes `pixels`, `colour`"),
        ({"name": "x" * 10000}, "unknown input `" + "x" * 60 + "`; the model takes `pixels`, `colour`"),
        ({"parameters": 3}, "`parameters` of input `pixels` is not a JSON object"),
        (
            {"parameters": {"binary_data_size": 16}},
            "binary_data_size of input `pixels` is not a number of bytes within the body",
        ),
        (
            {"parameters": {"shared_memory_region": "x"}},
            "parameter `shared_memory_region` of input `pixels` is not supported",
        ),
    ],
)
def test_tensors_that_do_not_fit(server, changes, message):
    answer = server.client.post(INFER, content=json.dumps(infer_body(**changes)))
    assert refused(answer, 400) == message


def test_nested_data_and_whole_floats_for_an_integer(server):
    assert server.client.post(INFER, json=infer_body(data=[[[1, 2], [3, 4]]])).status_code == 200
    body = infer_body()
    body["inputs"][1]["data"] = [1.0]
    assert (
        refused(server.client.post(INFER, json=body), 400)
        == "data of input `colour` is not all integers, as INT64 takes"
    )
    body["inputs"][1]["data"] = [2**64]
    refused(server.client.post(INFER, json=body), 400)


def test_a_number_that_is_infinite_once_it_is_read(server):
    text = json.dumps(infer_body(data=[1, 2, 3, 7])).replace("7", "1e400")
    message = "data of input `pixels` has a number out of FP32's range"
    assert refused(server.client.post(INFER, content=text), 400) == message


@pytest.mark.parametrize(
    ("header", "tail", "message"),
    [
        ("9999999", b"", f"{HEADER} is not a number of bytes within the body"),
        ("-1", b"", f"{HEADER} is not a number of bytes within the body"),
        ("1e2", b"", f"{HEADER} is not a number of bytes within the body"),
        ("²", b"", f"{HEADER} is not a number of bytes within the body"),
        (None, b"12345", "binary_data_size of input `pixels` is not a number of bytes within the body"),
        ("right", b"12345678", "binary_data_size of input `pixels` is not a number of bytes within the body"),
        ("right", b"x" * 24, "8 bytes follow the last binary tensor"),
    ],
)
def test_binary_parts_that_do_not_fit(server, header, tail, message):
    body = infer_body(parameters={"binary_data_size": 16})
    del body["inputs"][0]["data"]
    head = json.dumps(body).encode()
    headers = {} if header is None else {HEADER.encode(): (str(len(head)) if header == "right" else header).encode()}
    content = head if header is None else head + tail
    assert refused(server.client.post(INFER, content=content, headers=headers), 400) == message


def test_binary_of_the_wrong_size(server):
    body = infer_body(parameters={"binary_data_size": 12})
    del body["inputs"][0]["data"]
    head = json.dumps(body).encode()
    answer = server.client.post(INFER, content=head + b"\0" * 12, headers={HEADER: str(len(head))})
    assert refused(answer, 400) == "input `pixels` has 12 bytes, [1, 2, 2] of FP32 takes 16"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/fake/versions/7", 404),
        ("GET", "/v2/models/" + "x" * 5000, 404),
        ("GET", "/v2/models/%00%ff", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/predict", 405),
        ("DELETE", "/v2", 405),
        ("POST", "/v2/health/live", 405),
    ],
)
def test_unknown_paths_and_methods(server, method, path, status):
    answer = server.client.request(method, path)
    refused(answer, status)
    assert status != 405 or answer.headers["allow"]


def test_media_types_and_encodings(server):
    refused(server.client.post("/predict", content=b"{}", headers={"Content-Type": "text/xml"}), 415)
    refused(server.client.post("/predict", content=b"{}", headers={"Content-Encoding": "br"}), 415)
    refused(server.client.post("/predict", content=b"{}", headers={"Content-Encoding": "gzip"}), 400)
    packed = gzip.compress(b"{}")
    refused(server.client.post("/predict", content=packed[:-4], headers={"Content-Encoding": "gzip"}), 400)
    refused(server.client.post("/predict", content=packed * 2, headers={"Content-Encoding": "gzip"}), 400)


def test_a_body_that_is_too_large(server):
    assert (
        refused(server.client.post("/predict", content=b" " * (LIMIT + 1)), 413)
        == f"the body is larger than {LIMIT} bytes"
    )
    refused(server.client.post(INFER, content=iter([b" " * 40000] * 3)), 413)
    bomb = zlib.compress(b" " * (LIMIT * 100))
    assert len(bomb) < LIMIT
    refused(server.client.post("/predict", content=bomb, headers={"Content-Encoding": "deflate"}), 413)


def test_a_body_that_never_ends_is_refused(server):
    """A client that sends forever, in chunks, is cut off; it may see a reset in place of the answer."""
    host, port = server.address.split(":")
    before = server.counter("aif_requests_total", endpoint="predict", status="413")
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall(chunk * 2000)
    assert server.counter("aif_requests_total", endpoint="predict", status="413") == before + 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["pixels", "colour"]) | JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES"]) | JSON,
        "shape": st.sampled_from([[1, 2, 2], [1], [0], []]) | JSON,
        "data": st.lists(JSON, max_size=5) | st.lists(st.integers(0, 1), min_size=1, max_size=4) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40) | JSON}) | JSON,
    },
)
INFERS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3) | JSON},
    optional={
        "id": JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.just("logits") | JSON})) | JSON,
        "parameters": JSON,
    },
)
ROWS = st.fixed_dictionaries(
    {
        "p0": JSON,
        "p1": st.floats(width=32),
        "p2": st.integers(),
        "p3": JSON,
        "colour": st.sampled_from(["red", "blue"]) | JSON,
    }
)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def survives(server, path, body, headers=None):
    answer = server.client.post(path, content=body, headers=headers or {})
    assert answer.status_code in (200, 400, 413), (body, answer.status_code, answer.text)
    json.loads(answer.content[: int(answer.headers.get(HEADER, len(answer.content)))], parse_constant=pytest.fail)


@MANY
@given(body=st.binary(max_size=200), path=st.sampled_from(["/predict", "/batch_predict", INFER]))
def test_any_bytes(server, body, path):
    survives(server, path, body)


@MANY
@given(body=INFERS, tail=st.binary(max_size=40), declared=st.booleans())
def test_any_infer_request(server, body, tail, declared):
    head = json.dumps(body).encode()
    survives(server, INFER, head + tail, {HEADER: str(len(head))} if declared else None)


@MANY
@given(body=ROWS | JSON)
def test_any_row(server, body):
    survives(server, "/predict", json.dumps(body))
    survives(server, "/batch_predict", json.dumps([body]))


@MANY
@given(count=st.integers(0, 3), texts=st.lists(st.binary(max_size=6), max_size=3), cut=st.integers(0, 3))
def test_any_lengths_of_binary_texts(count, texts, cut):
    """BYTES is the one datatype whose elements say how long they are."""
    from aifctl.runtime.server.errors import RequestError
    from aifctl.runtime.server.tensors import Tensor, from_raw

    raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    raw = raw[: len(raw) - cut] if cut else raw
    try:
        array = from_raw(Tensor("words", "BYTES", (-1,)), (count,), memoryview(raw))
    except RequestError:
        assert cut or len(texts) != count or any(not is_utf8(text) for text in texts)
    else:
        assert [text.encode() for text in array] == texts


def is_utf8(text):
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
