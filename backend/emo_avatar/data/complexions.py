"""Sampled skins: how unevenly melanin and blood lie in MakeHuman's skins, laid over the open head's atlas.

At 512 px for a whole body they know nothing of pores; what is taken from them is what is larger than three millimetres.
"""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image
from scipy import ndimage

from emo_avatar import assets
from emo_avatar.data.canvas import SIZE, canvas, haired, pigments, smoothstep
from emo_avatar.data.makehuman import base_uv
from emo_avatar.render.light_kernels import bilinear
from emo_avatar.render.lighting import linear

AGES, ORIGINS, SEXES = ("young", "middleage", "old"), ("african", "asian", "caucasian"), ("female", "male")
LIMIT = 0.35  # of either pigment; beyond it something was painted on
BLUR, FAR_BLUR, FAR_SHARE = 4.0, 60.0, 0.02  # texels of the atlas; how much what is far away counts
SEAM = 0.05  # of the skins' side; triangles larger than that lie across a seam


def complexion_for(rng: np.random.Generator, age: float, melanin: float, masculine: float) -> str:
    """The name of a skin that suits somebody."""
    origin = "african" if melanin > 0.9 else ORIGINS[int(rng.integers(1, 3))]
    older = AGES[min(int(3 * age), 2)]
    second = "2" if (older, origin) == ("young", "caucasian") and rng.random() < 0.5 else ""
    return f"{older}_{origin}_{SEXES[int(masculine > 0)]}{second}"


@functools.lru_cache(maxsize=24)
def complexion(name: str) -> np.ndarray:  # [N, 2] float16, what melanin and blood the skin adds at each texel
    """One of MakeHuman's skins."""
    c = canvas()
    with Image.open(assets.fetch(f"makehuman/skins/{name}.png")) as image:
        texture = linear(np.asarray(image.convert("RGB"), np.float32) / 255)
    known, uv, reach = _known()
    melanin, blood, _ = pigments(bilinear(texture, uv), np.ones(len(uv), bool))
    added = np.zeros((len(c.pixels), 2), np.float16)
    for column, values in enumerate((melanin, blood)):
        added[:, column] = np.clip(_spread(known, values) * reach, -LIMIT, LIMIT)
    return added


def _spread(known: np.ndarray, values: np.ndarray | float) -> np.ndarray:  # [K] texels, [K] -> [N]
    """Values blurred, and thinly laid over what is farther away, such as the scalp."""
    pixels = canvas().pixels
    flat = np.zeros(SIZE * SIZE, np.float32)
    flat[pixels[known]] = values
    image = flat.reshape(SIZE, SIZE)
    coarse = image.reshape(SIZE // 8, 8, SIZE // 8, 8).mean((1, 3))
    far = ndimage.zoom(ndimage.gaussian_filter(coarse, FAR_BLUR / 8), 8, order=1)
    return (ndimage.gaussian_filter(image, BLUR) + FAR_SHARE * far).reshape(-1)[pixels]


@functools.cache
def _known() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texels that a skin of MakeHuman tells about, ``[K]``; where there, ``[K, 2]``; and what blurred values are to be
    multiplied with, ``[N]``, which is 0 far from all of them."""
    c = canvas()
    corners = base_uv()[np.minimum(c.corners, len(base_uv()) - 1)].astype(np.float32)  # [N, 3, 2]
    inside = (c.corners < len(base_uv())).all(1) & (np.ptp(corners, axis=1).max(1) < SEAM) & (c.outside > 0.99)
    known = np.flatnonzero(inside & ~haired(c) & (c.lips < 0.02))
    weight = _spread(known, 1.0)
    reach = smoothstep(0.0, 0.2 * FAR_SHARE, weight) / np.maximum(weight, 1e-5)
    return known, (c.weights[known, :, None] * corners[known]).sum(1), reach
