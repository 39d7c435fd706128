"""Parts of a head whose file does not name them: the skin and the two eyeballs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from emo_avatar.head.data import JOINTS

PART_NAMES = ("skin", "eye_left", "eye_right")


class Parts(NamedTuple):
    names: tuple[str, ...]
    vertex_part: np.ndarray  # [V] int8


def split_parts(
    vertices: np.ndarray,  # [V, 3]
    faces: np.ndarray,  # [F, 3]
    weights: np.ndarray,  # [V, 5] skinning weights
) -> Parts:
    """Eyeballs are the pieces of the mesh that turn with an eye joint; all else is skin.

    FLAME's eyeballs are 546 vertices each, its last ones; their order is not relied on.
    """
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2)
    n_pieces, piece = connected_components(graph, directed=False)
    sizes = np.bincount(piece, minlength=n_pieces)
    part = np.zeros(len(vertices), np.int8)
    for index, joint in enumerate(("left_eye", "right_eye"), start=1):
        weight = np.bincount(piece, weights[:, JOINTS.index(joint)], minlength=n_pieces) / sizes
        part[weight[piece] > 0.5] = index
    return Parts(PART_NAMES, part)
