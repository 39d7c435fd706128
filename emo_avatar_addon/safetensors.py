"""Arrays and a JSON document as one safetensors message: the body of requests and answers, and of what a .blend keeps.

The format: length of the header (eight bytes), header `{name: {"dtype", "shape", "data_offsets"}}` in JSON, data.
`__metadata__` maps strings to strings; its key `json` holds the document.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import AddonError

Arrays = dict[str, np.ndarray]

_DTYPES: dict[str, np.dtype] = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4"), "U8": np.dtype("u1")}
_MAX_HEADER = 4 << 20


def pack(arrays: Mapping[str, np.ndarray], document: Mapping[str, Any] | None = None) -> bytes:
    """One message. Floats become float32, integers int32, but for uint8 and bool, which become uint8."""
    tensors = {name: np.ascontiguousarray(array, _dtype_of(name, array)) for name, array in arrays.items()}
    header: dict[str, Any] = {"__metadata__": {"json": json.dumps(document or {})}}
    end = 0
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)  # so that every float is aligned
    for name, tensor in ordered:
        code = next(code for code, dtype in _DTYPES.items() if dtype == tensor.dtype)
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": code, "shape": list(np.shape(arrays[name])), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(tensor.tobytes() for _, tensor in ordered)])


def unpack(data: bytes) -> tuple[Arrays, dict[str, Any]]:
    """Arrays (read-only, sharing `data` where they are aligned) and the document.

    `AddonError` when `data` is not such a message: nothing in it is trusted.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(_MAX_HEADER, len(data) - 8):
        raise _damaged("it is cut short")
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        document = json.loads(metadata.get("json", "{}"))
        if not isinstance(document, dict):
            raise _damaged("its JSON part is no object")
        body = memoryview(data).toreadonly()[8 + length :]
        arrays = {name: _tensor(name, entry, body) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged("its header cannot be read") from error
    if sum(array.nbytes for array in arrays.values()) != len(body):
        raise _damaged("its tensors do not fill it")
    return arrays, document


def _tensor(name: str, entry: dict[str, Any], body: memoryview) -> np.ndarray:
    dtype, shape, (begin, end) = _DTYPES.get(entry["dtype"]), entry["shape"], entry["data_offsets"]
    if dtype is None:
        raise _damaged(f"{name} has the unknown type {entry['dtype']!r:.20}")
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)) or end > len(body):
        raise _damaged(f"{name} lies outside of it")
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise _damaged(f"{name} has another size than its shape")
    array = np.frombuffer(body[begin:end], dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def _dtype_of(name: str, array: np.ndarray) -> np.dtype:
    kind, dtype = np.asarray(array).dtype.kind, np.asarray(array).dtype
    if kind == "b" or dtype == np.uint8:
        return _DTYPES["U8"]
    if kind == "f":
        return _DTYPES["F32"]
    if kind in "iu":
        return _DTYPES["I32"]
    raise TypeError(f"{name}: safetensors messages hold numbers, not {dtype}")


def _damaged(why: str) -> AddonError:
    return AddonError(f"The message with arrays is damaged: {why}.")
