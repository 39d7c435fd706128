"""The folds of one person's skin: which deepen when it is compressed, and which are there to stay."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from emo_avatar.head.data import open_head
from emo_avatar.render.shading import fold_depth

PLACES = ("forehead", "glabella", "crows_feet", "below_the_eye", "nose", "nasolabial", "mouth", "chin")
# How deep folds are at full compression in youth and in old age, and how much of that stays in a resting old face
YOUNG, OLD = 0.6, 1.45
# Skin is a sheet that slides on what lies below: what a muscle shortens at one end it shortens some way along. By that
# way, standard deviation in millimetres; on the forehead, where it slides from the brows to the hairline, up and down.
REACH, REACH_ON_FOREHEAD = 6.0, 19.0
# What is shortened over a longer way folds sooner, by place
READY = (3.2, 1.5, 1.2, 1.6, 2.4, 2.3, 1.2, 2.6)
# Of the depth, by place: folds over fat are deeper than those over bone, and two muscles pull between the brows
SHARE = (1.1, 1.8, 1.4, 1.2, 1.9, 1.6, 1.1, 1.1)
DEEPEST = 1.9  # of which no light comes out any more
STAYING = (0.55, 0.50, 0.65, 0.60, 0.15, 0.75, 0.65, 0.20)  # by place


@dataclass(frozen=True, eq=False)
class Folds:
    """Per vertex of the head, for the three runs of folds alike."""

    gain: np.ndarray  # [V] depth at full compression
    resting: np.ndarray  # [V] depth in a resting face
    ready: np.ndarray  # [V] factor on how far skin is shortened

    def depth(self, shortened: np.ndarray) -> np.ndarray:  # [V, 3] -> [V, 3]
        """How far the folds are drawn where skin is shortened, by their run (`render.strain.shortening`)."""
        drawn = self.gain[:, None] * fold_depth(self.ready[:, None] * (sheet() @ shortened))
        # A line that is there already deepens sooner, and never gets shallower.
        depth = np.maximum(drawn, self.resting[:, None]) + 0.25 * np.minimum(drawn, self.resting[:, None])
        return np.minimum(depth, DEEPEST)


def draw_folds(rng: np.random.Generator, age: float) -> Folds:
    """Folds of somebody of ``age`` 0 to 1; people of one age differ, and in which folds they have."""
    grown = float(np.clip(age + rng.normal(0, 0.12), 0, 1))
    gains = (YOUNG + (OLD - YOUNG) * grown) * np.array(SHARE) * np.exp(rng.normal(0, 0.18, len(PLACES)))
    staying = np.array(STAYING) * max(0.0, (grown - 0.25) / 0.75) ** 1.2 * np.exp(rng.normal(0, 0.3, len(PLACES)))
    maps = place_maps()
    ready = maps @ np.array(READY)
    return Folds(*(values.astype(np.float32) for values in (maps @ gains, maps @ staying, ready)))


@functools.cache
def sheet() -> sparse.csr_matrix:  # [V, V] rows sum to 1 on the face, else to 0
    """How far what is shortened at one place of the open head's skin is felt at another."""
    head = open_head()
    face = np.flatnonzero(_on_skin() & (head.v_template[:, 2] > 0.02))
    points, forehead = head.v_template[face] / 1e-3, place_maps()[face, PLACES.index("forehead")]
    upwards = REACH + (REACH_ON_FOREHEAD - REACH) * forehead
    area = np.zeros(head.n_vertices)
    a, b, c = (head.v_template[head.faces[:, k]] for k in range(3))
    np.add.at(area, head.faces, np.linalg.norm(np.cross(b - a, c - a), axis=1)[:, None])
    near = cKDTree(points).query_ball_point(points, 2.5 * upwards)
    rows = np.repeat(np.arange(len(face)), [len(found) for found in near])
    columns = np.concatenate([np.array(found, int) for found in near])
    apart = (points[columns] - points[rows]) / np.stack([np.full(len(face), REACH), upwards, upwards], 1)[rows]
    weight = area[face[columns]] * np.exp(-0.5 * (apart**2).sum(1))
    weight /= np.bincount(rows, weight)[rows]
    return sparse.csr_matrix((weight, (face[rows], face[columns])), (head.n_vertices, head.n_vertices))


@functools.cache
def place_maps() -> np.ndarray:  # [V, 8] rows sum to 1 on the face, in the order of PLACES
    """Which place each part of the open head's skin belongs to, softly."""
    head = open_head()
    p = head.v_template / 1e-3
    x, y = np.abs(p[:, 0]), p[:, 1]
    centres = {
        "forehead": (20, 50, 42, 20),
        "glabella": (4, 17, 9, 12),
        "crows_feet": (57, -1, 10, 16),
        "below_the_eye": (29, -13, 18, 8),
        "nose": (8, -10, 8, 12),
        "nasolabial": (25, -52, 12, 18),
        "mouth": (28, -78, 9, 10),
        "chin": (0, -92, 18, 12),
    }
    distance = np.stack(
        [((x - a) / rx) ** 2 + ((y - b) / ry) ** 2 for a, b, rx, ry in (centres[place] for place in PLACES)], 1
    )
    share = np.exp(-0.5 * (distance - distance.min(1, keepdims=True)))
    share /= share.sum(1, keepdims=True)
    return share * _on_skin()[:, None]


def _on_skin() -> np.ndarray:  # [V] bool
    head = open_head()
    return head.part("skin") & ~head.regions["mouth_bag"] & ~head.regions["eye_sockets"]
