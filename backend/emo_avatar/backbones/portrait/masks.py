"""Regions of a picture: drawn, worn away, grown, measured and blurred, by OpenCV where that is quick."""

from __future__ import annotations

import cv2
import numpy as np

from emo_avatar.render.splat.compiled import kernel

TRUNCATE = 4.0  # standard deviations after which a blur's kernel ends


def polygon_mask(shape: tuple[int, ...], outline: np.ndarray) -> np.ndarray:  # [P, 2] px x, y -> [H, W] bool
    """Pixels of a picture of ``shape`` inside a polygon."""
    mask = np.zeros(shape[:2], bool)
    _fill(mask, np.ascontiguousarray(outline, np.float64))
    return mask


def disc(radius: int) -> np.ndarray:  # [2 r + 1, 2 r + 1] uint8
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


def grown(mask: np.ndarray, radius: int) -> np.ndarray:  # [H, W] bool, as given
    """The pixels within ``radius`` of a mask."""
    return cv2.dilate(mask.astype(np.uint8), disc(radius)).astype(bool)


def worn(mask: np.ndarray, radius: int) -> np.ndarray:  # [H, W] bool, as given
    """The pixels of a mask that are further than ``radius`` from what is not in it; the picture's border is no edge."""
    return cv2.erode(mask.astype(np.uint8), disc(radius)).astype(bool)


def inset(mask: np.ndarray) -> np.ndarray:  # [H, W] bool -> [H, W] float32 px
    """How far each pixel is from the nearest one that is not in the mask; 0 outside of it."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def nearest(mask: np.ndarray) -> np.ndarray:  # [H, W] bool, somewhere True -> [2, H, W] row, column
    """For each pixel one of a mask that is as near as any, give or take two per cent."""
    _, label = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    place = np.zeros((2, mask.sum() + 1), np.int32)
    place[:, label[mask]] = np.nonzero(mask)
    return place[:, label]


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:  # [H, W] or [H, W, C], as given, float32
    """Convolved with a Gaussian of ``sigma`` pixels; the picture is reflected at its border."""
    side = 2 * int(TRUNCATE * sigma + 0.5) + 1
    return cv2.GaussianBlur(image.astype(np.float32), (side, side), sigma, borderType=cv2.BORDER_REFLECT)


@kernel
def _fill(mask, outline):
    """Row by row, between every second and the next crossing of the outline."""
    height, width = mask.shape
    crossings = np.empty(len(outline))
    for y in range(height):
        count = 0
        for i in range(len(outline)):
            x0, y0 = outline[i - 1]
            x1, y1 = outline[i]
            if (y0 <= y) != (y1 <= y):
                crossings[count] = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
                count += 1
        crossings[:count].sort()
        for k in range(0, count - 1, 2):
            first, last = np.ceil(crossings[k]), np.floor(crossings[k + 1])
            for x in range(int(max(first, 0.0)), int(min(last, width - 1.0)) + 1):
                mask[y, x] = True
