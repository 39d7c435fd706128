"""A checked reader of binary glTF: the JSON document and its accessors as arrays, nothing of the scene.

Packages come from strangers, so every number of the file is checked against the bytes that are there before
anything is allocated. Source: glTF 2.0 specification, sections 3.6 (accessors, sparse accessors) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_avatar.errors import UserError

_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = b"glTF", b"JSON", b"BIN\0"
_COMPONENTS: dict[int, np.dtype[Any]] = {
    5120: np.dtype("<i1"),
    5121: np.dtype("<u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
}
_SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MAX_ELEMENTS = 4_000_000  # of one accessor: a head has some 20,000 vertices; a sparse accessor may claim any number
_READABLE_EXTENSIONS = ("KHR_materials", "KHR_texture", "KHR_mesh_quantization")  # they leave the accessors readable


@dataclass(frozen=True)
class Glb:
    """One parsed .glb file."""

    name: str  # what to call the file in messages
    document: dict[str, Any]
    binary: bytes

    @classmethod
    def parse(cls, data: bytes, name: str) -> Glb:
        """Split a GLB container. Raises `UserError` when it is no GLB, is cut short or needs a decoder we lack."""
        if len(data) < 12 or data[:4] != _MAGIC:
            raise UserError(f"{name} is not a binary glTF file.")
        version, length = struct.unpack_from("<II", data, 4)
        if version != 2:
            raise UserError(f"{name} is glTF version {version}; only version 2 can be read.")
        if length > len(data):
            raise UserError(f"{name} is cut short: {len(data):,} of {length:,} bytes are there.")
        chunks: dict[bytes, bytes] = {}
        offset = 12
        while offset + 8 <= length:
            size, kind = struct.unpack_from("<I4s", data, offset)
            offset += 8
            if offset + size > length:
                raise UserError(f"{name} is damaged: a chunk reaches past the end of the file.")
            chunks.setdefault(kind, data[offset : offset + size])
            offset += size
        try:
            document = json.loads(chunks[_JSON_CHUNK])
        except (KeyError, ValueError, RecursionError) as error:
            raise UserError(f"{name} is damaged: its JSON cannot be read.") from error
        if not isinstance(document, dict):
            raise UserError(f"{name} is damaged: its JSON is no object.")
        required = document.get("extensionsRequired", [])
        unknown = [str(e) for e in required if not str(e).startswith(_READABLE_EXTENSIONS)]
        if unknown:
            raise UserError(f"{name} is compressed ({', '.join(unknown)}); export it without compression.")
        return cls(name, document, chunks.get(_BINARY_CHUNK, b""))

    def items(self, key: str) -> list[dict[str, Any]]:
        """A top-level list such as "nodes"; empty when the file has none."""
        found = self.document.get(key, [])
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise UserError(f'{self.name} is damaged: "{key}" is no list of objects.')
        return found

    def item(self, key: str, index: Any) -> dict[str, Any]:
        """One entry of a top-level list."""
        found = self.items(key)
        if not isinstance(index, int) or not 0 <= index < len(found):
            raise UserError(f'{self.name} is damaged: "{key}" has no entry {index!r}.')
        return found[index]

    def accessor(self, index: Any, kind: str, count: int | None = None) -> np.ndarray:
        """The elements of an accessor of type ``kind``, e.g. "VEC3", as ``[count, components]``.

        Normalised integers come back as float32 in [-1, 1], everything else in its own type. Sparse accessors are
        filled in. ``count`` is the number of elements that the caller needs.
        """
        spec = self.item("accessors", index)
        elements, dtype = _natural(spec.get("count")), _COMPONENTS.get(_natural(spec.get("componentType")) or 0)
        if spec.get("type") != kind or dtype is None or elements is None or elements > _MAX_ELEMENTS:
            raise UserError(f"{self.name} is damaged: accessor {index} is not a readable {kind}.")
        if count is not None and elements != count:
            raise UserError(f"{self.name} is damaged: accessor {index} has {elements:,} elements, not {count:,}.")
        if "bufferView" in spec:
            values = self._view(spec, elements, dtype, _SIZES[kind])
        else:
            values = np.zeros((elements, _SIZES[kind]), dtype)
        if "sparse" in spec:
            values = self._sparse(spec["sparse"], values)
        if spec.get("normalized") and dtype.kind != "f":
            return np.maximum(values / np.float32(np.iinfo(dtype).max), np.float32(-1.0)).astype(np.float32)
        return values

    def _view(self, spec: dict[str, Any], elements: int, dtype: np.dtype, size: int) -> np.ndarray:  # [elements, size]
        """Elements that lie in a buffer view, packed or interleaved."""
        view = self.item("bufferViews", spec.get("bufferView"))
        buffer = self.item("buffers", view.get("buffer"))
        view_start, view_length = _natural(view.get("byteOffset", 0)), _natural(view.get("byteLength"))
        start, stride = _natural(spec.get("byteOffset", 0)), _natural(view.get("byteStride", size * dtype.itemsize))
        if view_start is None or view_length is None or start is None or stride is None or "uri" in buffer:
            raise UserError(f"{self.name} is damaged: a buffer view cannot be read.")
        if stride < size * dtype.itemsize:
            raise UserError(f"{self.name} is damaged: the elements of a buffer view overlap.")
        end = start + (elements - 1) * stride + size * dtype.itemsize if elements else start
        if end > view_length or view_start + view_length > len(self.binary):
            raise UserError(f"{self.name} is cut short or damaged: an accessor reaches past its data.")
        return np.ndarray((elements, size), dtype, self.binary, view_start + start, (stride, dtype.itemsize)).copy()

    def _sparse(self, spec: Any, values: np.ndarray) -> np.ndarray:  # [elements, size] -> same
        """``values`` with the listed elements replaced (glTF 2.0, 3.6.2.3)."""
        if not isinstance(spec, dict) or not all(isinstance(spec.get(k), dict) for k in ("indices", "values")):
            raise UserError(f"{self.name} is damaged: a sparse accessor cannot be read.")
        count = _natural(spec.get("count"))
        index_type = _COMPONENTS.get(_natural(spec["indices"].get("componentType")) or 0)
        if count is None or count > len(values) or index_type is None or index_type.kind != "u":
            raise UserError(f"{self.name} is damaged: a sparse accessor cannot be read.")
        rows = self._view(spec["indices"], count, index_type, 1)[:, 0]
        if count and int(rows.max()) >= len(values):
            raise UserError(f"{self.name} is damaged: a sparse accessor points past its {len(values):,} elements.")
        filled = values.copy()
        filled[rows] = self._view(spec["values"], count, values.dtype, values.shape[1])
        return filled


def _natural(value: Any) -> int | None:
    """A non-negative integer, or None for anything else that JSON can hold."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
