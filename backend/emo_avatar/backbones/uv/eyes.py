"""The eyeballs: the rings of the iris, as far as the lids leave them visible, turned round the pupil.

Texels take the rings alone; catchlights and the shade of the lids stay with the photo's own pixels.
"""

from __future__ import annotations

import numpy as np

from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.uv.complete import Observation
from emo_avatar.tracking.topology import LEFT_IRIS, RIGHT_IRIS

EYES = ("eye_left", "eye_right")
WIDEST_GAZE = 30.0  # degrees that a pupil may be off the axis of the head
RING = 4.0  # degrees per step of the radial profile
SCLERA_FROM = 32.0  # degrees from the pupil's centre beyond which an eyeball is white
LEAST_SIGHTINGS = 4  # texels of a ring that must be seen for it to have a colour of its own
WITHOUT_CATCHLIGHTS = 40  # percentile of a ring's colours
IN_SHADE, CATCHLIGHT = 85, 97  # percentiles of the white's brightness under and over which it is shaded, or reflects
# The upper lid shades the white under it, and more of that the further eyes are opened: by how much at most, and over
# which degrees above the pupil.
LID_SHADE, SHADED_BETWEEN = 0.38, (12.0, 50.0)
REDNESS = 0.45  # share of the white's tint that is kept: what the corners and the rims of the lids lend it is too much
# For eyes that are hidden or shut: pupil, iris, limbus, sclera.
DEFAULT_ANGLES = (0.0, 9.0, 13.0, 25.0, 29.0, 34.0)
DEFAULT_PROFILE = np.array(
    [
        (0.03, 0.03, 0.03),
        (0.05, 0.04, 0.04),
        (0.24, 0.16, 0.10),
        (0.20, 0.13, 0.09),
        (0.30, 0.25, 0.22),
        (0.68, 0.64, 0.62),
    ]
)


def eye_axes(prepared: PreparedHead, seen: Observation, landmarks: np.ndarray) -> np.ndarray:  # [478, 2] px -> [2, 3]
    """Unit vectors from the centre of the left and of the right eye, at rest, to where the photo shows its pupil.

    The fit turns eyes by the detector's coarse scores of gaze; rings must lie round the iris that is seen.
    """
    axes = np.tile([0.0, 0.0, 1.0], (2, 1))
    for axis, name, iris in zip(axes, EYES, (LEFT_IRIS, RIGHT_IRIS), strict=True):
        own = _texels_of(prepared, name)
        direction = _directions(prepared, own)
        front = direction[:, 2] > np.cos(np.radians(WIDEST_GAZE))
        if front.sum() < LEAST_SIGHTINGS:
            continue
        away = np.linalg.norm(seen.pixel[own] - landmarks[iris[0]], axis=1)
        closest = np.argsort(np.where(front, away, np.inf))[:LEAST_SIGHTINGS]
        mean = direction[closest].mean(0)
        axis[:] = mean / np.linalg.norm(mean)
    return axes


def eye_colours(
    prepared: PreparedHead, seen: Observation, colour: np.ndarray, axes: np.ndarray
) -> np.ndarray:  # [N, 3], [2, 3] -> [N, 3]
    """Fill in the eyeball texels with the colour that their ring of the eye shows in the photograph."""
    colour = colour.copy()
    for name in EYES:
        own = _texels_of(prepared, name)
        if not len(own):
            continue
        angle = off_axis(prepared, axes, own)
        visible = seen.confidence[own] > 0.05
        rings = _profile(angle[visible], seen.rgb[own[visible]])
        centres = np.arange(len(rings)) * RING + RING / 2
        for channel in range(3):
            colour[own, channel] = np.interp(angle, centres, rings[:, channel])
        colour[own] *= _under_lid(prepared, own, axes[EYES.index(name)])[:, None]
    return colour


def _under_lid(prepared: PreparedHead, own: np.ndarray, axis: np.ndarray) -> np.ndarray:  # [M], [3] -> [M]
    """What the upper lid's shade leaves of the light on texels of an eye with its pupil at ``axis``."""
    above = np.degrees(np.arcsin(np.clip(_directions(prepared, own)[:, 1], -1, 1)) - np.arcsin(axis[1]))
    low, high = SHADED_BETWEEN
    return 1 - LID_SHADE * np.clip((above - low) / (high - low), 0, 1)


def off_axis(prepared: PreparedHead, axes: np.ndarray, texels: np.ndarray) -> np.ndarray:  # [2, 3], [M] -> [M] degrees
    """How far from the axis of its eye each texel (an index) of an eyeball lies."""
    left = prepared.on_face.get(EYES[0], np.zeros(len(prepared.head.faces), bool))[prepared.texels.face[texels]]
    cosine = (_directions(prepared, texels) * np.where(left[:, None], axes[0], axes[1])).sum(1)
    angle: np.ndarray = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return angle


def _texels_of(prepared: PreparedHead, eye: str) -> np.ndarray:  # [M]
    return np.flatnonzero(prepared.on_face.get(eye, np.zeros(len(prepared.head.faces), bool))[prepared.texels.face])


def _directions(prepared: PreparedHead, texels: np.ndarray) -> np.ndarray:  # [M] -> [M, 3] unit
    """From the centre of its eyeball to each texel, at rest."""
    head, rest = prepared.head, prepared.texels.rest[texels]
    centres = np.stack([head.v_template[head.part(name)].mean(0) for name in EYES if name in head.part_names])
    direction = rest - centres[np.linalg.norm(rest[:, None] - centres, axis=2).argmin(1)]
    unit: np.ndarray = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    return unit


def _profile(angle: np.ndarray, rgb: np.ndarray) -> np.ndarray:  # [M], [M, 3] -> [R, 3]
    """Colour by angle from the pupil. The iris is taken ring by ring, the white as a whole from its lit part."""
    count = int(180 / RING)
    centres = np.arange(count) * RING + RING / 2
    profile = np.stack([np.interp(centres, DEFAULT_ANGLES, DEFAULT_PROFILE[:, k]) for k in range(3)], axis=1)
    ring = np.minimum((angle / RING).astype(int), count - 1)
    iris = centres < SCLERA_FROM
    seen = np.array([(ring == r).sum() >= LEAST_SIGHTINGS for r in range(count)])
    for r in np.flatnonzero(iris & seen):
        profile[r] = np.percentile(rgb[ring == r], WITHOUT_CATCHLIGHTS, axis=0)
    if (iris & seen).any():
        for r in np.flatnonzero(iris & ~seen):
            profile[r] = profile[np.flatnonzero(iris & seen)[np.abs(np.flatnonzero(iris & seen) - r).argmin()]]
    white = rgb[angle >= SCLERA_FROM]
    if len(white) >= LEAST_SIGHTINGS:
        brightness = white.mean(1)
        low, high = np.percentile(brightness, (IN_SHADE, CATCHLIGHT), method="nearest")  # of them: one is between
        lit = white[(brightness >= low) & (brightness <= high)].mean(0)
        profile[~iris] = REDNESS * lit + (1 - REDNESS) * lit.mean()
    return profile
