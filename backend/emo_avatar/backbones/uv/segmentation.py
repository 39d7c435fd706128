"""Skin, hair and clothing of a portrait, from colours learnt on the spot: what surely is each teaches the rest.

The fitted head says where each must be: the middle of the face is skin, what the matte holds beside and above the head
is hair (or a hat), what it holds beside the neck is clothing. Gaussian mixtures of those colours and a spatial prior
then label the disputed band: fringe, temples, sideburns, ears, jaw line, neck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2

from emo_avatar.backbones.portrait.masks import blurred, grown, polygon_mask, worn
from emo_avatar.backbones.portrait.view import MeshView
from emo_avatar.tracking.topology import FACE_OVAL, LEFT_BROW, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE

SKIN, HAIR, CLOTH = range(3)
# How likely skin, hair and clothing are before any colour is looked at, by where the pixel lies.
PRIORS = {
    "face": (0.90, 0.10, 0.00),
    "ears": (0.60, 0.40, 0.00),
    "scalp": (0.25, 0.75, 0.00),
    "neck": (0.65, 0.10, 0.25),
    "collar": (0.30, 0.05, 0.65),
    "above": (0.08, 0.92, 0.00),  # off the mesh, above the chin
    "below": (0.04, 0.30, 0.66),  # off the mesh, below it
}
CLUSTERS = 4  # colours per mixture
MAX_SEEDS = 4000  # pixels that a mixture is learnt from; more only costs time
LEAST_SEEDS = 60
COLOUR_FLOOR = 0.02  # standard deviation under which no cluster is trusted to know its colour
OUTLIER = 1e-4  # density of a colour that no mixture knows, so that the prior decides
SMOOTHING = 1.2  # pixels, of the evidence before the decision


@dataclass(frozen=True)
class Segmentation:
    """Probabilities of every pixel, meaningful inside the matte."""

    probability: np.ndarray  # [H, W, 3] skin, hair, clothing; sums to 1
    face: np.ndarray  # [H, W] bool, inside the face's oval

    @property
    def skin(self) -> np.ndarray:  # [H, W]
        return self.probability[..., SKIN]

    @property
    def hair(self) -> np.ndarray:  # [H, W]
        return self.probability[..., HAIR]

    @property
    def cloth(self) -> np.ndarray:  # [H, W]
        return self.probability[..., CLOTH]


def segment(
    rgb: np.ndarray,  # [H, W, 3] in [0, 1], clean foreground
    alpha: np.ndarray,  # [H, W]
    landmarks: np.ndarray,  # [478, 2] px
    view: MeshView,
    regions: dict[str, np.ndarray],  # name -> [F] bool
) -> Segmentation:
    """Label a portrait's pixels."""
    shape = alpha.shape
    oval = polygon_mask(shape, landmarks[list(FACE_OVAL)])
    features = np.zeros(shape, bool)
    for group in (LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW, OUTER_LIPS):
        features |= polygon_mask(shape, _around(landmarks[list(group)], 1.3))
    prior = _prior(shape, landmarks, view, regions, oval)

    solid = alpha > 0.95
    height = landmarks[152, 1] - landmarks[10, 1]  # chin to forehead, px
    margin = max(1, round(0.02 * height))
    row = np.arange(shape[0])[:, None]
    off_mesh = solid & ~grown(view.covered, margin)
    cheeks = polygon_mask(shape, _around(landmarks[list(FACE_OVAL)], 0.8)) & (row < landmarks[2, 1])
    seeds = (
        solid & cheeks & ~features,
        off_mesh & (row < landmarks[2, 1]),
        off_mesh & (row > landmarks[152, 1] + 0.25 * height),
    )
    colours = _opponent(rgb).astype(np.float32)
    density = _densities(colours, [worn(s, 1) if s.sum() > MAX_SEEDS else s for s in seeds])
    evidence = blurred(np.log(density + np.float32(OUTLIER)), SMOOTHING)
    posterior = prior * np.exp(evidence - evidence.max(-1, keepdims=True))
    posterior[features] = (1, 0, 0)  # dark eyes and brows are not hair
    return Segmentation(posterior / posterior.sum(-1, keepdims=True), oval)


def _around(polygon: np.ndarray, factor: float) -> np.ndarray:  # [P, 2]
    """A polygon scaled about its centre."""
    centre = polygon.mean(0)
    return centre + factor * (polygon - centre)


def _prior(
    shape: tuple[int, int], landmarks: np.ndarray, view: MeshView, regions: dict[str, np.ndarray], oval: np.ndarray
) -> np.ndarray:  # [H, W, 3]
    below = np.broadcast_to(np.arange(shape[0])[:, None] > landmarks[152, 1], shape)
    prior = np.where(below[..., None], PRIORS["below"], PRIORS["above"])
    seen, face = view.covered, view.fragments.face
    prior[seen] = PRIORS["face"]
    for name in ("ears", "scalp", "neck", "collar"):
        prior[seen & regions[name][face]] = PRIORS[name]
    prior[oval] = PRIORS["face"]
    return blurred(prior, 2) + np.float32(1e-4)


def _opponent(rgb: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3]
    """Lightness and two opponent colours, decorrelated for natural images (Ruderman's idea, in display space)."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return np.stack([(r + g + b) / 3, (r - b) / np.sqrt(2), (r - 2 * g + b) / np.sqrt(6)], axis=-1)


def _densities(colours: np.ndarray, seeds: Sequence[np.ndarray]) -> np.ndarray:  # [H, W, 3], S of [H, W] -> [H, W, S]
    """Densities of the mixtures of Gaussians learnt from each set of seeds; zero where there are too few."""
    mixtures = [_mixture(colours[chosen]) for chosen in seeds]
    x, y, z = np.moveaxis(colours, -1, 0).reshape(3, -1)
    terms = np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])  # of a quadratic polynomial
    clusters = np.exp(np.concatenate(mixtures).astype(np.float32) @ terms)  # [K, H * W]
    borders = np.cumsum([len(mixture) for mixture in mixtures])[:-1]
    return np.stack([part.sum(0) for part in np.split(clusters, borders)], axis=-1).reshape(*colours.shape[:2], -1)


def _mixture(known: np.ndarray) -> np.ndarray:  # [N, 3] -> [K, 10]
    """Logarithms of the densities of up to CLUSTERS Gaussians, weighted, as quadratic polynomials of the colour."""
    if len(known) < LEAST_SEEDS:
        return np.empty((0, 10))
    known = known[:: max(1, len(known) // MAX_SEEDS)]
    _, label = kmeans2(known, CLUSTERS, iter=8, minit="++", rng=0)
    polynomials = []
    for k in range(CLUSTERS):
        members = known[label == k].astype(np.float64)
        if len(members) < 4:
            continue
        covariance = np.cov(members.T) + COLOUR_FLOOR**2 * np.eye(3)
        precision, mean = np.linalg.inv(covariance), members.mean(0)
        weight = len(members) / len(known) / np.sqrt((2 * np.pi) ** 3 * np.linalg.det(covariance))
        constant = np.log(weight) - 0.5 * mean @ precision @ mean
        mixed = precision[[0, 0, 1], [1, 2, 2]]
        polynomials.append([constant, *precision @ mean, *-0.5 * np.diag(precision), *-mixed])
    return np.array(polynomials).reshape(-1, 10)
