"""Lashes as hair: as wide as a sample of the picture and translucent in proportion, so that they do not speckle."""

from __future__ import annotations

import functools

import numpy as np

from emo_avatar.head.data import open_head
from emo_avatar.render.camera import Camera
from emo_avatar.render.cards import Cards

STRAND = 5  # vertices: two at the root, two in the middle, the tip (head.build.lashes)
DENSITY = 1.7  # lashes are clumped and thicker than one strand
WIDEST = 8.0  # times its own width, beyond which a strand fades


def fit_lashes(vertices: np.ndarray, camera: Camera) -> Cards:  # [V, 3] metres, world
    """The lashes of a posed head for ``camera``'s samples."""
    own, faces = _lashes()
    strands = vertices[own].reshape(-1, STRAND, 3).astype(np.float64)
    width = np.linalg.norm(strands[:, 1] - strands[:, 0], axis=1).mean()
    distance = float((camera.viewmat[2, :3] @ strands[:, 0].T).mean() + camera.viewmat[2, 3])
    wider = float(np.clip(distance / camera.K[0, 0] / width, 1.0, WIDEST))
    for pair in (slice(0, 2), slice(2, 4)):
        middle = strands[:, pair].mean(1, keepdims=True)
        strands[:, pair] = middle + wider * (strands[:, pair] - middle)
    points = strands.reshape(-1, 3)
    along = np.repeat(strands[:, 4] - strands[:, :2].mean(1), STRAND, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    texture = np.ones((2, 2, 2), np.float32)
    texture[..., 1] = min(DENSITY / wider, 1.0)
    return Cards(
        points,
        np.tile([0.0, 0.0, 1.0], (len(points), 1)),
        along,
        faces,
        np.full((1, 2), 0.5, np.float32),
        np.zeros_like(faces),
        texture,
        np.zeros(len(faces), bool),
    )


@functools.cache
def lash_faces() -> np.ndarray:  # [F] bool
    """The head's faces that are lashes."""
    head = open_head()
    return head.face_part == head.part_names.index("lashes")


@functools.cache
def _lashes() -> tuple[np.ndarray, np.ndarray]:
    """The vertices of the lashes, and their faces among these."""
    head = open_head()
    own = np.flatnonzero(head.part("lashes"))
    return own, np.searchsorted(own, head.faces[lash_faces()]).astype(np.int32)
