"""What a fitted head still misses: a smooth offset of its surface that brings landmarks onto the photo's.

The offset is a Gaussian-process mean (kernel ridge regression) over the head at rest: smooth, and zero a few kernel
widths away from the landmarks, so that it fades out before the ears. Skin and lashes deform; eyeballs, teeth and
tongue follow as rigid pieces.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from emo_avatar.head.data import HeadData
from emo_avatar.tracking.fit import ROBUST, HeadFit, project
from emo_avatar.tracking.landmark_model import LandmarkModel
from emo_avatar.tracking.topology import IRISES, MIRROR, index_mask

KERNEL = 0.016  # metres, standard deviation of the kernel
NOISE = 0.15  # variance of a well-seen landmark's noise, relative to the offset's
REACH = 4.0  # kernel widths beyond which the offset is nothing
SOFT_PARTS = ("skin", "lashes")


def residual_offset(
    head: HeadData,
    model: LandmarkModel,
    fit: HeadFit,
    size: int,
) -> np.ndarray:  # [V, 3] metres, for HeadModel's static_offset
    """The offset of the unposed head under which its landmarks project close to the detected ones."""
    sightings = fit.sightings
    points, rotations = model.posed(fit.shape, fit.units)
    projected, depth = project(points, fit, size)
    miss = np.einsum("lij,lj->li", sightings.directions, sightings.points - projected)  # [478, 2] px
    across = miss * (depth / fit.focal)[:, None] * (1, -1)  # metres across the view
    targets = np.concatenate([across, np.zeros((len(miss), 1))], axis=1) @ fit.R  # head axes
    targets = np.einsum("lab,la->lb", rotations, targets)  # before posing
    hidden = (model.normals @ fit.R.T)[:, 2] < 0
    hidden &= ~hidden[MIRROR]
    targets[hidden] = (targets[MIRROR] * (-1, 1, 1))[hidden]  # the detector guesses there; the other side is seen

    used = np.isfinite(sightings.sigma) & ~index_mask(IRISES)
    doubt = (
        1 + ((miss / sightings.sigma[:, None]) ** 2).sum(1) / ROBUST**2
    )  # outliers of the fit are not to be followed
    noise = (NOISE * doubt * (sightings.sigma / sightings.sigma.min()) ** 2)[used]
    anchors = model.template[used]
    gram = _kernel(anchors, anchors) + np.diag(noise)
    coefficients = np.linalg.solve(gram, targets[used])
    offset = np.zeros((head.n_vertices, 3))
    near = (head.v_template > anchors.min(0) - REACH * KERNEL).all(1)
    near &= (head.v_template < anchors.max(0) + REACH * KERNEL).all(1)
    offset[near] = _kernel(head.v_template[near], anchors) @ coefficients
    for piece in rigid_pieces(head):
        offset[piece] = offset[piece].mean(0)
    return offset.astype(np.float32)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # [A, 3], [B, 3] -> [A, B]
    return np.exp(cdist(a, b, "sqeuclidean") / (-2 * KERNEL**2))


def rigid_pieces(head: HeadData) -> list[np.ndarray]:  # of [n] vertex indices
    """What does not deform: all parts but the soft ones, and islands of the skin (eyeballs of a head without parts)."""
    pieces = [np.flatnonzero(head.vertex_part == i) for i, name in enumerate(head.part_names) if name not in SOFT_PARTS]
    edges = np.concatenate([head.faces[:, [0, 1]], head.faces[:, [1, 2]]])
    ones = np.ones(len(edges), bool)
    n, island = connected_components(coo_array((ones, edges.T), shape=(head.n_vertices, head.n_vertices)))
    skin = head.part("skin")
    count = np.bincount(island[skin], minlength=n)
    pieces += [np.flatnonzero(skin & (island == i)) for i in np.flatnonzero(count) if i != count.argmax()]
    return [piece for piece in pieces if len(piece)]
