"""Tensors on the wire: Open Inference Protocol datatypes, as JSON and as raw bytes, to and from numpy.

Sources: `inference_rest.md` ("Tensor Data", "Tensor Data Types") of the Open Inference Protocol, version 2, and its
binary tensor data extension: little-endian, row-major, BOOL one byte, BYTES a 4-byte length before each element.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from aifctl.runtime.server.errors import MALFORMED, SIGNATURE, RequestError, brief

NUMPY = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
_NAMES = {dtype: name for name, dtype in NUMPY.items()}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output as the signature has it. `shape` starts with the batch dimension; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def metadata(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def require(self, datatype: object, shape: tuple[int, ...]) -> None:
        """Raises RequestError 400 when a client's tensor does not fit."""
        if datatype != self.datatype:
            raise RequestError(
                SIGNATURE, f"input `{self.name}` has datatype {brief(datatype)}, the model takes `{self.datatype}`"
            )
        fits = len(shape) == len(self.shape) and all(
            want in (-1, size) for size, want in zip(shape, self.shape, strict=True)
        )
        if not fits:
            raise RequestError(
                SIGNATURE, f"input `{self.name}` has shape {list(shape)[:8]}, the model takes {list(self.shape)}"
            )


def datatype_of(dtype: str | np.dtype[Any]) -> str:
    """Raises KeyError for a dtype that the protocol does not have (complex, datetime …)."""
    if isinstance(dtype, str) and dtype in ("string", "str", "bytes", "object"):
        return "BYTES"
    found = np.dtype(dtype)
    return "BYTES" if found.kind in "OUS" else _NAMES[found]


def from_json(tensor: Tensor, shape: tuple[int, ...], data: object) -> np.ndarray:
    """Nested like `shape`, or flat in row-major order. Raises RequestError 400."""
    array = _from_text(tensor, data) if tensor.datatype == "BYTES" else _from_numbers(tensor, data)
    if array.shape == shape or (array.ndim == 1 and array.size == math.prod(shape)):
        return array.reshape(shape)
    raise RequestError(
        SIGNATURE,
        f"data of input `{tensor.name}` has {array.size} elements in {array.ndim} dimensions, not {list(shape)}",
    )


def from_raw(tensor: Tensor, shape: tuple[int, ...], data: memoryview) -> np.ndarray:
    """Raises RequestError 400 when the bytes are not exactly one tensor of that shape."""
    if tensor.datatype == "BYTES":
        return _from_raw_text(tensor, shape, data)
    dtype = NUMPY[tensor.datatype]
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise RequestError(
            MALFORMED,
            f"input `{tensor.name}` has {len(data)} bytes, {list(shape)} of {tensor.datatype} takes "
            f"{math.prod(shape) * dtype.itemsize}",
        )
    if tensor.datatype == "BOOL":
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape)
    # A copy: the part after the JSON may lie at an odd address, which kernels that use aligned loads do not accept.
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=True).reshape(shape)


def to_json(array: np.ndarray) -> list[Any]:
    """Flat, in row-major order. JSON has no NaN and no infinities: they become null."""
    flat = array.ravel()
    if flat.dtype.kind in "OUS":
        return [_text(item) for item in flat.tolist()]
    values: list[Any] = flat.tolist()
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        return [value if math.isfinite(value) else None for value in values]
    return values


def to_raw(array: np.ndarray) -> bytes:
    if array.dtype.kind in "OUS":
        items = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
        return b"".join(_LENGTH.pack(len(item)) + item for item in items)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def check_text(where: str, value: str) -> str:
    """JSON may carry half of a surrogate pair, which no model can be given as UTF-8. Raises RequestError 400."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestError(MALFORMED, f"{where} has text that is not Unicode") from None
    return value


def _from_numbers(tensor: Tensor, data: object) -> np.ndarray:
    """numpy finds the common type of the JSON values; only lossless kinds are then let through."""
    if not isinstance(data, list):
        raise RequestError(MALFORMED, f"data of input `{tensor.name}` is not a list")
    dtype = NUMPY[tensor.datatype]
    try:
        found = np.array(data) if data else np.empty(0, dtype)
    except (ValueError, OverflowError):
        raise RequestError(MALFORMED, f"data of input `{tensor.name}` is not a regular array of numbers") from None
    if found.dtype.kind not in _ACCEPTS[dtype.kind]:
        raise RequestError(
            SIGNATURE, f"data of input `{tensor.name}` is not all {_MEANING[dtype.kind]}, as {tensor.datatype} takes"
        )
    with np.errstate(over="ignore"):
        array: np.ndarray[Any, np.dtype[Any]] = found.astype(dtype)
    lost = not np.isfinite(array).all() if dtype.kind == "f" else not np.array_equal(array, found)
    if lost:
        raise RequestError(SIGNATURE, f"data of input `{tensor.name}` has a number out of {tensor.datatype}'s range")
    return array


_ACCEPTS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}
_MEANING = {"f": "numbers", "i": "integers", "u": "integers", "b": "true or false"}


def _from_text(tensor: Tensor, data: object) -> np.ndarray:
    """Object array of str. Lists only nest as deep as the tensor has dimensions."""
    if not isinstance(data, list):
        raise RequestError(MALFORMED, f"data of input `{tensor.name}` is not a list")
    items: list[object] = data
    sizes = [len(data)]
    for _ in tensor.shape[1:]:
        if not (items and all(isinstance(item, list) for item in items)):
            break
        inner = [item for item in items if isinstance(item, list)]
        if len({len(item) for item in inner}) != 1:
            raise RequestError(MALFORMED, f"data of input `{tensor.name}` is not a regular array of strings")
        sizes.append(len(inner[0]))
        items = [value for item in inner for value in item]
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) != len(items):
        raise RequestError(SIGNATURE, f"data of input `{tensor.name}` is not all strings, as BYTES takes")
    return _objects([check_text(f"input `{tensor.name}`", text) for text in texts]).reshape(sizes)


def _from_raw_text(tensor: Tensor, shape: tuple[int, ...], data: memoryview) -> np.ndarray:
    items: list[str] = []
    offset = 0
    try:
        while offset < len(data):
            (length,) = _LENGTH.unpack_from(data, offset)
            offset += _LENGTH.size + length
            if offset > len(data):
                raise RequestError(MALFORMED, f"the last element of input `{tensor.name}` is cut off")
            items.append(str(data[offset - length : offset], "utf-8"))
    except (struct.error, UnicodeDecodeError):
        raise RequestError(MALFORMED, f"input `{tensor.name}` is not a row of lengths and UTF-8 texts") from None
    if len(items) != math.prod(shape):
        raise RequestError(MALFORMED, f"input `{tensor.name}` has {len(items)} elements, {list(shape)} takes others")
    return _objects(items).reshape(shape)


def _objects(items: list[str]) -> np.ndarray:
    array: np.ndarray[Any, np.dtype[Any]] = np.empty(len(items), np.object_)
    array[:] = items
    return array


def _text(item: object) -> str:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
