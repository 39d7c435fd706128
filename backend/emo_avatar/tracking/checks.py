"""Whether a face can be tracked, and what its owner should know: refusals and notes, a sentence each."""

from __future__ import annotations

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.tracking.crop import CROP_SIZE, PortraitCrop
from emo_avatar.tracking.fit import interocular_distance
from emo_avatar.tracking.landmarks import FaceLandmarks
from emo_avatar.tracking.matte import SOLID
from emo_avatar.tracking.topology import FACE_OVAL, index_mask

# Beyond these angles the detector invents the far side: on renders of heads the error grows from 1 % at 50 degrees of
# yaw to 3 % at 70; pitch is harmless as far as it was tried.
MAX_YAW, MAX_PITCH, MUCH_YAW = 55.0, 45.0, 30.0  # degrees
MAX_ERROR = 0.03  # a face that the head cannot follow this closely is covered, distorted, or none
MAX_DOUBT = 0.015  # of the inter-ocular distance; clear faces have 0.004 to 0.011, half-covered ones 0.025
EDGE_ROWS, CUT_WIDTH = 6, 0.25  # px, over which the matte fades towards the picture's edge; of the face's size


def found(face: FaceLandmarks | None) -> FaceLandmarks:
    """The face, unless a closer look lost it."""
    if face is None:
        raise UserError(
            "What looked like a face cannot be followed closely: it may be cut off, blurred, or no face at all; "
            "choose a sharp photo of one whole face from the front."
        )
    return face


def check_error(landmark_error: float) -> None:
    """Refuse a face that the fitted head does not follow."""
    if landmark_error > MAX_ERROR:
        raise UserError("The face is covered or too unusual to be followed; choose a photo that shows all of it.")


def border_notes(crop: PortraitCrop, face: FaceLandmarks) -> list[str]:
    """Refuse a face whose features lie beyond the photo's edge; mention one of which only the outline does."""
    column, row = np.clip(face.points[:, :2].T.astype(int), 0, CROP_SIZE - 1)
    outside = ~crop.inside[row, column]
    if outside[~index_mask(FACE_OVAL)].any():
        raise UserError("The face is cut off by the edge of the picture; choose a photo that shows all of it.")
    return ["The edge of the picture touches the face; what lies beyond is made up."] if outside.any() else []


def hair_notes(crop: PortraitCrop, matte: np.ndarray) -> list[str]:
    """Mention hair (or a hat) that goes on above the picture."""
    first_row = int(np.argmax(crop.inside.any(1)))
    at_edge = (matte[first_row : first_row + EDGE_ROWS] > SOLID).sum(1).max()
    if first_row == 0 or at_edge < CUT_WIDTH * crop.face_side:
        return []
    return ["The top of the hair is cut off by the edge of the picture, and so it is on the avatar."]


def pose_notes(R: np.ndarray) -> list[str]:  # [3, 3] head to camera axes
    """Refuse poses that the detector cannot follow; mention those that leave much to be made up."""
    towards = R[:, 2]  # where the face looks, in camera axes
    yaw = np.degrees(np.arctan2(towards[0], towards[2]))
    pitch = np.degrees(np.arcsin(np.clip(towards[1], -1, 1)))
    if abs(yaw) > MAX_YAW:
        raise UserError(
            f"The head is turned {abs(yaw):.0f} degrees to the side, which is too near to a profile; "
            f"choose a photo from the front (up to {MAX_YAW:.0f} degrees)."
        )
    if abs(pitch) > MAX_PITCH:
        raise UserError(
            f"The head is tilted {abs(pitch):.0f} degrees {'up' if pitch > 0 else 'down'}; "
            f"choose a photo from the front (up to {MAX_PITCH:.0f} degrees)."
        )
    if abs(yaw) > MUCH_YAW:
        return [f"The head is turned {abs(yaw):.0f} degrees to the side; its far side is completed by symmetry."]
    return []


def doubt_notes(face: FaceLandmarks) -> list[str]:
    """Mention a face that the detector reads differently in the mirror."""
    if face.doubt < MAX_DOUBT * interocular_distance(face.points):
        return []
    return ["Part of the face seems to be covered or blurred; what is hidden there is guessed."]
