"""What the open head's own maps say of a place on it: how deep skin folds, how the inside of the mouth is coloured."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from PIL import Image

from emo_avatar.backbones.portrait.view import sample
from emo_avatar.head.data import OPEN_HEAD_PATH, HeadData, texture_path, wrinkle_path

LARGEST = 512  # pixels a side: one to a Gaussian's width
FOLD_MAP = 192  # pixels a side of the map of folds: lines several Gaussians wide, which do not break up into dots
FOLD_DEPTH = (1.6, 1.6, 1.6)  # times that of the map so reduced, by kind: makes up for what narrow lines lose in it


def fold_depth(head: HeadData, face: np.ndarray, barycentric: np.ndarray) -> np.ndarray:  # [N], [N, 3] -> [N, 3] uint8
    """How deep level, upright and slanted folds are at points of triangles; none on heads without a map of them."""
    depth = np.array(FOLD_DEPTH, np.float32) * _map_at(wrinkle_path(OPEN_HEAD_PATH), FOLD_MAP, head, face, barycentric)
    return np.round(255 * np.minimum(depth, 1)).astype(np.uint8)


def painted_colour(head: HeadData, face: np.ndarray, barycentric: np.ndarray) -> np.ndarray | None:  # [N, 3]
    """The colour that the head's texture gives points of triangles; None for heads without a texture."""
    if head.name != "open":
        return None
    return _map_at(texture_path(OPEN_HEAD_PATH), LARGEST, head, face, barycentric)


def _map_at(
    path: Path, largest: int, head: HeadData, face: np.ndarray, barycentric: np.ndarray
) -> np.ndarray:  # [N, 3] in [0, 1]
    if head.name != "open":
        return np.zeros((len(face), 3), np.float32)
    picture = _picture(path, largest)
    uv = (head.uv[head.uv_faces[face]] * barycentric[:, :, None]).sum(1)
    height, width = picture.shape[:2]
    return sample(picture, np.stack([uv[:, 0] * width, (1 - uv[:, 1]) * height], axis=1))


@functools.lru_cache(maxsize=2)
def _picture(path: Path, largest: int) -> np.ndarray:  # [h, w, 3] float32
    with Image.open(path) as image:
        image.draft("RGB", (largest, largest))
        image = image.convert("RGB")
        image.thumbnail((largest, largest))
        return np.asarray(image, np.float32) / 255
