"""Photographs without colour, grey or toned: what is made of them is to have none either."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from emo_avatar.avatar.gaussians import SH_C0, Gaussians

LUMA = (0.299, 0.587, 0.114)
DEGREE = 2  # of the polynomials by which a print's tone follows its lightness
# Difference between channels that a print's tone leaves unexplained: grey JPEGs stay under 0.01, the palest photographs
# in colour have 0.05, by their lips.
LARGEST, QUANTILE = 0.02, 0.98
LEAST_PIXELS = 500


@dataclass(frozen=True)
class Tone:
    """The one colour that each lightness has on a black-and-white print."""

    coefficients: np.ndarray  # [DEGREE + 1, 3], colour less lightness as a polynomial of lightness

    @classmethod
    def of(cls, rgb: np.ndarray, matte: np.ndarray) -> Tone | None:  # [H, W, 3] uint8, [H, W] uint8
        """Of the person on a photograph; None when it is in colour."""
        colour = rgb[matte > 127] / 255
        if len(colour) < LEAST_PIXELS:
            return None
        lightness = colour @ np.array(LUMA)
        terms = np.vander(lightness, DEGREE + 1, increasing=True)
        coefficients = np.linalg.lstsq(terms, colour - lightness[:, None], rcond=None)[0]
        left = np.abs(colour - lightness[:, None] - terms @ coefficients).max(1)
        return cls(coefficients) if np.quantile(left, QUANTILE) < LARGEST else None

    def print(self, gaussians: Gaussians) -> Gaussians:
        """As light as they are, in the colours of the print."""
        colour = 0.5 + SH_C0 * gaussians.sh[:, 0]
        luma = colour.new_tensor(LUMA)
        lightness = colour @ luma
        tint = torch.stack([lightness.clamp(0, 1) ** k for k in range(DEGREE + 1)], 1)
        printed = lightness[:, None] + tint @ colour.new_tensor(self.coefficients)
        sh = (gaussians.sh @ luma)[..., None].expand_as(gaussians.sh).clone()
        sh[:, 0] = (printed - 0.5) / SH_C0
        return replace(gaussians, sh=sh)
