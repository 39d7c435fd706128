"""Cuts the head out of MakeHuman's body along its quad edge loops."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from emo_avatar.head.build.makehuman import MakeHuman

COLLAR_HEIGHT = 5.60  # dm, a clean loop just above the clavicles
COLLAR_LENGTH = 42  # edges of that loop

Edge = tuple[int, int]


def _edge(a: int, b: int) -> Edge:
    return (a, b) if a < b else (b, a)


def edge_faces(quads: np.ndarray) -> dict[Edge, list[int]]:
    """The faces at every undirected edge."""
    faces = defaultdict(list)
    for f, quad in enumerate(quads.tolist()):
        for k in range(4):
            if quad[k] != quad[(k + 1) % 4]:
                faces[_edge(quad[k], quad[(k + 1) % 4])].append(f)
    return faces


def _edge_loop(start: Edge, faces: dict[Edge, list[int]], neighbours: dict[int, set[int]]) -> list[int] | None:
    """The closed loop that goes straight on through regular vertices from one edge; None when it does not close."""
    path = list(start)
    while len(path) <= COLLAR_LENGTH:
        previous, here = path[-2], path[-1]
        if len(neighbours[here]) != 4:
            return None
        beside = set(faces[_edge(previous, here)])
        onward = [n for n in neighbours[here] if n != previous and not beside & set(faces[_edge(here, n)])]
        if len(onward) != 1:
            return None
        if onward[0] == path[0]:
            return path
        path.append(onward[0])
    return None


def collar_loop(mh: MakeHuman) -> np.ndarray:  # -> [42] int
    """The vertices of the edge loop around the neck at which the head is cut, in order."""
    quads = mh.quads[mh.quad_group == "body"]
    faces = edge_faces(quads)
    neighbours = defaultdict(set)
    for a, b in faces:
        neighbours[a].add(b)
        neighbours[b].add(a)
    best, best_distance, seen = None, np.inf, set()
    for start in faces:
        if start in seen or abs(mh.vertices[start[0], 1] - COLLAR_HEIGHT) > 0.5:
            continue
        loop = _edge_loop(start, faces, neighbours)
        if loop is None or len(loop) != COLLAR_LENGTH:
            continue
        seen |= {_edge(a, b) for a, b in zip(loop, loop[1:] + loop[:1], strict=True)}
        distance = abs(mh.vertices[loop, 1].mean() - COLLAR_HEIGHT)
        if distance < best_distance:
            best, best_distance = loop, distance
    if best is None:
        raise ValueError("The base mesh has no collar loop: it is not hm08.")
    return np.array(best)


def _above(mh: MakeHuman, collar: np.ndarray) -> np.ndarray:  # [42] -> [F'] int
    """Indices of the body's quads above the collar loop."""
    body = np.flatnonzero(mh.quad_group == "body")
    faces = edge_faces(mh.quads[body])
    cut = {_edge(int(a), int(b)) for a, b in zip(collar, np.roll(collar, -1), strict=True)}
    beside = defaultdict(list)
    for edge, pair in faces.items():
        if edge not in cut and len(pair) == 2:
            beside[pair[0]].append(pair[1])
            beside[pair[1]].append(pair[0])
    crown = int(np.argmax(mh.vertices[mh.quads[body], 1].mean(1)))
    found, stack = {crown}, [crown]
    while stack:
        for f in beside[stack.pop()]:
            if f not in found:
                found.add(f)
                stack.append(f)
    return body[sorted(found)]


def _uv_islands(quads: np.ndarray, uv_quads: np.ndarray) -> list[np.ndarray]:
    """The quads of each connected piece of the UV map."""
    corners = np.unique(uv_quads, return_inverse=True)[1].reshape(-1, 4)
    size = corners.max() + 1
    graph = sparse.coo_matrix(
        (np.ones(corners.size), (corners.ravel(), np.roll(corners, -1, axis=1).ravel())), shape=(size, size)
    )
    count, label = connected_components(graph, directed=False)
    return [quads[label[corners[:, 0]] == k] for k in range(count)]


@dataclass(frozen=True)
class HeadCut:
    """What of MakeHuman's body is the head: indices into ``MakeHuman.quads``."""

    collar: np.ndarray  # [42] base vertices of the rim, in order
    outer: np.ndarray  # face, scalp, ears and neck
    mouth_bag: np.ndarray
    eye_sockets: tuple[np.ndarray, np.ndarray]  # left, right

    @property
    def skin(self) -> np.ndarray:
        """All of it, in the base mesh's order."""
        return np.sort(np.concatenate([self.outer, self.mouth_bag, *self.eye_sockets]))


def cut_head(mh: MakeHuman) -> HeadCut:
    """Cut the head off at the collar and tell its linings from its outside by MakeHuman's UV islands."""
    collar = collar_loop(mh)
    above = _above(mh, collar)
    islands = _uv_islands(above, mh.uv_quads[above])

    def nearest(helper: str) -> int:
        goal = mh.vertices[mh.vertex_group(helper)].mean(0)
        return int(np.argmin([np.linalg.norm(mh.vertices[mh.quads[i]].mean((0, 1)) - goal) for i in islands]))

    left, right, mouth = nearest("helper-l-eye"), nearest("helper-r-eye"), nearest("helper-tongue")
    outer = [island for k, island in enumerate(islands) if k not in (left, right, mouth)]
    return HeadCut(collar, np.concatenate(outer), islands[mouth], (islands[left], islands[right]))


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:  # [F, 3 or 4] -> loops of vertices, longest first
    """The boundaries of a surface, each in order along the surface's orientation."""
    directed = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True) if a != b}
    onward = {a: b for a, b in directed if (b, a) not in directed}
    loops = []
    while onward:
        start, here = onward.popitem()
        loop = [start]
        while here != start:
            loop.append(here)
            here = onward.pop(here)
        loops.append(np.array(loop))
    return sorted(loops, key=len, reverse=True)


def mouth_slit(mh: MakeHuman, cut: HeadCut) -> np.ndarray:  # -> [s] int
    """The loop of vertices where the lips turn into the mouth bag, in order."""
    outside = np.unique(mh.quads[cut.outer])
    (slit,) = (loop for loop in boundary_loops(mh.quads[cut.mouth_bag]) if np.isin(loop, outside).all())
    return slit


def triangulate(quads: np.ndarray, *companions: np.ndarray) -> tuple[np.ndarray, ...]:  # [Q, 4] -> [F, 3]
    """Split quads along their first diagonal; a quad whose last index is repeated is one triangle.

    ``companions`` are split alike: ``[Q, 4]`` index arrays (UVs) corner by corner, ``[Q]`` arrays by repetition.
    """
    is_quad = quads[:, 2] != quads[:, 3]
    order = np.argsort(np.concatenate([np.arange(len(quads)), np.flatnonzero(is_quad)]), kind="stable")

    def split(array: np.ndarray) -> np.ndarray:
        if array.ndim == 1:
            return np.concatenate([array, array[is_quad]])[order]
        return np.concatenate([array[:, [0, 1, 2]], array[is_quad][:, [0, 2, 3]]])[order]

    return tuple(split(a) for a in (quads, *companions))
