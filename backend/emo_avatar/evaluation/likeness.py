"""How alike a generated frame is to the true one, in the measures of the paper's tables."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial.transform import Rotation

from emo_avatar.data.studio import Shot
from emo_avatar.evaluation.identity import embed_face
from emo_avatar.evaluation.image import psnr, ssim
from emo_avatar.evaluation.lpips import lpips
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import open_head
from emo_avatar.tracking.fit import fit_head
from emo_avatar.tracking.landmark_model import LandmarkModel
from emo_avatar.tracking.landmarks import detect_faces

GREY = (0.5, 0.5, 0.5)  # the background of both sides of every comparison


@dataclass(frozen=True)
class Likeness:
    """The measures of one frame, or the means of many. NaN where no face was found in one of the pictures."""

    psnr: float  # dB, of the whole picture on grey
    ssim: float
    lpips: float
    csim: float  # cosine of the SFace embeddings
    aed: float  # mean absolute difference of expression parameters, as tracked in both pictures
    apd: float  # mean absolute difference of head rotation and jaw, radians, as tracked in both

    @classmethod
    def mean(cls, frames: Iterable[Likeness]) -> Likeness:
        """Of all frames; each measure over those that have it, NaN where none has."""
        frames = list(frames)
        measured = ([x for frame in frames if not math.isnan(x := getattr(frame, f.name))] for f in fields(cls))
        return cls(*(float(np.mean(values)) if values else math.nan for values in measured))


@dataclass(frozen=True, eq=False)
class Sighting:
    """A picture and what is seen in it."""

    rgb: np.ndarray  # [H, W, 3] uint8 on grey
    embedding: np.ndarray | None  # [128] of the face
    expression: np.ndarray | None  # [100] as tracked
    pose: np.ndarray | None  # [6] rotation of the head and jaw, axis-angle


def truth(shot: Shot) -> Sighting:
    """What a photograph shows, on grey."""
    alpha = shot.alpha[..., None]
    # The photograph's own background is known: take it out before grey is put in.
    person = shot.rgb - (1 - alpha) * shot.setting.background
    return sighting(np.uint8(np.clip(person + (1 - alpha) * np.array(GREY), 0, 1) * 255 + 0.5))


def sighting(rgb: np.ndarray) -> Sighting:  # [H, W, 3] uint8
    """Look for a face and track it."""
    faces = detect_faces(rgb)
    if not faces:
        return Sighting(rgb, None, None, None)
    fit = fit_head(_model(), faces[0], rgb.shape[0])
    expression, jaw, _ = flame_from_arkit(open_head(), fit.units)
    pose = np.concatenate([Rotation.from_matrix(fit.R).as_rotvec(), jaw])
    return Sighting(rgb, embed_face(rgb, faces[0].points), expression, pose)


def likeness(shown: Sighting, true: Sighting) -> Likeness:
    """Compare two pictures of one size."""
    return Likeness(
        psnr=psnr(true.rgb, shown.rgb),
        ssim=ssim(true.rgb, shown.rgb),
        lpips=lpips(true.rgb, shown.rgb),
        csim=cosine(shown, true),
        aed=_difference(shown.expression, true.expression),
        apd=_difference(shown.pose, true.pose),
    )


def cosine(one: Sighting, other: Sighting) -> float:
    """How much the two faces are the same person's; NaN where one is not seen."""
    if one.embedding is None or other.embedding is None:
        return float("nan")
    return float(one.embedding @ other.embedding)


def _difference(a: np.ndarray | None, b: np.ndarray | None) -> float:
    return float("nan") if a is None or b is None else float(np.abs(a - b).mean())


@functools.cache
def _model() -> LandmarkModel:
    return LandmarkModel(open_head())
