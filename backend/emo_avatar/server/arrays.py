"""The border where arrays come in and go out: safetensors bodies, whose JSON part is the metadata's key ``json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from emo_avatar.server.refusals import Refusal

MEDIA_TYPE = "application/vnd.safetensors"
MAX_HEADER = 1 << 20  # bytes: names, shapes and the JSON part
MAX_TENSORS = 4096
_DTYPES = {"F32": np.float32, "I32": np.int32, "U8": np.uint8}
LIMIT = 1e6  # of any number: of metres, radians, pixels or coefficients, more is an error

Shape = tuple[int | str, ...]  # a letter stands for a length that is the same wherever it occurs


class Message:
    """A body that was taken apart: the JSON part and arrays, each checked as it is taken out."""

    def __init__(self, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.document, self.arrays = document, arrays
        self.lengths: dict[str, int] = {}

    def floats(self, name: str, shape: Shape, *, limit: float = LIMIT) -> np.ndarray:
        """A float32 array of that shape with finite numbers up to ``limit``."""
        if name not in self.arrays:
            raise malformed(f"The array {name} is missing")
        array = self.arrays[name]
        if array.dtype != np.float32:
            raise malformed(f"The array {name} must be float32, not {array.dtype}")
        wanted = [self.lengths.get(n, n) if isinstance(n, str) else n for n in shape]
        fits = array.ndim == len(shape) and all(
            isinstance(n, str) or n == m for n, m in zip(wanted, array.shape, strict=True)
        )
        if not fits:
            raise malformed(f"The array {name} must have the shape {_written(wanted)}, not {_written(array.shape)}")
        self.lengths |= {n: m for n, m in zip(shape, array.shape, strict=True) if isinstance(n, str)}
        if array.size and not np.abs(array).max() <= limit:  # catches NaN
            raise malformed(f"The array {name} holds numbers that are not finite or beyond {limit:g}")
        return array

    def floats_or_zeros(self, name: str, shape: Shape, *, limit: float = LIMIT) -> np.ndarray:
        """As ``floats``; zeros where the message has no such array. Lengths must be known by then."""
        if name in self.arrays:
            return self.floats(name, shape, limit=limit)
        return np.zeros([self.lengths[n] if isinstance(n, str) else n for n in shape], np.float32)

    def number(self, name: str, least: float, most: float) -> float:
        value = self.document.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise malformed(f"{name} must be a number from {least:g} to {most:g}")
        return float(value)

    def integer(self, name: str, least: int, most: int) -> int:
        value = self.number(name, least, most)
        if value != int(value):
            raise malformed(f"{name} must be a whole number")
        return int(value)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.document.get(name, default)
        if not isinstance(value, str) or len(value) > 200:
            raise malformed(f"{name} must be a text of at most 200 characters")
        return value

    def texts(self, name: str, most: int) -> list[str]:
        values = self.document.get(name)
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values) or len(values) > most:
            raise malformed(f"{name} must be a list of at most {most} texts")
        return values

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise malformed(f"{name} must be {' or '.join(choices)}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.document.get(name, default)
        if not isinstance(value, bool):
            raise malformed(f"{name} must be true or false")
        return value


def unpack(body: bytes) -> Message:
    """Take a body apart. Raises `Refusal` (``bad_request``) when it is no message as the protocol has it."""
    header = _header(body)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if len(tensors) > MAX_TENSORS:
        raise malformed(f"The body holds more than {MAX_TENSORS} arrays")
    for name, entry in tensors.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES:
            raise malformed(f"The array {name[:80]} must be float32, int32 or uint8")
        shape = entry.get("shape")
        if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape) or len(shape) > 8:
            raise malformed(f"The array {name[:80]} has no shape that an array can have")
    metadata = header.get("__metadata__", {})
    text = metadata.get("json", "{}") if isinstance(metadata, dict) else None
    document = _json(text) if isinstance(text, str) else None
    if not isinstance(document, dict):
        raise malformed('The metadata of the body must hold its JSON part, an object, as "json"')
    try:
        pieces = safetensors.deserialize(body)
        arrays = {name: np.frombuffer(p["data"], _DTYPES[p["dtype"]]).reshape(p["shape"]) for name, p in pieces}
    except (safetensors.SafetensorError, ValueError, KeyError, OverflowError) as error:
        raise malformed(f"The body is damaged or cut off ({error})") from error
    return Message(document, arrays)


def pack(arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> bytes:
    """A body of float32, int32 and uint8 arrays and a JSON part."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata={"json": json.dumps(document, allow_nan=False)})


def malformed(what: str) -> Refusal:
    return Refusal("bad_request", f"{what}.")


def _header(body: bytes) -> dict[str, Any]:
    size = int.from_bytes(body[:8], "little")
    if len(body) < 8 or size > len(body) - 8:
        raise malformed("The body is no safetensors message, or is cut off")
    if size > MAX_HEADER:
        raise malformed(f"The header of the body is larger than {MAX_HEADER >> 20} MB")
    try:
        text = body[8 : 8 + size].decode()
    except UnicodeDecodeError as error:
        raise malformed("The header of the body is not UTF-8") from error
    header = _json(text)
    if not isinstance(header, dict):
        raise malformed("The header of the body is no JSON object")
    return header


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise malformed("The JSON in the body is broken") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _written(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"
