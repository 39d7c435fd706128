"""What a portrait hardly shows: eyeballs, teeth, tongue, and the inside of the mouth.

A surface baked from pictures has the lids' skin on its eyeballs and shreds of lip on its teeth, for those lie
millimetres behind. Where a person's head is made of the open head these parts take the open head's own colours; the
eyes keep the person's colour of iris and brightness of white.
"""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from emo_avatar.export.bake import SurfacePoints
from emo_avatar.head.data import HeadData, open_head, texture_path

GENERIC_PARTS = ("upper_teeth", "lower_teeth", "tongue", "lashes")
GENERIC_REGIONS = ("mouth_bag", "eye_sockets")
EYES = ("eye_left", "eye_right")

IRIS, WHITE = (9.0, 17.0), (26.0, 40.0)  # degrees from the pupil's centre; the open head's iris lies from 7 to 23
IRIS_ENDS = (22.0, 25.0)  # degrees over which the iris' colour gives way to the white's
SIDES = np.tan(np.radians(35.0))  # steepest slope of the sectors beside the pupil, which open lids never cover
WITHOUT_CATCHLIGHTS = 40  # percentile of an iris' colours
LIT = 65  # percentile of a white's brightness above which no lid shades it
LEAST_SIGHTINGS = 20  # points, fewer say nothing
COLOURFUL = (0.04, 0.1)  # mean spread of the channels up to which a portrait is black and white, from which it is not


def inner_colours(
    colours: np.ndarray,  # [N, 3] in [0, 1], baked from pictures
    points: SurfacePoints,
    head: HeadData,
) -> np.ndarray:  # [N, 3]
    """The baked colours with the inner parts completed; unchanged for a head that is not made of the open head."""
    if not _is_open_head(head):
        return colours
    colours = colours.copy()
    colourful = float(np.interp(np.ptp(colours, axis=1).mean(), COLOURFUL, (0.0, 1.0)))
    generic = np.isin(head.face_part[points.face], [head.part_names.index(name) for name in GENERIC_PARTS])
    hidden = np.any([head.regions[name] for name in GENERIC_REGIONS], axis=0).astype(np.float32)
    share = np.maximum(generic, points.on(hidden[:, None], head.faces)[:, 0])
    chosen = np.flatnonzero(share > 0)
    own = _muted(_open_colours(points.some(chosen), head), colourful)
    colours[chosen] += share[chosen, None] * (own - colours[chosen])
    for name in EYES:
        chosen = np.flatnonzero(head.face_part[points.face] == head.part_names.index(name))
        ball = head.v_template[head.part(name)]
        directions = points.some(chosen).on(head.v_template, head.faces) - (ball.min(0) + ball.max(0)) / 2
        own = _muted(_open_colours(points.some(chosen), head), colourful)
        colours[chosen] = _eye(colours[chosen], own, directions)
    return np.clip(colours, 0, 1)


def _eye(seen: np.ndarray, own: np.ndarray, directions: np.ndarray) -> np.ndarray:  # [N, 3] x 3 -> [N, 3]
    """The open head's eye in the colours that are seen beside the pupil."""
    angle = np.degrees(np.arccos(np.clip(directions[:, 2] / np.linalg.norm(directions, axis=1), -1, 1)))
    beside = np.abs(directions[:, 1]) < SIDES * np.abs(directions[:, 0])
    iris = beside & (angle > IRIS[0]) & (angle < IRIS[1])
    white = beside & (angle > WHITE[0]) & (angle < WHITE[1])
    if min(iris.sum(), white.sum()) < LEAST_SIGHTINGS:
        return own
    iris_gain = np.percentile(seen[iris], WITHOUT_CATCHLIGHTS, axis=0) / np.median(own[iris], axis=0)
    brightness = seen[white].mean(axis=1)
    white_gain = np.mean(brightness[brightness >= np.percentile(brightness, LIT)]) / own[white].mean()
    turn = np.interp(angle, IRIS_ENDS, (0.0, 1.0))[:, None]
    gain = (1 - turn) * np.clip(iris_gain, 0.2, 6.0) + turn * np.clip(white_gain, 0.5, 1.1)
    return own * gain


def _open_colours(points: SurfacePoints, head: HeadData) -> np.ndarray:  # [N, 3] in [0, 1]
    picture = _open_texture()
    height, width = picture.shape[:2]
    u, v = points.on(head.uv, head.uv_faces).T
    places = np.stack([(1 - v) * height - 0.5, u * width - 0.5])
    channels = [map_coordinates(picture[..., k], places, order=1, mode="nearest") for k in range(3)]
    return np.stack(channels, axis=1)


def _muted(colours: np.ndarray, colourful: float) -> np.ndarray:
    grey = colours.mean(axis=1, keepdims=True)
    return grey + colourful * (colours - grey)


def _is_open_head(head: HeadData) -> bool:
    uv, faces = _open_layout()
    return np.array_equal(head.faces, faces) and head.uv.shape == uv.shape and np.allclose(head.uv, uv, atol=2e-3)


@functools.cache
def _open_layout() -> tuple[np.ndarray, np.ndarray]:  # [VT, 2], [F, 3]
    head = open_head()
    return head.uv, head.faces


@functools.cache
def _open_texture() -> np.ndarray:  # [S, S, 3] in [0, 1]
    with Image.open(texture_path()) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255
