"""Eyebrows: hairs drawn one by one in the frontal plane beside an eye, for the texture to take its brow colour from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from emo_avatar.head.build.regions import BROW_OUTWARD, BROW_UP

# The drawing: millimetres outwards and up from the centre of the eye.
LEFT, RIGHT, BOTTOM, TOP = -26.0, 30.0, 4.0, 32.0
PIXEL = 0.05  # mm
OVERSAMPLING = 4

HAIRS = 760
LENGTH = 7.5  # mm, of hairs in the body of the brow
WIDTH = 0.17  # mm at the root
HALF_WIDTH = ((0.0, 0.08, 0.35, 0.65, 1.0), (2.1, 3.3, 3.5, 2.6, 0.8))  # mm along the brow
DIRECTION = ((0.0, 0.12, 0.45, 0.75, 1.0), (78.0, 52.0, 20.0, -8.0, -28.0))  # degrees above outwards
CONVERGENCE = 26.0  # degrees by which hairs at the edges lean towards the midline
SHADOW_BLUR = 0.9  # mm
SHADOW = 0.34  # of the skin between hairs that looks covered


@dataclass(frozen=True)
class BrowStrokes:
    """Coverage by hair beside the left eye; the right brow mirrors it."""

    coverage: np.ndarray  # [h, w] in [0, 1], rows downwards
    blurred: np.ndarray  # [h, w]
    pixel: float = PIXEL  # mm

    def _sample(self, image: np.ndarray, points: np.ndarray, eyes: np.ndarray) -> np.ndarray:
        outward = (np.abs(points[:, 0]) - np.abs(eyes[:, 0]).mean()) * 1e3
        up = (points[:, 1] - eyes[:, 1].mean()) * 1e3
        rows, columns = (TOP - up) / self.pixel - 0.5, (outward - LEFT) / self.pixel - 0.5
        value = ndimage.map_coordinates(image, [rows, columns], order=1, mode="constant")
        return value * (points[:, 2] > 0.03)

    def hairs(self, points: np.ndarray, eyes: np.ndarray) -> np.ndarray:  # [N, 3], [2, 3] metres -> [N]
        """How much hair covers each point."""
        return 0.92 * self._sample(self.coverage, points, eyes)

    def shadow(self, points: np.ndarray, eyes: np.ndarray) -> np.ndarray:  # [N, 3], [2, 3] metres -> [N]
        """The soft darkening below and between the hairs."""
        return SHADOW * self._sample(self.blurred, points, eyes)


@dataclass(frozen=True)
class BrowStyle:
    """How somebody's brows grow, relative to the open head's."""

    hairs: float = 1.0
    thickness: float = 1.0  # of the brow
    length: float = 1.0  # of a hair
    lift: tuple[float, float, float] = (0.0, 0.0, 0.0)  # mm at its head, in the middle, at its tail
    unruliness: float = 1.0  # of the hairs' directions
    pixel: float = PIXEL  # mm
    segments: int = 8  # of each hair


def draw_brows(seed: int | list[int], style: BrowStyle | None = None) -> BrowStrokes:
    """Draw the hairs: upright at the head of the brow, outwards along its body, downwards at its tail."""
    style = style or BrowStyle()
    count = round(HAIRS * style.hairs)
    rng = np.random.default_rng(seed)
    scale = OVERSAMPLING / style.pixel
    size = (round((RIGHT - LEFT) * scale), round((TOP - BOTTOM) * scale))
    image = Image.new("L", size)
    draw = ImageDraw.Draw(image)
    knots = np.linspace(0, 1, len(BROW_OUTWARD))
    station = rng.beta(1.05, 1.15, count)
    across = np.clip(rng.normal(0, 0.48, count), -1, 1)
    half_width = style.thickness * np.interp(station, *HALF_WIDTH)
    root_out = np.interp(station, knots, BROW_OUTWARD * 1e3)
    root_up = np.interp(station, knots, BROW_UP * 1e3) + (across - 0.25) * half_width
    root_up += np.interp(station, (0, 0.5, 1), style.lift)
    angle = np.radians(
        np.interp(station, *DIRECTION) - CONVERGENCE * across + rng.normal(0, 9 * style.unruliness, count)
    )
    length = (
        style.length * LENGTH * rng.uniform(0.55, 1.0, count) * np.interp(station, (0, 0.15, 0.8, 1), (0.6, 1, 1, 0.6))
    )
    bend = np.radians(rng.normal(-14, 8, count))  # hairs curve towards the tail
    darkness = rng.uniform(0.5, 1.0, count) * np.interp(station, (0, 0.18, 0.9, 1), (0.35, 1, 1, 0.7))
    segments = style.segments
    steps = np.linspace(0, 1, segments + 1)
    for k in range(count):
        heading = angle[k] + bend[k] * steps
        path_out = root_out[k] + np.concatenate([[0], np.cumsum(np.cos(heading[:-1]))]) * length[k] / segments
        path_up = root_up[k] + np.concatenate([[0], np.cumsum(np.sin(heading[:-1]))]) * length[k] / segments
        pixels = np.stack([(path_out - LEFT) * scale, (TOP - path_up) * scale], 1)
        for s in range(segments):
            width = max(1, round(WIDTH * scale * (1 - 0.75 * steps[s])))
            draw.line([tuple(pixels[s]), tuple(pixels[s + 1])], fill=round(255 * darkness[k]), width=width)
    coverage = np.asarray(image.resize((size[0] // OVERSAMPLING, size[1] // OVERSAMPLING), Image.Resampling.BOX))
    coverage = coverage.astype(np.float32) / 255
    blurred = ndimage.gaussian_filter(coverage, SHADOW_BLUR / style.pixel)
    return BrowStrokes(coverage, np.clip(1.6 * blurred, 0, 1), style.pixel)
