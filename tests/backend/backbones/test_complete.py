"""What of the photograph shows what lies below it, beside something nearer."""

import numpy as np

from emo_avatar.backbones.portrait.view import MeshView
from emo_avatar.backbones.uv.complete import BESIDE, CONTACT, clear_of_occluder
from emo_avatar.render.camera import Camera

SIZE = 64


def _two_walls(gap: float) -> MeshView:
    """A wall all over the picture, and ``gap`` metres before it one over its upper half."""
    intrinsics = np.array([[SIZE, 0, SIZE / 2], [0, SIZE, SIZE / 2], [0, 0, 1]], np.float32)
    camera = Camera(np.eye(4, dtype=np.float32), intrinsics, SIZE, SIZE)
    corners = [(x, y, 1.0) for y in (-1, 1) for x in (-1, 1)] + [(x, y, 1.0 - gap) for y in (-1, 0) for x in (-1, 1)]
    square = np.array([[0, 2, 1], [1, 2, 3]])
    return MeshView.of(np.array(corners, np.float32), np.concatenate([square, square + 4]), camera, np.ones(4, bool))


def test_pixels_below_something_near_give_way_where_soft() -> None:
    everywhere = np.ones((SIZE, SIZE), bool)
    soft, sharp = (clear_of_occluder(_two_walls(0.1), where)[:, SIZE // 2] for where in (everywhere, ~everywhere))
    edge = SIZE // 2  # the first row of the far wall
    assert (soft[:edge] > 0).any() and (sharp[:edge] == 1).all()
    assert (sharp[edge : edge + BESIDE] == 0).all() and (sharp[edge + BESIDE :] == 1).all()
    below = soft[edge:]
    assert (below[:BESIDE] == 0).all() and (np.diff(below) >= 0).all()
    assert 0 < below[BESIDE] < 0.1 and (below[BESIDE + int(CONTACT) :] == 1).all()


def test_nothing_near_leaves_all_pixels() -> None:
    assert (clear_of_occluder(_two_walls(0.001), np.ones((SIZE, SIZE), bool)) == 1).all()
