"""Random Gaussians and cameras, odd ones included."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import strategies as st

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.render.camera import Camera

KINDS = (
    "usual",
    "huge",
    "tiny",
    "edge_on",
    "needle",
    "behind",
    "close",
    "not_finite",
    "coincident",
    "faint",
    "outside",
)


def random_gaussians(seed: int, count: int, sh_count: int, kinds: tuple[str, ...] = ("usual",)) -> Gaussians:
    """Around the origin, within some 20 cm; each is of one of the ``kinds``."""
    rng = np.random.default_rng(seed)
    means = rng.normal(scale=0.1, size=(count, 3))
    scales = np.exp(rng.uniform(math.log(5e-4), math.log(0.03), (count, 3)))
    quats = rng.normal(size=(count, 4)) * rng.uniform(0.1, 10, (count, 1))
    opacities = rng.uniform(0.05, 1.0, count)
    sh = rng.normal(scale=0.3, size=(count, sh_count, 3))
    kind = np.array(kinds)[rng.integers(len(kinds), size=count)]
    scales[kind == "huge"] *= 100
    scales[kind == "tiny"] *= 1e-4
    scales[kind == "edge_on", 2] = 0
    scales[kind == "needle", 0] *= 30
    means[kind == "behind"] += (0, 0, 3)
    means[kind == "close"] = rng.normal(scale=0.01, size=3) + (0, 0, 0.6)
    means[kind == "outside"] *= 20
    opacities[kind == "faint"] = rng.uniform(0, 0.008, (kind == "faint").sum())
    (same,) = np.nonzero(kind == "coincident")
    means[same] = means[same[:1]]
    arrays = (means, quats, scales, opacities[:, None], sh.reshape(count, 3 * sh_count))
    for index in np.nonzero(kind == "not_finite")[0]:
        broken = arrays[rng.integers(len(arrays))]
        broken[index, rng.integers(broken.shape[1])] = rng.choice([np.nan, np.inf, -np.inf])
    tensors = [torch.tensor(array, dtype=torch.float32) for array in (means, quats, scales, opacities, sh)]
    return Gaussians(*tensors)


def camera(width: int, height: int, yaw: float = 20.0, shift: tuple[float, float] = (0.0, 0.0)) -> Camera:
    """Looks at the origin from 60 cm, principal point off the centre by ``shift`` px."""
    orbit = Camera.orbit(np.zeros(3), 0.6, yaw=yaw, pitch=5.0, fov=30.0, size=max(width, height))
    intrinsics = orbit.K.copy()
    intrinsics[:2, 2] = width / 2 + shift[0], height / 2 + shift[1]
    return Camera(orbit.viewmat, intrinsics, width, height)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Gaussians, Camera]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=len(KINDS), unique=True))
    count, sh_count = draw(st.integers(0, 150)), draw(st.sampled_from([1, 4, 9, 16]))
    gaussians = random_gaussians(draw(st.integers(0, 2**31)), count, sh_count, tuple(kinds))
    width, height = draw(st.integers(1, 75)), draw(st.integers(1, 50))
    shift = draw(st.tuples(st.floats(-20, 20), st.floats(-20, 20)))
    return gaussians, camera(width, height, draw(st.floats(-180, 180)), shift)
