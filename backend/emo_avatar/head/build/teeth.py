"""Teeth and gums, modelled tooth by tooth along MakeHuman's dental arches.

Each tooth is a loft of superelliptic rings from below the gum to the biting edge, so that crowns are separate and
rounded. Sizes are the usual ones of adults (Wheeler's Dental Anatomy). Lengths are millimetres here and decimetres in
the parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.parts import Part, ride_affinely

AROUND = 10  # vertices around a tooth
MM = 0.01  # dm


@dataclass(frozen=True)
class Crown:
    """One kind of tooth."""

    width: float  # along the arch
    height: float  # from the gum to the edge
    depth: float  # cheek to tongue, at its widest
    edge: float  # share of the depth that is left at the biting edge
    point: float  # how far the edge rises in its middle, towards a cusp
    squareness: float  # exponent of the superellipse


# From the midline outwards; wisdom teeth and second molars are never seen.
UPPER_CROWNS = (
    Crown(8.5, 10.0, 7.0, 0.22, 0.2, 3.0),
    Crown(6.6, 8.9, 6.2, 0.25, 0.3, 2.8),
    Crown(7.6, 9.8, 8.0, 0.30, 1.3, 2.5),
    Crown(7.0, 8.2, 9.0, 0.75, 0.8, 2.6),
    Crown(6.8, 7.6, 9.0, 0.78, 0.6, 2.6),
    Crown(10.0, 7.0, 10.5, 0.85, 0.3, 3.2),
)
LOWER_CROWNS = (
    Crown(5.2, 8.6, 6.0, 0.22, 0.1, 2.9),
    Crown(5.7, 8.8, 6.3, 0.22, 0.2, 2.8),
    Crown(6.8, 9.8, 7.5, 0.30, 1.1, 2.5),
    Crown(7.0, 8.2, 7.8, 0.70, 0.8, 2.5),
    Crown(7.1, 7.6, 8.2, 0.75, 0.6, 2.6),
    Crown(10.8, 7.0, 10.2, 0.85, 0.3, 3.2),
)
GAP = 0.12  # between neighbours

# Rings of a crown: height as a share of it (0: gum line), width, depth, and how far the axis leans to the cheek (mm).
RINGS = (
    (-0.20, 0.70, 0.92, -0.3),
    (0.02, 0.80, 1.00, 0.0),
    (0.30, 0.96, 0.98, 0.35),
    (0.62, 1.00, 0.82, 0.30),
    (0.90, 0.97, 0.50, 0.05),
    (1.00, 0.88, 0.34, -0.1),
)


@dataclass(frozen=True)
class Arch:
    """A dental arch in the base mesh's space (mm): a superellipse in plan, biting edges that rise to the back."""

    crowns: tuple[Crown, ...]
    half_width: float
    back: float  # z where the superellipse is widest
    front: float  # z of the labial surface at the midline
    edge: float  # y of the incisors' edges
    rise: float  # how much higher the edges are at the back
    up: int  # +1: crowns hang down from the gum above (upper jaw), -1: they stand on it


SQUARENESS = 2.25
UPPER = Arch(UPPER_CROWNS, half_width=31.0, back=98.0, front=150.5, edge=658.2, rise=6.5, up=1)
LOWER = Arch(LOWER_CROWNS, half_width=29.3, back=96.0, front=147.9, edge=660.3, rise=6.5, up=-1)


@dataclass(frozen=True)
class _ArchPoint:
    position: np.ndarray  # [3] mm, on the labial outline at the height of the edges
    along: np.ndarray  # [3] unit, away from the midline
    outward: np.ndarray  # [3] unit, towards lips and cheek


def _walk(arch: Arch, distances: np.ndarray) -> list[_ArchPoint]:
    """Points of the outline at signed arc lengths from the midline (positive: subject's left)."""
    angle = np.linspace(0, np.pi / 2, 400)
    power = 2 / SQUARENESS
    x = arch.half_width * np.sin(angle) ** power
    z = arch.back + (arch.front - arch.back) * np.cos(angle) ** power
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    points = []
    for distance in distances:
        s, side = abs(distance), 1.0 if distance >= 0 else -1.0
        px, pz = np.interp(s, length, x), np.interp(s, length, z)
        dx, dz = (np.interp(s + 1.0, length, c) - np.interp(max(s - 1.0, 0), length, c) for c in (x, z))
        if s < 1.0:  # the outline is symmetric about the midline
            dx, dz = 1.0, dz * s
        norm = np.hypot(dx, dz)
        back_share = (arch.front - pz) / (arch.front - arch.back)
        y = arch.edge + arch.rise * back_share**1.4
        points.append(
            _ArchPoint(
                np.array([side * px, y, pz]), np.array([side * dx, 0, dz]) / norm, np.array([-side * dz, 0, dx]) / norm
            )
        )
    return points


def _superellipse(exponent: float) -> np.ndarray:  # -> [AROUND, 2] across (along the arch) and out (to the cheek)
    angle = 2 * np.pi * (np.arange(AROUND) + 0.5) / AROUND
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.sign(c) * np.abs(c) ** (2 / exponent), np.sign(s) * np.abs(s) ** (2 / exponent)], 1)


def _tooth(arch: Arch, crown: Crown, at: _ArchPoint) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices ``[n, 3]`` mm, quads, and UVs ``[n, 2]`` in the unit square of one tooth."""
    outline = _superellipse(crown.squareness)
    vertices, uv = [], []
    incisor_like = 1 - crown.edge
    for share, width, depth, lean in RINGS:
        taper = 1 - (1 - depth) * incisor_like / (1 - RINGS[-1][2])
        across = outline[:, :1] * crown.width / 2 * width
        out = outline[:, 1:] * crown.depth / 2 * taper
        # The labial face stays near the outline of the arch while the tongue side recedes towards the edge.
        centre_out = lean - crown.depth / 2 * taper - 0.12 * crown.depth * (1 - taper)
        below = crown.height * (1 - share) - crown.point * max(share, 0) ** 4 * (1 - np.abs(outline[:, :1]))
        vertices.append(
            at.position + across * at.along + (out + centre_out) * at.outward + arch.up * below * np.array([0, 1, 0])
        )
        radius = CELL_RADIUS * (1 - CELL_DEPTH * (share - RINGS[0][0]) / (1 - RINGS[0][0]))
        uv.append(0.5 + radius * outline / np.abs(outline).max())
    last = vertices[-1]
    vertices.append(last.mean(0, keepdims=True) - [[0, arch.up * 0.25, 0]])
    uv.append(np.array([[0.5, 0.5]]))
    n_rings = len(RINGS)
    ring = np.arange(AROUND)
    onward = np.roll(ring, -1)
    quads = [
        np.stack([r * AROUND + ring, r * AROUND + onward, (r + 1) * AROUND + onward, (r + 1) * AROUND + ring], 1)
        for r in range(n_rings - 1)
    ]
    tip = np.full(AROUND, n_rings * AROUND)
    edge = (n_rings - 1) * AROUND
    quads.append(np.stack([edge + ring, edge + onward, tip, tip], 1))
    return np.concatenate(vertices), np.concatenate(quads), np.concatenate(uv)


# The gum across the arch, from the cheek side over the ridge to the tongue side: outward (mm from the labial outline)
# and beyond the gum line (mm, away from the crowns).
GUM_PROFILE = ((0.1, -0.9), (0.9, 0.8), (1.2, 3.5), (0.2, 6.5), (-6.0, 7.5), (-10.5, 5.0), (-9.5, 0.5))
PAPILLA = 1.5  # mm, by which the gum rises between teeth


def _gum(arch: Arch, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gum along the arch; ``joints [j]`` are the signed arc lengths of the contacts between teeth."""
    middles = (joints[1:] + joints[:-1]) / 2
    stations = np.sort(np.concatenate([joints, middles]))
    height = np.array([c.height for c in arch.crowns])
    height = np.concatenate([height[::-1], height])  # of the tooth at every middle
    neck = np.interp(stations, middles, height)
    between = np.isin(stations, joints)
    rows = []
    for at, crown_height, is_joint in zip(_walk(arch, stations), neck, between, strict=True):
        row = []
        for k, (out, beyond) in enumerate(GUM_PROFILE):
            margin = k in (0, len(GUM_PROFILE) - 1)
            lift = crown_height + beyond - (PAPILLA if is_joint and margin else 0.0)
            row.append(at.position + out * at.outward + arch.up * np.array([0, lift, 0]))
        rows.append(row)
    vertices = np.array(rows).reshape(-1, 3)
    n, m = len(stations), len(GUM_PROFILE)
    index = np.arange(n * m).reshape(n, m)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    uv = np.stack(np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, m), indexing="ij"), -1).reshape(-1, 2)
    return vertices, quads, uv


UV_COLUMNS, UV_ROWS = 6, 3  # two rows of teeth, one of gum, in the part's unit square


CELL_RADIUS, CELL_DEPTH = 0.48, 0.75  # a tooth is mapped as seen from its edge: gum on the outside


def crown_height(uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [n, 2] -> [n], [n] bool
    """What the map of an arch shows: height on the crown (0 at the gum, 1 at the edge), and where it is gum."""
    cell = uv * [UV_COLUMNS, UV_ROWS]
    radius = np.abs(cell % 1 - 0.5).max(1)
    share = (1 - radius / CELL_RADIUS) / CELL_DEPTH
    return np.clip(RINGS[0][0] + share * (1 - RINGS[0][0]), 0, 1), cell[:, 1] > 2


def _outward_quads(vertices: np.ndarray, quads: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The same quads, wound so that normals point away from ``inside [3]`` on average."""
    a, b, c = (vertices[quads[:, k]] for k in range(3))
    outward = (np.cross(b - a, c - a) * (a - inside)).sum(1).mean() > 0
    return quads if outward else _reverse(quads)


def _reverse(quads: np.ndarray) -> np.ndarray:
    """Quads wound the other way; triangles keep their repeated last corner."""
    reverse = quads[:, [0, 3, 2, 1]]
    triangle = quads[:, 2] == quads[:, 3]
    reverse[triangle] = quads[triangle][:, [0, 2, 1, 1]]
    return reverse


def dental_arch(name: str, mh: MakeHuman, arch: Arch, helper: str, rigid_joint: int) -> Part:
    """One jaw's teeth and gum, riding on MakeHuman's helper teeth and turning rigidly with a joint."""
    widths = np.array([c.width + GAP for c in arch.crowns])
    joints = np.concatenate([[0], np.cumsum(widths)])
    joints = np.concatenate([-joints[:0:-1], joints])
    crowns = (*arch.crowns[::-1], *arch.crowns)
    pieces = []
    for k, (crown, at) in enumerate(zip(crowns, _walk(arch, (joints[1:] + joints[:-1]) / 2), strict=True)):
        vertices, quads, uv = _tooth(arch, crown, at)
        cell = np.array([k % UV_COLUMNS, k // UV_COLUMNS])
        pieces.append(
            (vertices, _outward_quads(vertices, quads, vertices.mean(0)), (cell + uv) / [UV_COLUMNS, UV_ROWS])
        )
    vertices, quads, uv = _gum(arch, joints)
    core = vertices.reshape(-1, len(GUM_PROFILE), 3)[len(joints) - 1].mean(0)
    pieces.append((vertices, _outward_quads(vertices, quads, core), (uv + [0, 2]) / [1, UV_ROWS]))

    start = np.cumsum([0] + [len(p[0]) for p in pieces])
    vertices = np.concatenate([p[0] for p in pieces]) * MM
    quads = np.concatenate([p[1] + s for p, s in zip(pieces, start, strict=False)])
    carrier = ride_affinely(vertices, mh.vertex_group(helper), mh.vertices)
    return Part(
        name, carrier, np.zeros_like(vertices), quads, np.concatenate([p[2] for p in pieces]), quads, rigid_joint
    )
