"""Eyelashes, strand by strand: thin tapering ribbons that ride on the edge of their lid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.parts import Part, ride_nearest
from emo_avatar.head.build.topology import boundary_loops

# All lengths in dm.
ON_EYE, FREE = 0.156, 0.193  # distances from the eye's centre below and above which MakeHuman's lash strip ends
ROOT_SHARE = 0.35  # of the way over the strip from the eye to the free edge, where the lid's front edge is
NEIGHBOURS = 5  # skin vertices that carry a strand
BLINK_TURN = np.radians(60)  # by which a blink turns the upper lashes down
TAPER = (1.0, 0.75)  # width of a strand at its root and middle; it ends in a point


@dataclass(frozen=True)
class LashRow:
    """The lashes of one lid."""

    helper: str  # MakeHuman's lash strip, with {side}
    up: int  # +1 for the upper lid
    strands: int
    length: float  # of the longest
    curl: float  # rise of the tip, as a share of the length
    width: float  # at the root


ROWS = (
    LashRow("helper-{side}-eyelashes-2", 1, strands=58, length=0.085, curl=0.6, width=0.0017),
    LashRow("helper-{side}-eyelashes-1", -1, strands=34, length=0.050, curl=0.55, width=0.0011),
)


def _strip_edges(mh: MakeHuman, helper: str, eye: np.ndarray, stations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A lash strip's edge on the eyeball and its free edge, sampled at ``stations`` in [0, 1] from nose to temple."""
    (loop,) = boundary_loops(mh.quads[mh.helper(helper)])
    points = mh.vertices[loop]
    distance = np.linalg.norm(points - eye, axis=1)
    edges = []
    for edge in (points[distance < ON_EYE], points[distance > FREE]):
        edge = edge[np.argsort(np.abs(edge[:, 0]))]
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(edge, axis=0), axis=1))])
        edges.append(np.stack([np.interp(stations * length[-1], length, edge[:, c]) for c in range(3)], 1))
    return edges[0], edges[1]


def _strands(mh: MakeHuman, row: LashRow, eye: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The left eye's strands ``[n, 5, 3]``, two vertices at the root, two in the middle, the tip; roots ``[n, 3]``."""
    stations = (np.arange(row.strands) + 0.5 + rng.uniform(-0.35, 0.35, row.strands)) / row.strands
    stations = 0.04 + 0.92 * stations
    on_eye, free = _strip_edges(mh, row.helper.format(side="l"), eye, stations)
    outward = free - on_eye
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    along = np.gradient(on_eye, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    root = on_eye + ROOT_SHARE * (free - on_eye)
    # Short at the nose, longest two thirds of the way out; fanned towards the nearer corner.
    envelope = 0.55 + 0.45 * np.sin(np.pi * np.clip(stations / 1.3, 0, 1)) ** 0.8
    length = row.length * envelope * rng.uniform(0.72, 1.05, row.strands)
    fan = 0.55 * (stations - 0.4) + rng.normal(0, 0.10, row.strands)
    direction = outward + fan[:, None] * along
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    curl = row.up * row.curl * rng.uniform(0.85, 1.15, row.strands)
    lift = np.array([0.0, 1.0, 0.0])
    middle = root + length[:, None] * (0.52 * direction + 0.14 * curl[:, None] * lift)
    tip = root + length[:, None] * (0.88 * direction + 0.62 * curl[:, None] * lift)
    half = row.width / 2 * along
    ribbon = [root - half, root + half, middle - TAPER[1] * half, middle + TAPER[1] * half, tip]
    return np.stack(ribbon, 1), root


def build_lashes(mh: MakeHuman, skin: np.ndarray, seed: int) -> Part:
    """All four rows on the lids; ``skin [s]`` are the base vertices of the skin."""
    rng = np.random.default_rng(seed)
    eye = mh.vertices[mh.vertex_group("helper-l-eye")].mean(0)
    points, carriers = [], []
    for row in ROWS:
        strands, root = _strands(mh, row, eye, rng)
        corner = root[[0, -1]]
        slit = np.interp(np.abs(mh.vertices[skin, 0]), corner[:, 0], corner[:, 1])
        lid = skin[row.up * (mh.vertices[skin, 1] - slit) > 0]
        for mirror in ([1, 1, 1], [-1, 1, 1]):
            points.append((strands * mirror).reshape(-1, 3))
            carriers.append(ride_nearest(np.repeat(root * mirror, 5, axis=0), lid, mh.vertices, NEIGHBOURS))
    vertices = np.concatenate(points)
    first = 5 * np.arange(len(vertices) // 5)[:, None]
    quads = np.concatenate([first + [0, 1, 3, 2], first + [2, 3, 4, 4]])
    across = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.5], [1.0, 0.5], [0.5, 1.0]])
    uv = np.tile(across, (len(first), 1))
    carrier = sparse.vstack(carriers).tocsr()
    return Part("lashes", carrier, vertices - carrier @ mh.vertices, quads, uv, quads)


def blink_turns(mh: MakeHuman, lashes: Part) -> dict[str, np.ndarray]:  # ARKit unit -> [n, 3] dm
    """How a blink turns the upper lashes about their roots, on top of riding on the lid."""
    strands = (lashes.carrier @ mh.vertices + lashes.offset).reshape(-1, 5, 3)
    relative = strands - strands[:, :2].mean(1, keepdims=True)
    turn = Rotation.from_rotvec([BLINK_TURN, 0, 0]).as_matrix()
    turned = relative @ turn.T - relative
    upper = np.arange(len(strands)) < 2 * ROWS[0].strands  # ROWS begins with the upper lids, left and right
    left = strands[:, 0, 0] > 0
    return {
        "eyeBlinkLeft": (turned * (upper & left)[:, None, None]).reshape(-1, 3),
        "eyeBlinkRight": (turned * (upper & ~left)[:, None, None]).reshape(-1, 3),
    }
