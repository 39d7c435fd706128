"""The eyeballs: the rings of the iris, as far as the lids leave them visible, turned round the pupil.

Texels take the rings alone; catchlights and the shade of the lids stay with the photo's own pixels.
"""

from __future__ import annotations

import numpy as np

from emo_avatar.backbones.uv.complete import Observation
from emo_avatar.backbones.uv.prepared import PreparedHead

RING = 4.0  # degrees per step of the radial profile
SCLERA_FROM = 32.0  # degrees from the pupil's centre beyond which an eyeball is white
LEAST_SIGHTINGS = 4  # texels of a ring that must be seen for it to have a colour of its own
WITHOUT_CATCHLIGHTS = 40  # percentile of a ring's colours
IN_SHADE = 65  # percentile of the white's brightness under which lids and lashes shade it
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


def eye_colours(prepared: PreparedHead, seen: Observation, colour: np.ndarray) -> np.ndarray:  # [N, 3] -> [N, 3]
    """Fill in the eyeball texels with the colour that their ring of the eye shows in the photograph."""
    texels, head = prepared.texels, prepared.head
    colour = colour.copy()
    for name in ("eye_left", "eye_right"):
        own = np.flatnonzero(prepared.on_face.get(name, np.zeros(len(head.faces), bool))[texels.face])
        if not len(own):
            continue
        centre = head.v_template[head.part(name)].mean(0)
        direction = texels.rest[own] - centre
        angle = np.degrees(np.arccos(np.clip(direction[:, 2] / np.linalg.norm(direction, axis=1), -1, 1)))
        visible = seen.confidence[own] > 0.05
        rings = _profile(angle[visible], seen.rgb[own[visible]])
        centres = np.arange(len(rings)) * RING + RING / 2
        for channel in range(3):
            colour[own, channel] = np.interp(angle, centres, rings[:, channel])
    return colour


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
        profile[~iris] = white[brightness >= np.percentile(brightness, IN_SHADE)].mean(0)
    return profile
