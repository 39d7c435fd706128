"""Which of MediaPipe's 478 landmarks lie where, by index; left and right are the subject's.

Indices as in the connection tables of MediaPipe's face mesh (Apache-2.0).
"""

from __future__ import annotations

import numpy as np

from emo_avatar.head.data import ARKIT_NAMES

N_LANDMARKS = 478

# fmt: off
OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # clockwise as seen from the front of the face, from the top of the forehead
# fmt: on
LIPS = OUTER_LIPS + INNER_LIPS
RIGHT_IRIS, LEFT_IRIS = tuple(range(468, 473)), tuple(range(473, 478))  # centre first
IRISES = RIGHT_IRIS + LEFT_IRIS
MIDLINE = (*range(3), *range(4, 7), *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)
FOREHEAD, CHIN = 10, 152  # upper and lower end of the face oval
RIGHT_OUTER_EYE_CORNER, LEFT_OUTER_EYE_CORNER = 33, 263
MOUTH_CORNERS = (61, 291)  # right, left

# iBUG 68 as MediaPipe landmarks, iBUG's order (right jaw, chin, left jaw, brows, nose, eyes, lips). A pair is averaged.
# fmt: off
IBUG68: tuple[tuple[int, ...], ...] = tuple((i,) if isinstance(i, int) else i for i in (
    127, 234, 93, (58, 132), (58, 172), 136, 150, 176, 152, 400, 379, 365, (397, 288), (361, 288), 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    (168, 6), (197, 195), 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91,
    78, 82, 13, 312, 308, 317, 14, 87,
))
# fmt: on


def index_mask(*groups: tuple[int, ...]) -> np.ndarray:  # [478] bool
    """True for the landmarks of the groups."""
    mask = np.zeros(N_LANDMARKS, bool)
    for group in groups:
        mask[list(group)] = True
    return mask


def _mirror() -> np.ndarray:
    """MediaPipe numbers the right half first, then the left half in the same order."""
    right = [i for i in range(248) if i not in MIDLINE]
    mirror = np.arange(N_LANDMARKS)
    mirror[right] = np.arange(248, 468)
    mirror[248:468] = right
    mirror[list(RIGHT_IRIS)] = [473, 476, 475, 474, 477]  # the rim is numbered clockwise in both eyes
    mirror[list(LEFT_IRIS)] = [468, 471, 470, 469, 472]
    return mirror


MIRROR = _mirror()  # [478] the landmark that each one becomes in a mirror


def _other_side(name: str) -> str:
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    return name.removesuffix("Right") + "Left" if name.endswith("Right") else name


ARKIT_MIRROR = np.array([ARKIT_NAMES.index(_other_side(name)) for name in ARKIT_NAMES])  # [52]
