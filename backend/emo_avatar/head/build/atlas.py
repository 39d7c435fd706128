"""The UV atlas: one square texture for all parts, most of it for the face.

The outside of the head is one island, cut at the back of the head from the collar to the crown and flattened anew,
because MakeHuman's map gives the head a tenth of the texture. It is symmetric about the vertical middle of the atlas
and leaves the corners to the small islands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from emo_avatar.head.build.collar import cap
from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.parts import Part, select
from emo_avatar.head.build.topology import HeadCut, mouth_slit, triangulate
from emo_avatar.head.build.unwrap import unwrap

SEAM_TOP = 8.35  # dm, height of the crown at which the seam ends
SEAM_FRONT = 0.45  # dm, the seam runs behind this z
MARGIN = 0.004  # of the atlas, about 8 texels of 2048, around every island

BAG_SHRINKING = 0.15  # of the way to its centre, by which the deep part of the mouth bag is drawn in
BAG_KEPT = (0.05, 0.18)  # dm from the lips, up to which it stays and beyond which it is drawn in fully


@dataclass(frozen=True)
class Cell:
    """A rectangle of the atlas, v up."""

    u: float
    v: float
    width: float
    height: float

    def place(self, uv: np.ndarray) -> np.ndarray:  # [n, 2] in [0, 1] -> [n, 2]
        room = np.array([self.width, self.height]) - 2 * MARGIN
        return np.array([self.u, self.v]) + MARGIN + uv * room

    def unplace(self, uv: np.ndarray) -> np.ndarray:  # [n, 2] -> [n, 2] in [0, 1]
        room = np.array([self.width, self.height]) - 2 * MARGIN
        return (uv - MARGIN - np.array([self.u, self.v])) / room


OUTSIDE = Cell(0.0, 0.0, 1.0, 1.0)
CELLS = {
    "eye_left": Cell(0.0, 0.0, 0.15, 0.15),
    "eye_right": Cell(0.85, 0.0, 0.15, 0.15),
    "mouth_bag": Cell(0.0, 0.86, 0.15, 0.14),
    "upper_teeth": Cell(0.85, 0.93, 0.15, 0.07),
    "lower_teeth": Cell(0.85, 0.86, 0.15, 0.07),
    "tongue": Cell(0.95, 0.76, 0.05, 0.10),
    "eye_socket_left": Cell(0.0, 0.81, 0.05, 0.05),
    "eye_socket_right": Cell(0.05, 0.81, 0.05, 0.05),
    "cap": Cell(0.0, 0.15, 0.05, 0.05),
    "lashes": Cell(0.95, 0.15, 0.05, 0.05),
}


def _magnification(centre: np.ndarray) -> np.ndarray:  # [F, 3] dm -> [F]
    """How large the texture should show each place: eyes and mouth most, back of the head and neck least."""
    side, y, z = np.abs(centre[:, 0]), centre[:, 1], centre[:, 2]
    azimuth = np.degrees(np.arctan2(side, z - 0.4))
    front = 0.55 + 0.45 / (1 + np.exp((azimuth - 75) / 9))
    neck = 1 - 0.35 / (1 + np.exp((y - 6.3) / 0.08))
    crown = 1 - 0.30 / (1 + np.exp(-(y - 8.05) / 0.06))
    eyes = np.exp(-(((side - 0.31) / 0.28) ** 2 + ((y - 7.28) / 0.20) ** 2 + ((z - 1.4) / 0.4) ** 2))
    mouth = np.exp(-((side / 0.33) ** 2 + ((y - 6.62) / 0.20) ** 2 + ((z - 1.5) / 0.4) ** 2))
    return front * neck * crown * (1 + 0.9 * eyes + 0.8 * mouth)


def _outside_uv(mh: MakeHuman, quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [Q, 4] -> [t, 2], [Q, 4]
    """UVs in [0, 1] of the head's outside, symmetric, upright, with the seam at the back."""
    base, corners = np.unique(quads, return_inverse=True)
    corners = corners.reshape(-1, 4)
    points = mh.vertices[base]
    on_plane = mh.mirror[base] == base
    seam = np.flatnonzero(on_plane & (points[:, 2] < SEAM_FRONT) & (points[:, 1] < SEAM_TOP))
    # The right side of the seam gets vertices of its own.
    copy = np.arange(len(base))
    copy[seam] = len(base) + np.arange(len(seam))
    right = points[corners].mean(1)[:, 0] < 0
    corners[right] = copy[corners[right]]
    points = np.concatenate([points, points[seam]])
    (faces,) = triangulate(corners)
    uv = unwrap(points, faces, _magnification(points[faces].mean(1)))

    partner = np.searchsorted(base, mh.mirror[base])
    partner = np.concatenate([partner, seam])
    partner[seam] = copy[seam]
    # Upright: the mirror axis, which joins the midpoints of mirrored vertices, becomes vertical.
    across = uv - uv[partner]
    _, _, axes = np.linalg.svd(across, full_matrices=False)
    uv = (uv - uv.mean(0)) @ axes.T
    if (uv[:, 0] * points[:, 0]).sum() < 0:
        uv = -uv
    uv = np.stack([uv[:, 0] - uv[partner, 0], uv[:, 1] + uv[partner, 1]], 1) / 2
    if (uv[:, 1] * (points[:, 1] - points[:, 1].mean()))[points[:, 2] > 1.0].sum() < 0:
        raise ValueError("The flattened head came out mirrored.")
    size = (uv.max(0) - uv.min(0)).max()
    return 0.5 + (uv - (uv.max(0) + uv.min(0)) / 2) / size, corners


def _normalised(uv: np.ndarray) -> np.ndarray:  # [n, 2] -> [n, 2] in [0, 1], proportions kept
    span = uv.max(0) - uv.min(0)
    return (uv - uv.min(0)) / span.max()


def skin_part(mh: MakeHuman, cut: HeadCut) -> Part:
    """Face, neck, mouth bag, eye sockets and the cap below the collar, mapped into the atlas."""
    base = np.unique(mh.quads[cut.skin])
    cap_carrier, cap_offset, cap_quads = cap(cut.collar, len(mh.vertices))
    pieces = [(mh.quads[cut.outer], OUTSIDE, *_outside_uv(mh, mh.quads[cut.outer]))]
    linings = {
        "mouth_bag": cut.mouth_bag,
        "eye_socket_left": cut.eye_sockets[0],
        "eye_socket_right": cut.eye_sockets[1],
    }
    for name, indices in linings.items():
        corners, uv_corners = np.unique(mh.uv_quads[indices], return_inverse=True)
        island = _normalised(mh.uv[corners])
        pieces.append((mh.quads[indices], CELLS[name], island, uv_corners.reshape(-1, 4)))

    quads = [np.searchsorted(base, q) for q, *_ in pieces]
    uv = [cell.place(island) for _, cell, island, _ in pieces]
    start = np.cumsum([0] + [len(u) for u in uv])
    uv_quads = [corners + s for (*_, corners), s in zip(pieces, start, strict=False)]

    rim = np.searchsorted(base, cut.collar)
    cap_index = np.concatenate([rim, len(base) + np.arange(len(cap_offset))])
    below = (select(cut.collar, len(mh.vertices)) @ mh.vertices, cap_carrier @ mh.vertices)
    disc = _cap_uv(np.concatenate(below), len(rim))
    quads.append(cap_index[cap_quads])
    uv.append(CELLS["cap"].place(disc))
    uv_quads.append(cap_quads + start[-1])
    return Part(
        "skin",
        sparse.vstack([_shrunken_bag(mh, cut)[base], cap_carrier]).tocsr(),
        np.concatenate([np.zeros((len(base), 3)), cap_offset]),
        np.concatenate(quads),
        np.concatenate(uv),
        np.concatenate(uv_quads),
    )


def _shrunken_bag(mh: MakeHuman, cut: HeadCut) -> sparse.csr_matrix:  # [N, N]
    """The base mesh with the depth of its mouth bag drawn together, lest it show through the cheeks of lean faces."""
    bag = np.unique(mh.quads[cut.mouth_bag])
    slit = mouth_slit(mh, cut)
    distance = cKDTree(mh.vertices[slit]).query(mh.vertices[bag])[0]
    near, far = BAG_KEPT
    share = BAG_SHRINKING * np.clip((distance - near) / (far - near), 0, 1)
    middle = sparse.csr_matrix(
        (np.tile(1 / len(bag), len(bag) ** 2), (np.repeat(bag, len(bag)), np.tile(bag, len(bag)))),
        shape=(len(mh.vertices),) * 2,
    )
    weight = np.zeros(len(mh.vertices))
    weight[bag] = share
    return (sparse.diags(1 - weight) + sparse.diags(weight) @ middle).tocsr()


def _cap_uv(points: np.ndarray, rim: int) -> np.ndarray:  # [n, 3] -> [n, 2] in [0, 1]
    """The cap seen from below, in a disc."""
    centre = points[-1]
    angle = np.arctan2(points[:, 2] - centre[2], points[:, 0] - centre[0])
    ring = np.arange(len(points)) // rim
    radius = 0.5 * (1 - ring / ring.max())
    return 0.5 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def into_atlas(part: Part) -> Part:
    """A part whose UVs fill the unit square, moved to its cell."""
    return replace(part, uv=CELLS[part.name].place(part.uv))
