"""Open Inference Protocol v2, REST: an infer request to arrays, outputs to a response, in JSON and in binary.

Sources: `inference_rest.md` of the Open Inference Protocol; the binary tensor data extension (parameters
`binary_data_size`, `binary_data`, `binary_data_output`; header `Inference-Header-Content-Length`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aifctl.runtime.server.body import parse_json
from aifctl.runtime.server.errors import MALFORMED, SIGNATURE, TOO_LARGE, RequestError, brief
from aifctl.runtime.server.model import Model
from aifctl.runtime.server.tensors import Tensor, datatype_of, from_json, from_raw, to_json, to_raw
from aifctl.runtime.signature import Arrays

EXTENSIONS = ("binary_tensor_data",)
HEADER = "Inference-Header-Content-Length"
MOST_ID = 256
_UNSUPPORTED = ("shared_memory_region", "classification")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """`outputs`: names asked for, in order, with whether each is wanted in binary."""

    features: Arrays
    rows: int
    outputs: Mapping[str, bool]
    id: str | None


def decode(model: Model, body: bytes, json_length: str | None, max_batch: int) -> InferRequest:
    """`json_length` is the header's text: bytes of JSON before the binary part. Raises RequestError 400 or 413."""
    split = _json_length(json_length, len(body))
    request = _object(parse_json(body[:split]), "the request")
    features = _features(model, request.get("inputs"), memoryview(body)[split:])
    rows = _rows(features, max_batch)
    wanted = _outputs(model, request.get("outputs"), _parameters(request, "the request"))
    return InferRequest(features, rows, wanted, _id(request.get("id")))


def encode(model: Model, request: InferRequest, outputs: Arrays) -> tuple[bytes, dict[str, str]]:
    """Body and headers."""
    raw: list[bytes] = []
    described: list[dict[str, Any]] = []
    for name, binary in request.outputs.items():
        array = outputs[name]
        tensor: dict[str, Any] = {"name": name, "datatype": datatype_of(array.dtype), "shape": list(array.shape)}
        if binary:
            raw.append(to_raw(array))
            tensor["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            tensor["data"] = to_json(array)
        described.append(tensor)
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version, "outputs": described}
    if request.id is not None:
        answer["id"] = request.id
    head = json.dumps(answer, separators=(",", ":"), allow_nan=False).encode()
    if not any(request.outputs.values()):
        return head, {"Content-Type": "application/json"}
    return b"".join([head, *raw]), {"Content-Type": "application/octet-stream", HEADER: str(len(head))}


def _json_length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not (header.isascii() and header.isdigit() and len(header) < 20 and int(header) <= size):
        raise RequestError(MALFORMED, f"{HEADER} is not a number of bytes within the body")
    return int(header)


def _features(model: Model, inputs: object, raw: memoryview) -> Arrays:
    """Every input of the signature exactly once; binary parts follow each other in the order of the inputs."""
    if not isinstance(inputs, list):
        raise RequestError(MALFORMED, "`inputs` is not a list of tensors")
    found: Arrays = {}
    for item in inputs:
        value = _object(item, "an input")
        tensor = _input(model, value.get("name"), found)
        shape = _shape(tensor.name, value.get("shape"))
        tensor.require(value.get("datatype"), shape)
        size = _binary_size(tensor.name, value, len(raw))
        if size is None:
            found[tensor.name] = from_json(tensor, shape, value.get("data"))
        else:
            found[tensor.name] = from_raw(tensor, shape, raw[:size])
            raw = raw[size:]
    missing = [name for name in model.inputs if name not in found]
    if missing:
        raise RequestError(SIGNATURE, "missing input " + ", ".join(f"`{name}`" for name in missing))
    if len(raw):
        raise RequestError(MALFORMED, f"{len(raw)} bytes follow the last binary tensor")
    return found


def _input(model: Model, name: object, found: Arrays) -> Tensor:
    if not isinstance(name, str) or name not in model.inputs:
        known = ", ".join(f"`{known}`" for known in model.inputs)
        raise RequestError(SIGNATURE, f"unknown input {brief(name)}; the model takes {known}")
    if name in found:
        raise RequestError(MALFORMED, f"input `{name}` is there twice")
    return model.inputs[name]


def _shape(name: str, value: object) -> tuple[int, ...]:
    """Non-negative integers; bool is an int in Python and no size."""
    sizes = value if isinstance(value, list) else [None]
    shape = tuple(size for size in sizes if type(size) is int and 0 <= size < 2**63)
    if len(shape) != len(sizes):
        raise RequestError(MALFORMED, f"shape of input `{name}` is not a list of sizes")
    return shape


def _binary_size(name: str, value: Mapping[str, Any], left: int) -> int | None:
    parameters = _parameters(value, f"input `{name}`")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= left:
        raise RequestError(MALFORMED, f"binary_data_size of input `{name}` is not a number of bytes within the body")
    if "data" in value:
        raise RequestError(MALFORMED, f"input `{name}` has both data and binary_data_size")
    return size


def _rows(features: Arrays, max_batch: int) -> int:
    counts = {name: len(array) for name, array in features.items()}
    rows = next(iter(counts.values()))
    if any(count != rows for count in counts.values()):
        raise RequestError(SIGNATURE, f"inputs differ in their number of rows: {counts}")
    if rows == 0:
        raise RequestError(SIGNATURE, "there are no rows: the first dimension is 0")
    if rows > max_batch:
        raise RequestError(TOO_LARGE, f"{rows} rows, the server takes {max_batch} at once")
    return rows


def _outputs(model: Model, asked: object, parameters: Mapping[str, Any]) -> dict[str, bool]:
    default = parameters.get("binary_data_output") is True
    if asked is None or asked == []:
        return dict.fromkeys(model.outputs, default)
    if not isinstance(asked, list):
        raise RequestError(MALFORMED, "`outputs` is not a list")
    wanted: dict[str, bool] = {}
    for item in asked:
        value = _object(item, "an output")
        name = value.get("name")
        if not isinstance(name, str) or name not in model.outputs:
            known = ", ".join(f"`{known}`" for known in model.outputs)
            raise RequestError(SIGNATURE, f"unknown output {brief(name)}; the model gives {known}")
        binary = _parameters(value, f"output `{name}`").get("binary_data", default)
        wanted[name] = binary is True
    return wanted


def _parameters(value: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Unknown parameters are ignored, as the protocol has it; those that would change the answer are refused."""
    parameters = _object(value.get("parameters", {}), f"`parameters` of {where}")
    for name in _UNSUPPORTED:
        if name in parameters:
            raise RequestError(MALFORMED, f"parameter `{name}` of {where} is not supported")
    return parameters


def _id(value: object) -> str | None:
    if value is None or (isinstance(value, str) and len(value) <= MOST_ID):
        return value
    raise RequestError(MALFORMED, f"`id` is not a text of at most {MOST_ID} characters")


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(MALFORMED, f"{what} is not a JSON object")
    return value
