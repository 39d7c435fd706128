"""Hidden parts of eyeballs: painted from the visible sides, and nothing that is seen changes."""

from __future__ import annotations

import numpy as np
import torch

from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.lam import Eyeball
from emo_avatar.avatar.lam_eyes import complete_eyeballs

RADIUS = 0.0125
SKIN, WHITE, IRIS = np.array([0.8, 0.4, 0.3]), np.array([0.85, 0.87, 0.9]), np.array([0.25, 0.15, 0.1])


def eye_under_a_lid() -> tuple[Gaussians, Eyeball, np.ndarray]:  # with the angles of the eyeball's splats off its axis
    """An eyeball that looks ahead, whose upper third has the colour of the lid in front of it."""
    golden = np.pi * (3 - np.sqrt(5))
    k = np.arange(1500)
    y = 1 - 2 * (k + 0.5) / len(k)
    round_y = np.sqrt(1 - y * y)
    ball = RADIUS * np.stack([np.cos(golden * k) * round_y, y, np.sin(golden * k) * round_y], axis=1)
    ball = ball[ball[:, 2] > -0.001]
    angle = np.arccos(ball[:, 2] / RADIUS)
    colors = np.where((angle < np.radians(27))[:, None], IRIS, WHITE)
    lid_edge = 0.001
    colors[ball[:, 1] > lid_edge] = SKIN
    x, height = (
        g.ravel() for g in np.meshgrid(np.linspace(-0.02, 0.02, 60), np.arange(lid_edge + 0.0005, 0.016, 0.0007))
    )
    lid = np.stack([x, height, np.full(len(x), RADIUS + 0.002)], axis=1)
    means = np.concatenate([ball, lid]) + [0.03, 0.0, 0.06]
    colors = np.concatenate([colors, np.tile(SKIN, (len(lid), 1))])
    n = len(means)
    gaussians = Gaussians(
        torch.tensor(means, dtype=torch.float32),
        torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1),
        torch.full((n, 3), 0.0006),
        torch.full((n,), 0.9),
        sh_from_rgb(torch.tensor(colors, dtype=torch.float32)),
    )
    eye = Eyeball(np.array([0.03, 0.0, 0.06], np.float32), np.arange(len(ball)), np.ones(len(ball), np.float32))
    return gaussians, eye, angle


def test_what_the_lid_hides_becomes_eye() -> None:
    gaussians, eye, angle = eye_under_a_lid()
    colors = complete_eyeballs(gaussians, (eye,)).sh[:, 0].numpy() * 0.28209479 + 0.5
    ball, lid = colors[eye.members], colors[len(eye.members) :]
    assert np.allclose(lid, SKIN, atol=1e-5)
    above = gaussians.means[eye.members, 1].numpy()
    hidden = (above > 0.003) & (above < 0.009) & (angle < np.radians(55))
    iris, white = hidden & (angle < np.radians(24)), hidden & (angle > np.radians(32))
    assert iris.sum() > 5 and white.sum() > 30
    assert np.allclose(np.median(ball[iris], axis=0), IRIS, atol=0.05)
    assert np.allclose(np.median(ball[white], axis=0), WHITE, atol=0.05)
    seen = above < -0.001
    assert np.allclose(ball[seen], (gaussians.sh[eye.members, 0].numpy() * 0.28209479 + 0.5)[seen], atol=1e-4)


def test_an_eye_without_an_iris_stays_as_it_is() -> None:
    gaussians, eye, _ = eye_under_a_lid()
    few = Eyeball(eye.center, eye.members[:20], eye.share[:20])
    assert torch.allclose(complete_eyeballs(gaussians, (few,)).sh, gaussians.sh, atol=1e-6)
