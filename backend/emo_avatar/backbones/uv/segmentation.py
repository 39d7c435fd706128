"""Skin, hair and clothing of a portrait, from colours learnt on the spot: what surely is each teaches the rest.

The fitted head says where each must be: the middle of the face is skin, what the matte holds beside and above the head
is hair (or a hat), what it holds beside the neck is clothing. Gaussian mixtures of those colours and a spatial prior
then label the disputed band: fringe, temples, sideburns, ears, jaw line, neck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter
from skimage.draw import polygon2mask

from emo_avatar.backbones.uv.view import MeshView
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
    oval = polygon2mask(shape, landmarks[list(FACE_OVAL), ::-1])
    features = np.zeros(shape, bool)
    for group in (LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW, OUTER_LIPS):
        features |= polygon2mask(shape, _around(landmarks[list(group)], 1.3)[:, ::-1])
    prior = _prior(shape, landmarks, view, regions, oval)

    solid = alpha > 0.95
    height = landmarks[152, 1] - landmarks[10, 1]  # chin to forehead, px
    margin = max(1, round(0.02 * height))
    row = np.arange(shape[0])[:, None]
    off_mesh = solid & ~binary_dilation(view.covered, iterations=margin)
    cheeks = polygon2mask(shape, _around(landmarks[list(FACE_OVAL)], 0.8)[:, ::-1]) & (row < landmarks[2, 1])
    seeds = (
        solid & cheeks & ~features,
        off_mesh & (row < landmarks[2, 1]),
        off_mesh & (row > landmarks[152, 1] + 0.25 * height),
    )
    colours = _opponent(rgb)
    density = np.stack([_density(colours, binary_erosion(s) if s.sum() > MAX_SEEDS else s) for s in seeds], axis=-1)
    evidence = gaussian_filter(np.log(density + OUTLIER), (SMOOTHING, SMOOTHING, 0))
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
    return gaussian_filter(prior, (2, 2, 0)) + 1e-4


def _opponent(rgb: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3]
    """Lightness and two opponent colours, decorrelated for natural images (Ruderman's idea, in display space)."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return np.stack([(r + g + b) / 3, (r - b) / np.sqrt(2), (r - 2 * g + b) / np.sqrt(6)], axis=-1)


def _density(colours: np.ndarray, seeds: np.ndarray) -> np.ndarray:  # [H, W, 3], [H, W] bool -> [H, W]
    """Density of a mixture of Gaussians learnt from the seeds; zero everywhere when there are too few."""
    known = colours[seeds]
    if len(known) < LEAST_SEEDS:
        return np.zeros(seeds.shape)
    known = known[:: max(1, len(known) // MAX_SEEDS)]
    centres, label = kmeans2(known, CLUSTERS, iter=8, minit="++", rng=0)
    density = np.zeros(seeds.shape)
    for k in range(CLUSTERS):
        members = known[label == k]
        if len(members) < 4:
            continue
        covariance = np.cov(members.T) + COLOUR_FLOOR**2 * np.eye(3)
        offset = colours - members.mean(0)
        distance = np.einsum("hwi,ij,hwj->hw", offset, np.linalg.inv(covariance), offset)
        norm = np.sqrt((2 * np.pi) ** 3 * np.linalg.det(covariance))
        density += len(members) / len(known) * np.exp(-0.5 * distance) / norm
    return density
