"""How alike two pictures are: PSNR and SSIM, inside a matte where one is given.

Pictures are [H, W, 3] floats in [0, 1], display sRGB. A ``weight`` [H, W] in [0, 1], such as a matte, says how much
each pixel counts; without one all count alike.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

SSIM_SIGMA = 1.5  # pixels; Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity"
SSIM_RADIUS = 5  # an 11 x 11 window
SSIM_K1, SSIM_K2 = 0.01, 0.03


def as_float(image: np.ndarray) -> np.ndarray:  # [H, W, C] uint8 or float -> float64 in [0, 1]
    """A picture as this module takes them."""
    return image / 255.0 if image.dtype == np.uint8 else np.asarray(image, np.float64)


def over(
    image: np.ndarray,  # [H, W, 3]
    alpha: np.ndarray,  # [H, W]
    background: float = 0.5,
) -> np.ndarray:  # [H, W, 3]
    """A picture laid over plain grey, so that what lies outside its matte is the same on both sides."""
    return as_float(image) * alpha[..., None] + background * (1 - alpha[..., None])


def psnr(a: np.ndarray, b: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    _check(a, b, weight)
    error = _mean(((as_float(a) - as_float(b)) ** 2).mean(axis=2), weight)
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def ssim(a: np.ndarray, b: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean structural similarity (Wang et al. 2004): 11 x 11 Gaussian window, mean over the colour channels.

    With a ``weight``, local statistics are taken from the whole pictures and the map is averaged under the weight.
    """
    _check(a, b, weight)
    return _mean(ssim_map(as_float(a), as_float(b)), weight)


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # [H, W, 3] each -> [H, W]
    """Structural similarity of every pixel's neighbourhood."""
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = SSIM_K1**2, SSIM_K2**2  # for a dynamic range of 1
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (luminance * structure).mean(axis=2)


def _blur(image: np.ndarray) -> np.ndarray:  # [H, W, 3]
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    kernel = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    kernel /= kernel.sum()
    return correlate1d(correlate1d(image, kernel, axis=0, mode="reflect"), kernel, axis=1, mode="reflect")


def _mean(values: np.ndarray, weight: np.ndarray | None) -> float:
    if weight is None:
        return float(values.mean())
    total = weight.sum()
    if total <= 0:
        raise ValueError("the weight leaves no pixel to compare")
    return float((values * weight).sum() / total)


def _check(a: np.ndarray, b: np.ndarray, weight: np.ndarray | None) -> None:
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3:
        raise ValueError(f"pictures must both be [H, W, 3], not {a.shape} and {b.shape}")
    if weight is not None and weight.shape != a.shape[:2]:
        raise ValueError(f"a weight must be {a.shape[:2]}, not {weight.shape}")
