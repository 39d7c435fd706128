"""Pinhole cameras, OpenCV convention: x right, y down, z forward."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CV_FROM_FLAME = np.diag([1.0, -1.0, -1.0])  # FLAME is y up, z towards the viewer


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; pixel centres lie at half integers, as in gsplat."""

    viewmat: np.ndarray  # [4, 4] float32 world-to-camera
    K: np.ndarray  # [3, 3] float32, pixels
    width: int
    height: int

    @classmethod
    def orbit(
        cls,
        target: np.ndarray,  # [3] metres
        distance: float,
        *,
        yaw: float = 0.0,
        pitch: float = 0.0,
        fov: float = 20.0,
        size: int = 512,
    ) -> Camera:
        """A camera that looks at ``target`` from the front of the head, square image.

        Positive ``yaw`` (degrees) moves the camera to the subject's left (+x); positive ``pitch`` moves it up.
        ``fov`` is the full angle in degrees.
        """
        y, p = math.radians(yaw), math.radians(pitch)
        direction = np.array([math.sin(y) * math.cos(p), math.sin(p), math.cos(y) * math.cos(p)])
        position = np.asarray(target, float) + distance * direction
        forward = -direction
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        viewmat = np.eye(4)
        viewmat[:3, :3] = np.stack([right, down, forward])
        viewmat[:3, 3] = -viewmat[:3, :3] @ position
        focal = 0.5 * size / math.tan(math.radians(fov) / 2)
        intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
        return cls(viewmat.astype(np.float32), intrinsics.astype(np.float32), size, size)

    @property
    def position(self) -> np.ndarray:  # [3] metres, world
        return -self.viewmat[:3, :3].T @ self.viewmat[:3, 3]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [N, 3] -> [N, 2] px, [N] depth
        """Pixel coordinates and camera-space depth (metres) of world points."""
        p = points @ self.viewmat[:3, :3].T + self.viewmat[:3, 3]
        uv = p @ self.K.T
        return uv[:, :2] / uv[:, 2:], p[:, 2]

    def resized(self, size: int) -> Camera:
        """The same view with a square image of ``size`` pixels (for a square camera)."""
        scale = size / self.width
        intrinsics = self.K.copy()
        intrinsics[:2] *= scale
        return Camera(self.viewmat, intrinsics, size, round(self.height * scale))
