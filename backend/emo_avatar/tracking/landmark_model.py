"""The landmarks of a head as a small model of their own, quick to pose and to differentiate."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from emo_avatar.errors import UserError
from emo_avatar.head.data import JOINTS, N_SHAPE, HeadData, LandmarkEmbedding
from emo_avatar.head.surface import vertex_normals

N_FITTED_SHAPE = 150  # leading identity components; what lies beyond them landmarks cannot tell


def landmark_embedding(head: HeadData) -> LandmarkEmbedding:
    """The head's 478 landmarks; ``UserError`` for a head that has none."""
    if head.landmarks478 is None:
        raise UserError(f"The head {head.name!r} has no landmarks to track with; import it again.")
    return head.landmarks478


def landmark_points(head: HeadData, vertices: np.ndarray) -> np.ndarray:  # [V, 3] -> [478, 3]
    """Where the landmarks of a posed head are."""
    embedding = landmark_embedding(head)
    return np.einsum("lb,lbc->lc", embedding.barycentric, vertices[head.faces[embedding.faces]])


class LandmarkModel:
    """The landmarks of a head as a small model of their own: linear blend shapes, five joints, skinning per landmark.

    Skinning the barycentric mean instead of averaging skinned corners differs by less than 0.1 mm.
    """

    def __init__(self, head: HeadData, n_shape: int = N_FITTED_SHAPE) -> None:
        embedding = landmark_embedding(head)
        corners = head.faces[embedding.faces]  # [L, 3]
        bary = embedding.barycentric.astype(np.float64)
        used, local = np.unique(corners, return_inverse=True)
        local = local.reshape(corners.shape)

        def at_landmarks(values: np.ndarray) -> np.ndarray:  # [U, ...] -> [L, ...]
            return np.einsum("lb,lb...->l...", bary, values[local])

        shape_dirs = head.shapedirs[:, :, :n_shape]
        unit_dirs = head.shapedirs[used][:, :, N_SHAPE:] @ head.arkit_to_expr.T  # [U, 3, 52]
        self.template = at_landmarks(head.v_template[used])  # [L, 3]
        self.shape_dirs = at_landmarks(shape_dirs[used])  # [L, 3, K]
        self.unit_dirs = at_landmarks(unit_dirs)  # [L, 3, 52]
        self.pose_dirs = at_landmarks(head.posedirs[used])  # [L, 3, 36]
        self.weights = at_landmarks(head.weights[used])  # [L, 5]
        self.joints = head.J_regressor @ head.v_template  # [5, 3]
        self.joint_shape_dirs = np.einsum("jv,vck->jck", head.J_regressor, shape_dirs)  # [5, 3, K]
        self.unit_to_pose = head.arkit_to_pose.astype(np.float64)  # [52, 9] jaw, left eye, right eye
        normals = landmark_points(head, vertex_normals(head.v_template, head.faces))
        self.normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)  # [L, 3] outwards, of the template
        self.reliable = embedding.reliable  # [L]

    def posed(self, shape: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks [L, 3] of the head at rest in space, and the rotations [L, 3, 3] that posing applies to each."""
        shape = shape[: self.shape_dirs.shape[2]]
        return self._posed(self.template + self.shape_dirs @ shape + self.unit_dirs @ units, shape, units)

    def _posed(self, points: np.ndarray, shape: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        joints = self.joints + self.joint_shape_dirs @ shape
        rotations = np.tile(np.eye(3), (len(JOINTS), 1, 1))
        rotations[2:] = Rotation.from_rotvec((units @ self.unit_to_pose).reshape(3, 3)).as_matrix()
        points = points + self.pose_dirs @ (rotations[1:] - np.eye(3)).ravel()
        offsets = joints - np.einsum("jab,jb->ja", rotations, joints)  # [5, 3]
        blended = np.einsum("lj,jab->lab", self.weights, rotations)
        return np.einsum("lab,lb->la", blended, points) + self.weights @ offsets, blended

    def jacobian(self, shape: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``posed`` landmarks, and their derivatives [L, 3, K + 52] by shape and units."""
        points = self.template + self.shape_dirs @ shape + self.unit_dirs @ units
        posed, blended = self._posed(points, shape, units)
        by_shape = np.einsum("lab,lbk->lak", blended, self.shape_dirs)
        by_unit = np.einsum("lab,lbk->lak", blended, self.unit_dirs)
        step = 1e-4
        for unit in np.flatnonzero(np.abs(self.unit_to_pose).max(1) > 0):
            moved = units.copy()
            moved[unit] += step
            by_unit[:, :, unit] += (self._posed(points, shape, moved)[0] - posed) / step
        return posed, np.concatenate([by_shape, by_unit], axis=2)
