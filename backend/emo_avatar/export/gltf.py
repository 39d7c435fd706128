"""glTF 2.0 in one binary file: the JSON chunk, the binary chunk, and accessors that point from one into the other."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from emo_avatar.files import whole_file

MAGIC, VERSION, JSON_CHUNK, BINARY_CHUNK = b"glTF", 2, b"JSON", b"BIN\0"
COMPONENT_TYPES = {np.dtype("<f4"): 5126, np.dtype("<u4"): 5125, np.dtype("<u2"): 5123, np.dtype("u1"): 5121}
ELEMENT_TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4"}
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963  # what a buffer view holds: vertex attributes, or indices
ALIGNMENT = 4  # bytes, of every buffer view and of both chunks


class GltfBuilder:
    """Collects the objects of a glTF document; every ``add`` returns the index that other objects refer to."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"asset": {"version": "2.0", "generator": "Emo Avatar"}}
        self._binary = bytearray()

    def add(self, kind: str, **fields: Any) -> int:
        """Append to one of the document's arrays: "nodes", "meshes", "materials", ..."""
        members: list[Any] = self.document.setdefault(kind, [])
        members.append(fields)
        return len(members) - 1

    def accessor(self, array: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Put an array into the binary chunk. Vertex positions and animation times need their ``bounds`` stated."""
        array = np.ascontiguousarray(array)
        fields: dict[str, Any] = {
            "bufferView": self.view(array.tobytes(), target),
            "componentType": COMPONENT_TYPES[array.dtype],
            "count": len(array),
            "type": ELEMENT_TYPES[array.shape[1:]],
        }
        if bounds:
            fields["min"] = np.atleast_1d(array.min(axis=0)).tolist()
            fields["max"] = np.atleast_1d(array.max(axis=0)).tolist()
        return self.add("accessors", **fields)

    def view(self, data: bytes, target: int | None = None) -> int:
        """Put bytes into the binary chunk."""
        fields = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        if target is not None:
            fields["target"] = target
        self._binary += data + bytes(-len(data) % ALIGNMENT)
        return self.add("bufferViews", **fields)

    def write(self, path: Path | str) -> None:
        """Write the document as a GLB file."""
        document = {**self.document, "buffers": [{"byteLength": len(self._binary)}]}
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        chunks = b"".join(
            struct.pack("<I4s", len(data), kind) + data
            for data, kind in ((text, JSON_CHUNK), (bytes(self._binary), BINARY_CHUNK))
        )
        with whole_file(path) as temporary:
            temporary.write_bytes(struct.pack("<4sII", MAGIC, VERSION, 12 + len(chunks)) + chunks)
