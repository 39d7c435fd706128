"""Completing the eyeballs of an imported avatar: what the lids hid in its photo has the colour of skin.

A gaze upwards or widened lids would show it. An eye looks the same in all directions from the pupil, so the hidden part
takes the colours that the visible sides have at the same angle from the iris' axis.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from emo_avatar.avatar.gaussians import SH_C0, Gaussians, sh_from_rgb
from emo_avatar.avatar.lam import Eyeball
from emo_avatar.avatar.lam_visibility import seen_in
from emo_avatar.render.camera import Camera

_EYES_WIDTH, _SIZE = 0.12, 320  # metres and pixels of the picture in which visibility is measured
_HIDDEN, _SHOWN = 0.2, 0.5  # share of an eyeball splat seen past the lids: up to the first it is hidden
_SIDES = np.radians(40.0)  # the sectors left and right of the iris, which open lids never cover
_REACH = np.radians(60.0)  # from the iris' axis; farther round nothing is ever seen
_IRIS = np.radians(27.0)  # half the angle that an iris of 11.7 mm takes of an eyeball of 25 mm
_RINGS = 24  # of the colour profile
_DARK = (0.1, 0.9)  # quantiles of brightness between which the iris parts from the white


def complete_eyeballs(gaussians: Gaussians, eyes: tuple[Eyeball, ...]) -> Gaussians:
    """The Gaussians with the hidden parts of the eyeballs in the colours of the visible ones."""
    balls = [eye.members[eye.share == 1] for eye in eyes]
    alone = torch.zeros_like(gaussians.opacities)
    alone[np.concatenate(balls)] = gaussians.opacities[np.concatenate(balls)]
    between = np.mean([eye.center for eye in eyes], axis=0)
    camera = Camera.orbit(between, _EYES_WIDTH / 2 / math.tan(math.radians(10.0)), fov=20.0, size=_SIZE)
    everywhere = torch.ones(1, _SIZE, _SIZE)
    seen = seen_in(gaussians, camera, everywhere)[:, 0].numpy()
    without_lids = seen_in(replace(gaussians, opacities=alone), camera, everywhere)[:, 0].numpy()
    share = seen / np.maximum(without_lids, 1e-6)
    colors, means = (gaussians.sh[:, 0] * SH_C0 + 0.5).numpy(), gaussians.means.numpy()
    for eye, ball in zip(eyes, balls, strict=True):
        colors[ball] = _completed(means[ball] - eye.center, colors[ball], share[ball], without_lids[ball])
    return replace(gaussians, sh=sh_from_rgb(torch.from_numpy(colors)))


def _completed(
    points: np.ndarray,  # [K, 3] from the eyeball's center
    colors: np.ndarray,  # [K, 3]
    share: np.ndarray,  # [K] seen past the lids
    weight: np.ndarray,  # [K] seen if there were no lids
) -> np.ndarray:  # [K, 3]
    directions = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-6)
    axis = _find_iris(directions, colors, weight * (share > _SHOWN))
    if axis is None:
        return colors
    up = np.array([0.0, 1.0, 0.0]) - axis[1] * axis
    angle = np.arccos(np.clip(directions @ axis, -1.0, 1.0))
    height = directions @ up / np.maximum(np.sin(angle) * np.linalg.norm(up), 1e-6)  # -1 below the pupil, 1 above it
    side = (np.abs(height) < np.sin(_SIDES)) & (share > _SHOWN) & (angle < _REACH)
    if side.sum() < 2 * _RINGS:
        return colors
    rings = np.linspace(0.0, _REACH, _RINGS)
    width = 2 * rings[1]
    nearness = np.exp(-(((angle[side] - rings[:, None]) / width) ** 2))  # [R, S]
    profile = np.stack([_weighted_median(colors[side], weight[side] * near) for near in nearness])
    radial = np.stack([np.interp(angle, rings, profile[:, k]) for k in range(3)], axis=1)
    blend = np.clip((_SHOWN - share) / (_SHOWN - _HIDDEN), 0.0, 1.0) * (angle < _REACH)
    return (colors + blend[:, None] * (radial - colors)).astype(np.float32)


def _find_iris(directions: np.ndarray, colors: np.ndarray, weight: np.ndarray) -> np.ndarray | None:  # [3] unit
    """The axis around which a circle of an iris' size parts dark from white best among what is seen."""
    seen = (weight > 0) & (directions[:, 2] > np.cos(_REACH))
    if seen.sum() < 4 * _RINGS:
        return None
    directions, weight, brightness = directions[seen], weight[seen], colors[seen].mean(axis=1)
    low, high = (_weighted_quantile(brightness, weight, q) for q in _DARK)
    dark = np.where(brightness < (low + high) / 2, 1.0, -1.0)
    tilt = np.sin(np.radians(np.arange(-30.0, 31.0, 1.5)))
    x, y = (grid.ravel() for grid in np.meshgrid(tilt, tilt))
    axes = np.stack([x, y, np.sqrt(np.maximum(1.0 - x * x - y * y, 0.0))], axis=1)  # [G, 3]
    inside = np.where(axes @ directions.T > np.cos(_IRIS), 1.0, -1.0)  # [G, K]
    return axes[(inside @ (weight * dark)).argmax()]


def _weighted_quantile(values: np.ndarray, weight: np.ndarray, quantile: float) -> float:
    order = np.argsort(values)
    place = np.searchsorted(np.cumsum(weight[order]), quantile * weight.sum())
    return float(values[order[min(int(place), len(order) - 1)]])  # rounding may lead past the end


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:  # [K, 3], [K] -> [3]
    return np.array([_weighted_quantile(values[:, k], weight, 0.5) for k in range(3)])
