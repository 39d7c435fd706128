"""Face landmarks: MediaPipe's Face Landmarker behind one function."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions, vision

from emo_avatar import assets
from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.tracking.topology import ARKIT_MIRROR, MIRROR

MAX_FACES = 8
_one_at_a_time = threading.Lock()  # the landmarker is one native graph


@dataclass(frozen=True)
class FaceLandmarks:
    """One detected face in one picture."""

    points: (
        np.ndarray
    )  # [478, 3] float32: x right, y down in pixels (centres at half integers), z depth in the same scale
    blendshapes: np.ndarray  # [52] float32 in ARKIT_NAMES order, 0 to 1; tongueOut is not predicted and stays 0
    doubt: float = (
        0.0  # px, mean distance of the points found in the picture and in its mirror image, where both were tried
    )

    @property
    def box(self) -> np.ndarray:  # [4] x0, y0, x1, y1 in pixels
        return np.concatenate([self.points[:, :2].min(0), self.points[:, :2].max(0)])


class _FaceLandmarker(vision.FaceLandmarker):
    """Lives until the process ends, when the inherited finaliser would find no thread pool and print a traceback."""

    def __del__(self) -> None:
        pass


@contextlib.contextmanager
def _native_stderr_muted() -> Iterator[None]:
    """MediaPipe's C++ side writes start-up chatter straight to file descriptor 2; failures come as exceptions."""
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all, as under pythonw
        yield
        return
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@functools.cache
def _landmarker() -> vision.FaceLandmarker:
    options = vision.FaceLandmarkerOptions(
        # As bytes: the native reader does not open every path that Python does.
        base_options=BaseOptions(model_asset_buffer=assets.fetch("face_landmarker.task").read_bytes()),
        num_faces=MAX_FACES,
        output_face_blendshapes=True,
    )
    with _native_stderr_muted():
        landmarker = _FaceLandmarker.create_from_options(options)
        blank = np.zeros((64, 64, 3), np.uint8)
        landmarker.detect(Image(image_format=ImageFormat.SRGB, data=blank))  # the first call chatters as well
    return landmarker


def detect_faces(rgb: np.ndarray) -> list[FaceLandmarks]:  # rgb [H, W, 3] uint8
    """All faces of a picture, largest first. Faces below about a tenth of the picture's longer side may be missed."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"expected [H, W, 3] uint8, got {rgb.shape} {rgb.dtype}")
    height, width = rgb.shape[:2]
    with _one_at_a_time:
        result = _landmarker().detect(Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(rgb)))
    faces = [
        FaceLandmarks(
            np.array([(p.x * width, p.y * height, p.z * width) for p in points], np.float32),
            _in_arkit_order(scores),
        )
        for points, scores in zip(result.face_landmarks, result.face_blendshapes, strict=True)
    ]
    return sorted(faces, key=lambda face: -float(np.ptp(face.points[:, :2], axis=0).max()))


def find_face(rgb: np.ndarray) -> FaceLandmarks | None:  # [H, W, 3] uint8
    """The largest face of a picture. Turned heads that the detector misses it often finds in the mirror."""
    faces = detect_faces(rgb) or [_mirrored(face, rgb.shape[1]) for face in detect_faces(rgb[:, ::-1])]
    return faces[0] if faces else None


def _in_arkit_order(categories: list) -> np.ndarray:  # [52] float32
    scores = {c.category_name: c.score for c in categories}
    return np.array([scores.get(name, 0.0) for name in ARKIT_NAMES], np.float32)


def refine_face(rgb: np.ndarray, near: np.ndarray) -> FaceLandmarks | None:  # [H, W, 3] uint8, [2] px
    """The face closest to a place, averaged over the picture and its mirror image, which halves the detector's bias.

    None when the detector sees a face in neither.
    """

    def distance(face: FaceLandmarks) -> float:
        return float(np.linalg.norm(face.points[:, :2].mean(0) - near))

    straight = detect_faces(rgb)
    mirrored = [_mirrored(face, rgb.shape[1]) for face in detect_faces(rgb[:, ::-1])]
    found = [min(faces, key=distance) for faces in (straight, mirrored) if faces]
    if not found:
        return None
    if len(found) == 1:
        return replace(found[0], doubt=np.inf)
    a, b = found
    apart = (a.points - b.points)[:, :2]
    doubt = float(np.linalg.norm(apart - apart.mean(0), axis=1).mean())
    return FaceLandmarks((a.points + b.points) / 2, (a.blendshapes + b.blendshapes) / 2, doubt)


def _mirrored(face: FaceLandmarks, width: int) -> FaceLandmarks:
    points = face.points[MIRROR] * np.array([-1, 1, 1], np.float32) + np.array([width, 0, 0], np.float32)
    return FaceLandmarks(points, face.blendshapes[ARKIT_MIRROR])
