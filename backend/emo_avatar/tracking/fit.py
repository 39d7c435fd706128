"""A head fitted to landmarks: shape, expression, jaw, eyes, pose and focal length by regularised Gauss-Newton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from emo_avatar.head.data import ARKIT_NAMES, N_SHAPE, LandmarkEmbedding
from emo_avatar.tracking.landmark_model import LandmarkModel
from emo_avatar.tracking.landmarks import FaceLandmarks
from emo_avatar.tracking.topology import (
    FACE_OVAL,
    LEFT_OUTER_EYE_CORNER,
    MIRROR,
    RIGHT_OUTER_EYE_CORNER,
    index_mask,
)

ITERATIONS, POSE_ITERATIONS = 14, 4  # the first ones move pose alone

# Standard deviations. Landmark noise is a fraction of the inter-ocular distance; weights of ARKit units are 0 to 1.
SIGMA_LANDMARK, SIGMA_OVAL = 0.012, 0.02
ROBUST = 3.0  # residuals beyond this many sigma count less and less (Cauchy)
SIGMA_ASYMMETRY = 0.0012  # metres, of the asymmetric part of the identity at the landmarks
ASYMMETRY_MODES = 10  # a face's asymmetry has about this many independent components
SIGMA_UNIT, SIGMA_GAZE = 0.12, 0.35
SCORE_GAIN = 0.8  # the detector's scores overstate weak expressions
UNIT_RANGE = (-0.05, 1.2)
FOCAL_PRIOR, SIGMA_LOG_FOCAL = 2.7, 0.15  # in crop widths; portraits are taken from one to one and a half metres
FOCAL_RANGE = (1.9, 4.2)  # cameras at 0.7 to 1.6 m; faces seen from the side tempt the fit further
SIGMA_SHAPE = 1.0  # identity components have unit variance


@dataclass(frozen=True)
class Sightings:
    """What the detector saw, how it is to be compared, and how well it is trusted."""

    points: np.ndarray  # [L, 2] px
    directions: np.ndarray  # [L, 2, 2] identity, or projection across the outline for landmarks that slide along it
    sigma: np.ndarray  # [L] px, inf where a landmark says nothing

    @classmethod
    def of(cls, model: LandmarkModel, face: FaceLandmarks) -> Sightings:
        """Landmarks count as far as they are reliable; those of the face oval slide along it and count across it."""
        points = face.points[:, :2].astype(np.float64)
        eyes = interocular_distance(points)
        sigma = np.where(model.reliable, SIGMA_LANDMARK * eyes, np.inf)

        oval = np.array(FACE_OVAL)
        along = points[np.roll(oval, -1)] - points[np.roll(oval, 1)]
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        directions = np.tile(np.eye(2), (len(points), 1, 1))
        directions[oval] -= along[:, :, None] * along[:, None, :]
        sigma[oval] = SIGMA_OVAL * eyes
        return cls(points, directions, sigma)


@dataclass(frozen=True)
class HeadFit:
    """A head as the camera saw it. The camera looks along -z from the origin, in FLAME's axes."""

    shape: np.ndarray  # [300]
    units: np.ndarray  # [52] ARKit weights
    R: np.ndarray  # [3, 3] head to camera axes
    t: np.ndarray  # [3] metres; x_camera = R x_head + t
    focal: float  # pixels
    sightings: Sightings


def interocular_distance(points: np.ndarray) -> float:  # [478, 2+] px
    """Distance between the outer eye corners (landmarks 33 and 263) in the picture."""
    return float(np.linalg.norm(points[LEFT_OUTER_EYE_CORNER, :2] - points[RIGHT_OUTER_EYE_CORNER, :2]))


def inner_face(embedding: LandmarkEmbedding) -> np.ndarray:  # [478] bool
    """The landmarks by which a fit is judged: all but the face oval and those that are unreliable on this head."""
    return embedding.reliable & ~index_mask(FACE_OVAL)


def landmark_error(
    projected: np.ndarray,  # [478, 2] px, of the fitted head
    detected: np.ndarray,  # [478, 2+] px
    embedding: LandmarkEmbedding,
) -> float:
    """Median distance of inner-face landmarks as a fraction of the distance between the outer eye corners."""
    distance = np.linalg.norm(projected - detected[:, :2], axis=1)
    return float(np.median(distance[inner_face(embedding)])) / interocular_distance(detected)


def project(points: np.ndarray, fit: HeadFit, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Head-space points [N, 3] as the fit's camera sees them: pixels [N, 2] and depth [N] in metres."""
    camera = points @ fit.R.T + fit.t
    depth = -camera[:, 2]
    return size / 2 + fit.focal * camera[:, :2] * (1, -1) / depth[:, None], depth


def fit_head(model: LandmarkModel, face: FaceLandmarks, size: int) -> HeadFit:
    """Fit identity, expression, pose and focal length to one face in a square picture of ``size`` px.

    Residuals are those of ``Sightings``. Priors: identity components of unit variance and little asymmetry; ARKit units
    around the detector's scores; focal length around a portrait's. The detector's own depth only starts the
    pose: it puts the tip of a rendered head's nose 7 mm too far out, and identities fitted with it are further from
    the truth than without.
    """
    n_shape = model.shape_dirs.shape[2]
    units_prior = SCORE_GAIN * face.blendshapes.astype(np.float64)
    prior_mean = np.concatenate([np.zeros(n_shape), units_prior])
    precision = _prior_precision(model)

    shape, units = np.zeros(n_shape), units_prior.copy()
    log_focal_prior = np.log(FOCAL_PRIOR * size)
    log_focal = log_focal_prior
    R, t = _initial_pose(model.posed(shape, units)[0], face.points, np.exp(log_focal), size)
    sightings = Sightings.of(model, face)
    for iteration in range(ITERATIONS):
        points, by_parameters = model.jacobian(shape, units)
        J, r = _residuals(sightings, points, by_parameters, R, t, np.exp(log_focal), size)
        if iteration < POSE_ITERATIONS:
            step = -np.linalg.lstsq(J[:, :6], r, rcond=None)[0]
        else:
            H, g = J.T @ J, J.T @ r
            H[6, 6] += SIGMA_LOG_FOCAL**-2
            g[6] += (log_focal - log_focal_prior) * SIGMA_LOG_FOCAL**-2
            H[7:, 7:] += precision
            g[7:] += precision @ (np.concatenate([shape, units]) - prior_mean)
            step = -np.linalg.solve(H, g)
            wanted = log_focal + step[6]
            log_focal = np.clip(wanted, *np.log(np.multiply(FOCAL_RANGE, size)))
            step[5] += (t[2] + step[5]) * np.expm1(
                log_focal - wanted
            )  # a nearer camera at the same size in the picture
            shape = shape + step[7 : 7 + n_shape]
            units = np.clip(units + step[7 + n_shape :], *UNIT_RANGE)
        R = Rotation.from_rotvec(step[:3]).as_matrix() @ R
        t = t + step[3:6]
    full_shape = np.zeros(N_SHAPE)
    full_shape[:n_shape] = shape
    return HeadFit(full_shape, units, R, t, float(np.exp(log_focal)), sightings)


def _residuals(
    sightings: Sightings,
    points: np.ndarray,  # [L, 3] head space
    by_parameters: np.ndarray,  # [L, 3, P]
    R: np.ndarray,
    t: np.ndarray,
    focal: float,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:  # [N, 7 + P], [N]
    """Whitened and robustly weighted residuals after their Jacobian by rotation, translation, log focal length and the
    head's parameters."""
    rotated = points @ R.T
    camera = rotated + t
    by_all = np.concatenate(
        [
            -_skew(rotated),
            np.broadcast_to(np.eye(3), (len(points), 3, 3)),
            np.zeros((len(points), 3, 1)),
            R @ by_parameters,
        ],
        axis=2,
    )  # [L, 3, 7 + P]
    depth = -camera[:, 2]
    scale = focal / depth
    offset = camera[:, :2] * (1, -1) * scale[:, None]  # px from the principal point
    by_image = scale[:, None, None] * by_all[:, :2] * np.array([1, -1])[:, None]
    by_image += (offset / depth[:, None])[:, :, None] * by_all[:, 2:3]
    by_image[:, :, 6] = offset
    seen = np.isfinite(sightings.sigma)
    whitening = sightings.directions[seen] / sightings.sigma[seen, None, None]
    r = np.einsum("lij,lj->li", whitening, (offset + size / 2 - sightings.points)[seen])
    weight = 1 / np.sqrt(1 + (r**2).sum(1) / ROBUST**2)
    J = (whitening * weight[:, None, None]) @ by_image[seen]
    return J.reshape(-1, J.shape[2]), (r * weight[:, None]).ravel()


def _prior_precision(model: LandmarkModel) -> np.ndarray:  # [K + 52, K + 52]
    n_shape = model.shape_dirs.shape[2]
    sigma = np.full(len(ARKIT_NAMES), SIGMA_UNIT)
    for i, name in enumerate(ARKIT_NAMES):
        if name.startswith("eyeLook"):  # the irises tell the gaze better than the scores do
            sigma[i] = SIGMA_GAZE
    precision = np.diag(np.concatenate([np.full(n_shape, SIGMA_SHAPE**-2), sigma**-2]))
    mirrored = model.shape_dirs[MIRROR] * np.array([-1, 1, 1])[:, None]
    asymmetry = ((model.shape_dirs - mirrored) / 2).reshape(-1, n_shape)
    precision[:n_shape, :n_shape] += ASYMMETRY_MODES * asymmetry.T @ asymmetry / len(mirrored) / SIGMA_ASYMMETRY**2
    return precision


def _initial_pose(
    points: np.ndarray, detected: np.ndarray, focal: float, size: int
) -> tuple[np.ndarray, np.ndarray]:  # [3, 3], [3]
    """Similarity alignment (Umeyama, 1991) of the head to the detector's own three-dimensional landmarks."""
    target = detected.astype(np.float64) * (1, -1, -1)
    a, b = points - points.mean(0), target - target.mean(0)
    R = Rotation.align_vectors(b, a)[0].as_matrix()
    scale = (b * (a @ R.T)).sum() / (a * a).sum()  # px per metre
    depth = focal / scale
    middle = np.array([(target[:, 0].mean() - size / 2) / scale, (target[:, 1].mean() + size / 2) / scale, -depth])
    return R, middle - R @ points.mean(0)


def _skew(v: np.ndarray) -> np.ndarray:  # [L, 3] -> [L, 3, 3], skew(v) @ w = v x w
    zero = np.zeros(len(v))
    x, y, z = v.T
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
