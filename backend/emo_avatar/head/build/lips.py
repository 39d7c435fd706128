"""Closes the lips of the neutral head: a linear operator on the base mesh, so that every identity is closed alike.

MakeHuman's lips are parted by up to 2.5 mm, by more or less from person to person. Where the lips should touch, pairs
of points one above the other are fixed on the base mesh; the operator moves both points of every pair to their middle
and the skin around with them. As it is linear in the vertices, the pairs coincide in every combination of identity
components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from emo_avatar.head.build.topology import triangulate

# All lengths in dm on the base mesh.
STATIONS = np.linspace(-0.226, 0.226, 33)  # across the mouth
CORNER = (0.226, 0.246)  # distance from the middle over which the operator fades out: there the lips grow together
DEPTHS = np.arange(1.36, 1.62, 0.004)  # z at which contact is looked for
NEAR_CONTACT, FAR = 0.03, 0.13  # skin this near moves fully with the contact, beyond this not at all
PRESS = 0.004  # how far each lip is pushed beyond the contact, so that no light passes between
MOUTH = (0.30, 6.35, 6.90)  # half width, lowest and highest y within which triangles count as lips


@dataclass(frozen=True)
class Seal:
    """``operator @ vertices + offset`` closes the lips."""

    operator: sparse.csr_matrix  # [N, N]
    offset: np.ndarray  # [N, 3] dm
    of_upper: np.ndarray  # [N] bool, nearer to the upper lip than to the lower


def _vertical_hits(
    vertices: np.ndarray, faces: np.ndarray, x: float, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where vertical lines meet triangles: indices of line and face, barycentrics ``[n, 3]``."""
    a, b, c = (vertices[faces[:, k]][:, [0, 2]] for k in range(3))
    point = np.stack([np.full_like(z, x), z], 1)[:, None]  # [L, 1, 2]

    def cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]

    area = cross(b - a, c - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        w = np.stack([cross(b - point, c - point), cross(c - point, a - point), cross(a - point, b - point)], -1)
        w = w / area[:, None]
    line, face = np.nonzero((w >= 0).all(-1))
    return line, face, w[line, face]


def _contacts(vertices: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> list[sparse.csr_matrix]:
    """The contact points of the upper and of the lower lip as carriers ``[K, N]``, station by station."""
    rows: dict[str, list[sparse.csr_matrix]] = {"upper": [], "lower": []}
    for x in STATIONS:
        best = {}
        for name, faces, extreme in (("upper", upper, np.minimum), ("lower", lower, np.maximum)):
            line, face, barycentric = _vertical_hits(vertices, faces, x, DEPTHS)
            height = (vertices[faces[face], 1] * barycentric).sum(1)
            surface = np.full(len(DEPTHS), np.nan)
            hit = np.full(len(DEPTHS), -1)
            for k, depth in enumerate(line):
                if np.isnan(surface[depth]) or extreme(surface[depth], height[k]) == height[k]:
                    surface[depth], hit[depth] = height[k], k
            best[name] = surface, hit, faces[face], barycentric
        gap = best["upper"][0] - best["lower"][0]
        depth = int(np.nanargmin(gap))
        for name, (_, hit, faces, barycentric) in best.items():
            k = hit[depth]
            row = sparse.csr_matrix((barycentric[k], (np.zeros(3, int), faces[k])), shape=(1, len(vertices)))
            rows[name].append(row)
    return [sparse.vstack(rows[name]).tocsr() for name in ("upper", "lower")]


def _nearer_the_upper_lip(vertices: np.ndarray, quads: np.ndarray, slit: np.ndarray) -> np.ndarray:  # -> [N] bool
    """Vertices from which the way over the skin to the upper edge of the mouth's slit is shorter than to the lower.

    ``slit [s]`` is the closed loop of vertices where the lips turn into the mouth bag, in order.
    """
    left, right = vertices[slit, 0].argmax(), vertices[slit, 0].argmin()
    turned = np.roll(slit, -left)
    split = (right - left) % len(slit)
    halves = turned[1:split], turned[split + 1 :]
    upper, lower = sorted(halves, key=lambda half: -vertices[half, 1].mean())
    a, b = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    length = np.linalg.norm(vertices[a] - vertices[b], axis=1)
    graph = sparse.csr_matrix((length, (a, b)), shape=(len(vertices),) * 2)
    way = [dijkstra(graph, directed=False, indices=half, min_only=True) for half in (upper, lower)]
    return way[0] < way[1]


def seal_lips(vertices: np.ndarray, quads: np.ndarray, slit: np.ndarray) -> Seal:
    """The operator for the base mesh ``vertices [N, 3]`` and its skin ``quads [Q, 4]``.

    ``slit [s]`` is the closed loop of vertices where the lips turn into the mouth bag, in order.
    """
    of_upper = _nearer_the_upper_lip(vertices, quads, slit)
    (faces,) = triangulate(quads)
    half_width, bottom, top = MOUTH
    centre = vertices[faces].mean(1)
    faces = faces[(np.abs(centre[:, 0]) < half_width) & (centre[:, 1] > bottom) & (centre[:, 1] < top)]
    by_lip = {"upper": faces[of_upper[faces].all(1)], "lower": faces[~of_upper[faces].any(1)]}
    contacts = dict(zip(by_lip, _contacts(vertices, *by_lip.values()), strict=True))
    middle = (contacts["upper"] + contacts["lower"]) / 2
    skin = np.unique(quads)
    operator = sparse.identity(len(vertices), format="lil")
    offset = np.zeros_like(vertices)
    for name, up in (("upper", 1), ("lower", -1)):
        own = skin[of_upper[skin] == (name == "upper")]
        distance = cKDTree(contacts[name] @ vertices).query(vertices[own])[0]
        share = np.clip((FAR - distance) / (FAR - NEAR_CONTACT), 0, 1)
        share = share * share * (3 - 2 * share)
        share *= np.clip((CORNER[1] - np.abs(vertices[own, 0])) / (CORNER[1] - CORNER[0]), 0, 1)
        own, share = own[share > 0], share[share > 0]
        # Each vertex follows the two stations beside it.
        position = np.interp(vertices[own, 0], STATIONS, np.arange(len(STATIONS)))
        station = np.minimum(position.astype(int), len(STATIONS) - 2)
        fraction = position - station
        beside = sparse.csr_matrix(
            (np.r_[1 - fraction, fraction], (np.tile(np.arange(len(own)), 2), np.r_[station, station + 1])),
            shape=(len(own), len(STATIONS)),
        )
        operator[own] += sparse.diags(share) @ beside @ (middle - contacts[name])
        offset[own, 1] -= up * PRESS * share
    return Seal(operator.tocsr(), offset, of_upper)
