"""Deformation transfer on meshes where the answer is known."""

import numpy as np
from scipy.spatial.transform import Rotation

from emo_avatar.head.deformation import DeformationTransfer


def sphere(n=12):
    theta, phi = np.meshgrid(np.linspace(0.3, np.pi - 0.3, n), np.linspace(0, 2 * np.pi, n, endpoint=False))
    p = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(n), np.arange(n - 1), indexing="ij")
    a, b, c, d = i * n + j, ((i + 1) % n) * n + j, i * n + j + 1, ((i + 1) % n) * n + j + 1
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return 0.1 * p, faces


def bent(points):
    return points + 0.2 * points[:, [1]] * points[:, [0, 2, 1]]


def test_onto_itself_is_the_identity():
    vertices, faces = sphere()
    transfer = DeformationTransfer(vertices, faces, vertices, faces, np.eye(3))
    moved = bent(vertices)
    assert np.abs(transfer(moved, moved - vertices) - (moved - vertices)).max() < 1e-9


def test_gradients_win_over_a_noisy_displacement():
    vertices, faces = sphere(24)
    vertices = 0.2 * vertices  # edges of 3 mm, well below the length at which displacements take over
    transfer = DeformationTransfer(vertices, faces, vertices, faces, np.eye(3))
    moved = bent(vertices)
    noise = np.random.default_rng(0).normal(0, 0.002, vertices.shape)
    result = transfer(moved, moved - vertices + noise) - (moved - vertices)
    assert np.sqrt((result**2).mean()) < 0.5 * np.sqrt((noise**2).mean())


def test_a_turned_and_scaled_target_moves_in_its_own_axes():
    vertices, faces = sphere()
    turn = Rotation.from_euler("xyz", [20, -10, 30], degrees=True).as_matrix()
    target = 1.3 * vertices @ turn.T + [0.1, 0.2, 0.3]
    transfer = DeformationTransfer(vertices, faces, target, faces, turn)
    expected = 1.3 * (bent(vertices) - vertices) @ turn.T
    assert np.abs(transfer(bent(vertices), expected) - expected).max() < 1e-9
