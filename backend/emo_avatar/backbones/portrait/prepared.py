"""What the backbone knows of a head before it sees a photograph; prepared once and used for every portrait."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from emo_avatar.avatar.binding import triangle_frames
from emo_avatar.backbones.portrait.texels import Texels, sample_texels, spread_vertices
from emo_avatar.errors import UserError
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import ARKIT_NAMES, HeadData
from emo_avatar.head.model import HeadModel

REGIONS = (
    "lips", "lids", "upper_lids", "brows", "scalp", "neck", "face", "ears", "collar", "mouth_bag", "eye_sockets",
)  # fmt: skip
INTERIOR = ("upper_teeth", "lower_teeth", "tongue", "mouth_bag")  # regions and parts that only an open mouth shows
STABLE = 0.0007  # metres that an expression may move a triangle which hair and clothing are bound to


@dataclass(frozen=True, eq=False)
class PreparedHead:
    """A head with its texels and the triangles of interest."""

    head: HeadData
    texels: Texels
    texel_size: np.ndarray  # [N] float32, spacing of each texel in units of its triangle's size
    on_face: dict[str, np.ndarray]  # region or part name -> [F] bool
    eyes: np.ndarray  # [F] bool
    interior: np.ndarray  # [F] bool, what only an open mouth shows
    rim_distance: np.ndarray  # [N] float32 metres to the nearest rim of an eye or of the mouth, on the spread head
    outer: np.ndarray  # [F] bool, skin that faces the world, not the inside of mouth and sockets
    stable: np.ndarray  # [F] bool, outer skin that no expression moves
    edges: np.ndarray  # [E, 2] int32, each once

    @property
    def opaque(self) -> np.ndarray:  # [F] bool
        """What hides other things from a camera: all but the lashes."""
        return ~self.on_face["lashes"]


_recent: list[PreparedHead] = []  # of this process, by identity of the head


def prepare_head(head: HeadData) -> PreparedHead:
    """Sample a head's surface and find out what moves. Takes about a second, the first time for each head."""
    for prepared in _recent:
        if prepared.head is head:
            return prepared
    _recent.insert(0, _prepare(head))
    del _recent[2:]
    return _recent[0]


def _prepare(head: HeadData) -> PreparedHead:
    missing = [name for name in REGIONS if name not in head.regions]
    if missing:
        raise UserError(f"The head {head.name!r} does not say where its {', '.join(missing)} are; import it again.")
    on_face = {name: head.regions[name][head.faces].all(1) for name in REGIONS}
    for name in ("mouth_bag", "eye_sockets", "collar", "lids", "upper_lids"):  # narrow, or rims of something else
        on_face[name] = head.regions[name][head.faces].any(1)
    on_face |= {name: head.face_part == i for i, name in enumerate(head.part_names)}
    on_face["lashes"] = on_face.get("lashes", np.zeros(len(head.faces), bool))

    outer = on_face["skin"] & ~on_face["mouth_bag"] & ~on_face["eye_sockets"]
    stable = outer & (_largest_motion(head)[head.faces].max(1) < STABLE)
    eyes = np.any([on_face[name] for name in head.part_names if name.startswith("eye_")], axis=0)
    interior = np.any([on_face[name] for name in INTERIOR if name in on_face], axis=0)

    texels = sample_texels(head, ~on_face["lashes"])
    spread = spread_vertices(head)
    _, _, size = triangle_frames(torch.from_numpy(spread), torch.from_numpy(head.faces.astype(np.int64)))
    corners = head.faces
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    rim = _used(head, outer) & _used(head, on_face["eye_sockets"] | on_face["mouth_bag"])
    rim_distance = _distance_to_edges(texels.points(spread, head.faces), spread, edges[rim[edges].all(1)])
    return PreparedHead(
        head=head,
        texels=texels,
        texel_size=texels.spacing / size.numpy()[texels.face],
        on_face=on_face,
        eyes=eyes,
        interior=interior,
        rim_distance=rim_distance.astype(np.float32),
        outer=outer,
        stable=stable,
        edges=edges,
    )


def _used(head: HeadData, faces: np.ndarray) -> np.ndarray:  # [F] bool -> [V] bool
    used = np.zeros(head.n_vertices, bool)
    used[head.faces[faces]] = True
    return used


def _distance_to_edges(points: np.ndarray, vertices: np.ndarray, edges: np.ndarray) -> np.ndarray:  # [N] metres
    """Distance to the nearest of a few edges, which are sampled finely; infinite when there are none."""
    if not len(edges):
        return np.full(len(points), np.inf)
    t = np.linspace(0, 1, 9)[None, :, None]
    samples = (1 - t) * vertices[edges[:, 0], None] + t * vertices[edges[:, 1], None]
    distance: np.ndarray = cKDTree(samples.reshape(-1, 3)).query(points)[0]
    return distance


def _largest_motion(head: HeadData) -> np.ndarray:  # [V] metres
    """How far any single ARKit unit moves each vertex."""
    units = np.eye(len(ARKIT_NAMES), dtype=np.float32)
    expression, jaw, eyes = (torch.from_numpy(x) for x in flame_from_arkit(head, units))
    with torch.no_grad():
        moved = HeadModel(head)(expression=expression, jaw_pose=jaw, eyes_pose=eyes).vertices.numpy()
    return np.linalg.norm(moved - head.v_template, axis=2).max(0)
