"""A head in FLAME format as plain arrays, and its npz file."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.files import whole_file
from emo_avatar.npz import read_npz

JOINTS = ("global", "neck", "jaw", "left_eye", "right_eye")
PARENTS = (-1, 0, 1, 1, 1)
N_SHAPE, N_EXPRESSION = 300, 100

# fmt: off
ARKIT_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # Apple's order, as in Live Link Face
# fmt: on


@dataclass(frozen=True)
class LandmarkEmbedding:
    """Landmarks as points on triangles of a head."""

    faces: np.ndarray  # [L] int32 triangle of each landmark
    barycentric: np.ndarray  # [L, 3] float32
    reliable: np.ndarray  # [L] bool, False where the detector and the mesh disagree on what the landmark is


@dataclass(frozen=True, eq=False)  # compared and hashed by identity, so that what follows from it can be cached
class HeadData:
    """Everything that is known of one head model: FLAME's arrays, topology, and what the project adds to them.

    FLAME space: metres, x to the subject's left, y up, z forward.
    """

    name: str  # "open", or what an imported file was called
    v_template: np.ndarray  # [V, 3] float32
    shapedirs: np.ndarray  # [V, 3, 300 + 100] float32, identity then expression
    posedirs: np.ndarray  # [V, 3, 36] float32, over (R - I) of joints 1..4, row-major
    J_regressor: np.ndarray  # [5, V] float32
    weights: np.ndarray  # [V, 5] float32, rows sum to 1
    faces: np.ndarray  # [F, 3] int32
    quads: np.ndarray  # [Q, 4] int32, last index repeated for a triangle; same surface as `faces`
    uv: np.ndarray  # [VT, 2] float32, v up; empty when the file had none
    uv_faces: np.ndarray  # [F, 3] int32
    uv_quads: np.ndarray  # [Q, 4] int32
    part_names: tuple[str, ...]  # of the open head: skin, upper_teeth, lower_teeth, tongue, lashes, eye_left, ...
    vertex_part: np.ndarray  # [V] int8, index into part_names
    face_part: np.ndarray  # [F] int8
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> [V] bool
    landmarks478: LandmarkEmbedding | None = None  # MediaPipe face mesh with irises
    landmarks68: LandmarkEmbedding | None = None  # iBUG 68
    arkit_to_expr: np.ndarray = field(default_factory=lambda: np.zeros((52, N_EXPRESSION), np.float32))  # [52, 100]
    arkit_to_pose: np.ndarray = field(default_factory=lambda: np.zeros((52, 9), np.float32))  # jaw, left, right eye
    arkit_transfer_error: float = 0.0  # metres RMS; 0 for the open head, measured for an imported one

    @property
    def n_vertices(self) -> int:
        return len(self.v_template)

    def part(self, name: str) -> np.ndarray:  # [V] bool
        """Vertices of one part; none when the head has no such part."""
        if name not in self.part_names:
            return np.zeros(self.n_vertices, bool)
        return self.vertex_part == self.part_names.index(name)


OPEN_HEAD_PATH = Path(__file__).with_name("open_head.npz")


def texture_path(head_path: Path = OPEN_HEAD_PATH) -> Path:
    """Where the colour texture of a head file lies, over the UVs of all its parts; a head need not have one."""
    return head_path.with_name(f"{head_path.stem}_skin.jpg")


MAX_BYTES = 1 << 30  # unpacked; the open head has 40 MB, official FLAME at float32 26 MB
MAX_VERTICES = 200_000
MAX_METRES = 10.0
LANDMARK_SETS = {"landmarks478": 478, "landmarks68": 68}


def wrinkle_path(head_path: Path = OPEN_HEAD_PATH) -> Path:
    """Where the map of folds of a head file lies: over its UVs, how deep its skin folds where it is compressed."""
    return head_path.with_name(f"{head_path.stem}_wrinkles.jpg")


def makehuman_path(head_path: Path = OPEN_HEAD_PATH) -> Path:
    """Where it is listed which vertices of MakeHuman's base mesh, ``skin [S]``, the first S of a head were."""
    return head_path.with_name(f"{head_path.stem}_makehuman.npz")


def load_head(path: Path | str = OPEN_HEAD_PATH) -> HeadData:
    """Read a head from the project's npz (the open head by default).

    Raises:
        UserError: the file is no head, or its arrays do not fit together; says which.
    """
    path = Path(path)
    reader = _Reader(read_npz(path, max_bytes=MAX_BYTES), path.name)
    template = reader.floats("v_template", (None, 3), MAX_METRES)
    v = len(template)
    if not 4 <= v <= MAX_VERTICES:
        raise UserError(f"{path.name} has {v} vertices; a head has 4 to {MAX_VERTICES}.")
    identity = reader.floats("shapedirs_identity", (v, 3, None), MAX_METRES)
    expression = reader.floats("shapedirs_expression", (v, 3, None), MAX_METRES)
    if identity.shape[2] > N_SHAPE or expression.shape[2] > N_EXPRESSION:
        raise UserError(f"{path.name} has more than {N_SHAPE} identity or {N_EXPRESSION} expression components.")
    shapedirs = np.zeros((v, 3, N_SHAPE + N_EXPRESSION), np.float32)
    shapedirs[:, :, : identity.shape[2]] = identity
    shapedirs[:, :, N_SHAPE : N_SHAPE + expression.shape[2]] = expression

    faces = reader.indices("faces", (None, 3), v)
    quads = reader.indices("quads", (None, 4), v)
    uv = reader.floats("uv", (None, 2), limit=10.0)
    has_uv = len(uv) > 0
    part_names = reader.strings("part_names")
    return HeadData(
        name=reader.strings("name")[0],
        v_template=template,
        shapedirs=shapedirs,
        posedirs=reader.floats("posedirs", (v, 3, 36), MAX_METRES),
        J_regressor=reader.floats("J_regressor", (5, v), limit=1e3),
        weights=reader.floats("weights", (v, 5), limit=1e3),
        faces=faces,
        quads=quads,
        uv=uv,
        uv_faces=reader.indices("uv_faces", (len(faces) if has_uv else 0, 3), len(uv)),
        uv_quads=reader.indices("uv_quads", (len(quads) if has_uv else 0, 4), len(uv)),
        part_names=part_names,
        vertex_part=reader.indices("vertex_part", (v,), len(part_names)).astype(np.int8),
        face_part=reader.indices("face_part", (len(faces),), len(part_names)).astype(np.int8),
        regions={k.removeprefix("region_"): reader.mask(k, v) for k in reader.arrays if k.startswith("region_")},
        landmarks478=reader.landmarks("landmarks478", len(faces)),
        landmarks68=reader.landmarks("landmarks68", len(faces)),
        arkit_to_expr=reader.floats("arkit_to_expr", (len(ARKIT_NAMES), N_EXPRESSION), limit=1e4),
        arkit_to_pose=reader.floats("arkit_to_pose", (len(ARKIT_NAMES), 9), limit=10.0),
        arkit_transfer_error=reader.number("arkit_transfer_error", default=0.0),
    )


@functools.cache
def open_head() -> HeadData:
    """The shipped head, read once for the whole process; its arrays are everybody's and not to be changed."""
    return load_head()


def save_head(head: HeadData, path: Path | str, *, directions: type = np.float32) -> None:
    """Write a head as ``load_head`` reads it; ``directions`` is the number type of blend shapes and pose corrections.

    Identity components after the last that is not 0 are left out.
    """
    identity, expression = head.shapedirs[:, :, :N_SHAPE], head.shapedirs[:, :, N_SHAPE:]
    n_identity = int(np.flatnonzero(np.abs(identity).max((0, 1))).max(initial=-1)) + 1
    arrays: dict[str, np.ndarray] = {
        "name": np.array(head.name),
        "v_template": head.v_template.astype(np.float32),
        "shapedirs_identity": identity[:, :, :n_identity].astype(directions),
        "shapedirs_expression": expression.astype(directions),
        "posedirs": head.posedirs.astype(directions),
        "J_regressor": head.J_regressor.astype(np.float32),
        "weights": head.weights.astype(np.float32),
        "faces": head.faces.astype(np.int32),
        "quads": head.quads.astype(np.int32),
        "uv": head.uv.astype(np.float32),
        "uv_faces": head.uv_faces.astype(np.int32),
        "uv_quads": head.uv_quads.astype(np.int32),
        "part_names": np.array(head.part_names),
        "vertex_part": head.vertex_part.astype(np.int8),
        "face_part": head.face_part.astype(np.int8),
        "arkit_to_expr": head.arkit_to_expr.astype(np.float32),
        "arkit_to_pose": head.arkit_to_pose.astype(np.float32),
        "arkit_transfer_error": np.array(head.arkit_transfer_error, np.float32),
    }
    arrays |= {f"region_{name}": mask for name, mask in head.regions.items()}
    for prefix in LANDMARK_SETS:
        landmarks: LandmarkEmbedding | None = getattr(head, prefix)
        if landmarks is not None:
            arrays[f"{prefix}_faces"] = landmarks.faces.astype(np.int32)
            arrays[f"{prefix}_barycentric"] = landmarks.barycentric.astype(np.float32)
            arrays[f"{prefix}_reliable"] = landmarks.reliable
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


@dataclass(frozen=True)
class _Reader:
    """Arrays of a head file that a stranger may have written, each checked as it is taken out."""

    arrays: dict[str, np.ndarray]
    source: str

    def floats(self, name: str, shape: tuple[int | None, ...], limit: float) -> np.ndarray:
        array = self._array(name, "f", shape).astype(np.float32)
        if array.size and not np.abs(array).max() <= limit:  # catches NaN
            raise UserError(f"{self.source}: {name} has values that are not finite or beyond {limit:g}.")
        return array

    def indices(self, name: str, shape: tuple[int | None, ...], count: int) -> np.ndarray:
        array = self._array(name, "iu", shape)
        if array.size and (int(array.min()) < 0 or int(array.max()) >= count):
            raise UserError(f"{self.source}: {name} points outside the {count} entries that there are.")
        return array.astype(np.int32)

    def mask(self, name: str, count: int) -> np.ndarray:
        return self._array(name, "b", (count,))

    def strings(self, name: str) -> tuple[str, ...]:
        texts = tuple(str(text) for text in self._array(name, "U", None).reshape(-1))
        if not texts or len(texts) > 127:
            raise UserError(f"{self.source}: {name} should hold 1 to 127 names, not {len(texts)}.")
        return texts

    def number(self, name: str, default: float) -> float:
        return float(self.floats(name, (), limit=1e6)) if name in self.arrays else default

    def landmarks(self, prefix: str, n_faces: int) -> LandmarkEmbedding | None:
        if f"{prefix}_faces" not in self.arrays:
            return None
        count = LANDMARK_SETS[prefix]
        return LandmarkEmbedding(
            faces=self.indices(f"{prefix}_faces", (count,), n_faces),
            barycentric=self.floats(f"{prefix}_barycentric", (count, 3), limit=10.0),
            reliable=self.mask(f"{prefix}_reliable", count),
        )

    def _array(self, name: str, kinds: str, shape: tuple[int | None, ...] | None) -> np.ndarray:
        if name not in self.arrays:
            raise UserError(f"{self.source} is no head of this program: it lacks {name}.")
        array = self.arrays[name]
        fits = shape is None or (
            array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
        )
        if array.dtype.kind not in kinds or not fits:
            raise UserError(f"{self.source}: {name} has the wrong shape or type ({array.dtype} {list(array.shape)}).")
        return array
