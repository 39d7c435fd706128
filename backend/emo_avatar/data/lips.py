"""Whether lips meet, as a linear function of expression and jaw."""

from __future__ import annotations

import numpy as np

from emo_avatar.head.arkit import arkit_weights, flame_from_arkit, pose_jacobian
from emo_avatar.head.data import N_EXPRESSION, HeadData

INNER_LIPS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))  # MediaPipe landmarks, upper and lower


def lip_gap_rows(head: HeadData) -> np.ndarray:  # [5, 103]
    """How many millimetres each parameter moves the inner lips apart, vertically, at five places.

    Exact for the expression, first-order in the jaw's angle.
    """
    landmarks = head.landmarks478
    if landmarks is None:
        raise ValueError(f"The head {head.name} has no landmarks to find its lips by.")
    expression = head.shapedirs[:, 1, -N_EXPRESSION:]  # [V, 100] upwards
    jaw = pose_jacobian(head).reshape(head.n_vertices, 3, -1)[:, 1, :3]  # [V, 3]
    motion = np.concatenate([expression, jaw], axis=1)  # [V, 103] metres
    pairs = np.array(INNER_LIPS)  # [5, 2]
    points = (motion[head.faces[landmarks.faces[pairs]]] * landmarks.barycentric[pairs][..., None]).sum(2)
    return ((points[:, 0] - points[:, 1]) * 1e3).astype(np.float32)


def as_shut_as(
    head: HeadData,
    parameters: np.ndarray,  # [..., 103]
    driving: np.ndarray,  # [..., 103]
    closure: np.ndarray,  # [...] 0 to 1
) -> np.ndarray:  # [..., 103]
    """``parameters`` with the lips brought, by ``closure``, to the distance that they have in ``driving``.

    The jaw and the corners of the mouth stay; ARKit's mouthClose, forwards or backwards, does the rest.
    """
    gap = lip_gap_rows(head).mean(0)  # [103] mm
    expression, jaw, _ = flame_from_arkit(head, arkit_weights(mouthClose=1.0))
    close = np.concatenate([expression, jaw])  # [103]
    excess = (parameters - driving) @ gap  # [...] mm
    return parameters - (closure * excess / (gap @ close))[..., None] * close
