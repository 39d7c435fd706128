"""The sample LAM package, and a workshop that takes it apart, changes it and writes it again."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from emo_avatar.avatar.lam_glb import Glb

SAMPLE = Path(__file__).parents[2] / "data" / "lam_avatar_sample.zip"
COMPONENTS = {"float32": 5126, "uint8": 5121, "uint16": 5123, "uint32": 5125}
TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


@cache
def sample_members() -> Mapping[str, bytes]:
    with zipfile.ZipFile(SAMPLE) as archive:
        return {name: archive.read(f"p2-1/{name}") for name in ("skin.glb", "offset.ply", "animation.glb")}


@dataclass
class Workshop:
    """The sample, open for changes: glTF document and buffer, and the table of Gaussians."""

    document: dict[str, Any]
    binary: bytearray
    table: np.ndarray  # structured, one row per Gaussian
    folder: str = "avatar/"
    extra: dict[str, bytes] = field(default_factory=dict)  # further members by full name

    @classmethod
    def open_sample(cls) -> Workshop:
        members = sample_members()
        glb = Glb.parse(members["skin.glb"], "skin.glb")
        table = PlyData.read(io.BytesIO(members["offset.ply"]))["vertex"].data.copy()
        return cls(copy.deepcopy(glb.document), bytearray(glb.binary), table)

    @property
    def mesh(self) -> dict[str, Any]:
        return self.document["meshes"][0]

    @property
    def primitive(self) -> dict[str, Any]:
        return self.mesh["primitives"][0]

    @property
    def skin(self) -> dict[str, Any]:
        return self.document["skins"][0]

    def array(self, accessor: int) -> np.ndarray:
        """The elements of an accessor."""
        kind = self.document["accessors"][accessor]["type"]
        return Glb("skin.glb", self.document, bytes(self.binary)).accessor(accessor, kind)

    def add(self, values: np.ndarray, **extra: Any) -> int:
        """A new accessor that holds ``values [n, components]``; returns its index."""
        self.binary += bytes(-len(self.binary) % 4)
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": values.nbytes}
        self.binary += np.ascontiguousarray(values).tobytes()
        self.document["bufferViews"].append(view)
        self.document["accessors"].append(
            {
                "bufferView": len(self.document["bufferViews"]) - 1,
                "componentType": COMPONENTS[values.dtype.name],
                "count": len(values),
                "type": TYPES[values.shape[1]],
                **extra,
            }
        )
        return len(self.document["accessors"]) - 1

    def skin_glb(self) -> bytes:
        self.document["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(self.document).encode()
        text += b" " * (-len(text) % 4)
        data = bytes(self.binary) + bytes(-len(self.binary) % 4)
        body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body

    def offset_ply(self, **options: Any) -> bytes:
        stream = io.BytesIO()
        PlyData([PlyElement.describe(self.table, "vertex")], **options).write(stream)
        return stream.getvalue()

    def members(self) -> dict[str, bytes]:
        own = {self.folder + "skin.glb": self.skin_glb(), self.folder + "offset.ply": self.offset_ply()}
        return own | self.extra

    def write(self, path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
        return write_zip(path, self.members(), compression)


def write_zip(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def workshop() -> Workshop:
    return Workshop.open_sample()


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """Writes members into a zip archive of the test's own."""
    return lambda members: write_zip(tmp_path / "package.zip", members)


@pytest.fixture(scope="session")
def sample_path() -> Path:
    return SAMPLE
