"""Blender's projections as the pinhole cameras that the backend renders."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

CV_FROM_GL = np.diag([1.0, -1.0, -1.0, 1.0])  # Blender's cameras look along -z with y up, OpenCV's along z with y down
# A parallel projection is drawn by a pinhole this many spans away: off by half a pixel at most in a picture of 1000.
ORTHOGRAPHIC_DISTANCE = 250.0


@dataclass(frozen=True)
class View:
    """A pinhole camera in OpenCV's convention; pixel centres lie at half integers, the first row is on top."""

    viewmat: np.ndarray  # [4, 4] camera from world, metres
    K: np.ndarray  # [3, 3] pixels
    width: int
    height: int
    setback: float = 0.0  # metres that the pinhole stands behind the camera it stands for (parallel projections)

    @classmethod
    def from_projection(
        cls,
        projection: np.ndarray,  # [4, 4] OpenGL: clip space from camera space
        view_matrix: np.ndarray,  # [4, 4] OpenGL: camera space from world space, without scale
        width: int,
        height: int,
        *,
        focus: np.ndarray | None = None,  # [3] world: the place that a parallel projection is exact at
        span: float = 1.0,  # metres: how far in depth, about the focus, things reach
    ) -> View:
        """The view behind a projection matrix: a Blender camera's, or a viewport's with its zoom and offset."""
        projection = np.asarray(projection, float)
        viewmat = CV_FROM_GL @ np.asarray(view_matrix, float)
        half = np.array([width / 2, height / 2])
        focal = np.array([projection[0, 0], projection[1, 1]]) * half
        if projection[3, 2]:  # perspective: divided by depth
            centre = half * (1 - projection[0, 2], 1 + projection[1, 2])
            setback = 0.0
        else:
            centre = half * (1 + projection[0, 3], 1 - projection[1, 3])
            at = np.zeros(3) if focus is None else np.asarray(focus, float)
            distance = ORTHOGRAPHIC_DISTANCE * span
            setback = distance - float(viewmat[2, :3] @ at + viewmat[2, 3])
            viewmat[2, 3] += setback
            focal = focal * distance
        K = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
        return cls(viewmat, K, width, height, setback)

    def cropped(self, left: int, top: int, width: int, height: int) -> View:
        """The part of the picture that begins ``left`` and ``top`` pixels from its upper left corner."""
        K = self.K.copy()
        K[:2, 2] -= (left, top)
        return replace(self, K=K, width=width, height=height)

    def scaled(self, factor: float) -> View:
        """The same view in fewer or more pixels, at least one each way."""
        width, height = max(1, round(self.width * factor)), max(1, round(self.height * factor))
        K = self.K.copy()
        K[0] *= width / self.width
        K[1] *= height / self.height
        return replace(self, K=K, width=width, height=height)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [N, 3] -> [N, 2] px, [N] metres
        """Pixels of world points, and their depth along the axis of the camera that the view stands for."""
        camera = np.asarray(points, float) @ self.viewmat[:3, :3].T + self.viewmat[:3, 3]
        pixels = camera @ self.K.T
        return pixels[:, :2] / pixels[:, 2:], camera[:, 2] - self.setback


def border_pixels(
    border: tuple[float, float, float, float],  # left, bottom, right, top: fractions, from the lower left
    width: int,
    height: int,
) -> tuple[int, int, int, int]:  # left, top, width, height
    """The pixels of a render border, rounded as Blender does: down, in single precision."""
    left, bottom, right, top = (
        int(np.float32(fraction) * np.float32(size))
        for fraction, size in zip(border, (width, height, width, height), strict=True)
    )
    return left, height - top, right - left, top - bottom
