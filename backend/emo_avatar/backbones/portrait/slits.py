"""Eyes and mouth opened on the mesh exactly as far as in the photograph.

The landmark fit leaves a pixel or two between the rim of a lid and its landmarks. At that rim the white of the eye
meets lashes, and lips meet teeth, so every pixel on the wrong side would travel with the wrong surface.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.stance import Stance
from emo_avatar.backbones.portrait.view import MeshView, smooth_over_mesh
from emo_avatar.render.camera import Camera
from emo_avatar.tracking.portrait import TrackedPortrait
from emo_avatar.tracking.topology import INNER_LIPS, LEFT_EYE, RIGHT_EYE

ROUNDS = 2  # the second corrects what smoothing left of the first
LIP_REACH, LID_REACH = 0.006, 0.003  # metres that a rim may be moved, and over which the move fades away from it
EYE_REGION = 0.030  # metres around the middle of an eye in which lids belong to it
LEAST_COLUMNS = 3  # pixels of width under which a slit counts as shut
SMOOTHING = 1.5  # pixels along a rim


def stance_in_photo(portrait: TrackedPortrait, prepared: PreparedHead) -> Stance:
    """How the person stands, with eyes and mouth as far open as in the photograph."""
    stance = Stance.of(portrait, prepared.head)
    for _ in range(ROUNDS):
        stance = stance.moved(slit_shift(prepared, stance.vertices, portrait.camera, portrait.landmarks))
    return stance


def slit_shift(
    prepared: PreparedHead, vertices: np.ndarray, camera: Camera, landmarks: np.ndarray
) -> np.ndarray:  # [V, 3] metres, world
    """What to add to the posed ``vertices [V, 3]`` for the rims of eyes and mouth to meet ``landmarks [478, 2]``.

    Each pixel column of an opening is compared with the landmarks' outline, and the rims above and below it are moved
    up and down by the difference.
    """
    head, on_face = prepared.head, prepared.on_face
    view = MeshView.of(vertices, head.faces, camera, prepared.opaque)
    pixel, depth = camera.project(vertices)
    metres = depth / camera.K[0, 0]
    mouth = head.regions["lips"] | head.regions["mouth_bag"]
    slits: list[tuple[tuple[int, ...], np.ndarray, np.ndarray, float]] = [
        (INNER_LIPS, prepared.interior, mouth, LIP_REACH)
    ]
    for lids, eye in ((LEFT_EYE, "eye_left"), (RIGHT_EYE, "eye_right")):
        near = np.linalg.norm(vertices - vertices[head.part(eye)].mean(0), axis=1) < EYE_REGION
        slits.append((lids, on_face[eye], near & (head.regions["lids"] | head.regions["eye_sockets"]), LID_REACH))

    down = np.zeros(len(vertices))  # metres
    for outline, opening, region, reach in slits:
        seen = view.covered & opening[view.fragments.face]
        columns = np.flatnonzero(seen.any(0))
        if len(columns) < LEAST_COLUMNS:
            continue
        x = columns + 0.5
        top = seen[:, columns].argmax(0).astype(float)
        bottom = seen.shape[0] - seen[::-1, columns].argmax(0).astype(float)
        above = pixel[:, 1] < np.interp(pixel[:, 0], x, (top + bottom) / 2)
        upper, lower = _halves(landmarks[list(outline)])
        for rim, wanted, side in ((top, upper, above), (bottom, lower, ~above)):
            error = gaussian_filter1d(np.interp(x, wanted[:, 0], wanted[:, 1]) - rim, SMOOTHING)
            away = (pixel[:, 1] - np.interp(pixel[:, 0], x, rim)) * metres
            moved = np.interp(pixel[:, 0], x, error, left=0, right=0) * metres
            down += (region & side) * np.exp(-0.5 * (away / reach) ** 2) * np.clip(moved, -reach, reach)
    shift: np.ndarray = smooth_over_mesh(down, head.faces, 1)[:, None] * camera.viewmat[1, :3]
    return shift


def _halves(outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [P, 2] px
    """The upper and the lower half of an outline that starts at one corner with the upper, each from left to right."""
    corner = len(outline) // 2
    upper, lower = outline[: corner + 1], np.concatenate([outline[corner:], outline[:1]])
    return upper[upper[:, 0].argsort()], lower[lower[:, 0].argsort()]
